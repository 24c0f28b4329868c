"""`python -m bench [PART ...]`: measure, and print one table of ratios taken in one run on the same work, with goals.

`attack` breaks files instead. The peer is measured where it is asked for alone (`make bench-peer`).
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from bench.machine import described
from bench.results import Result, table
from bench.settings import Settings, quick

PARTS = ("observe", "memory", "command", "inspect", "growth", "search", "on_cpu")
FURTHER = ("peer",)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join((*PARTS, *FURTHER))}; all but the last by default"
    )
    parser.add_argument("--quick", action="store_true", help="little work, once: does it run at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - {*PARTS, *FURTHER}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    machine = described()
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="qdq-bench-") as folder:
        settings = quick(Path(folder)) if chosen.quick else Settings(Path(folder))
        for part in chosen.parts or PARTS:
            start, worked = time.monotonic(), _cpu_seconds()
            results += importlib.import_module(f"bench.{part}").run(settings)
            took, worked = time.monotonic() - start, _cpu_seconds() - worked
            print(f"{part}: {took:.0f} s, of CPU time {worked:.0f} s", file=sys.stderr, flush=True)
    print("\n".join([*(f"{name:20} {text}" for name, text in machine.items()), "", *table(results)]))
    if chosen.json:
        found = {"machine": machine, "results": [dataclasses.asdict(result) for result in results]}
        chosen.json.write_text(json.dumps(found, indent=1))


def _cpu_seconds() -> float:
    """CPU time so far, that of finished child processes included."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    if sys.argv[1:2] == ["attack"]:
        from bench.attack.command import main

        sys.exit(main(sys.argv[2:]))
    _main()
