"""`python -m bench [PART ...]`: measure, and print ratios taken in one run on the same work; `attack` breaks files."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import sys
import tempfile
from pathlib import Path

from bench.settings import Settings, quick

PARTS = ("observe", "memory", "command", "inspect", "search", "peer")


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="little work, once: does it run at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    results = []
    with tempfile.TemporaryDirectory(prefix="qdq-bench-") as folder:
        settings = quick(Path(folder)) if chosen.quick else Settings(Path(folder))
        for part in chosen.parts or PARTS:
            print(f"\n{part}", flush=True)
            for result in importlib.import_module(f"bench.{part}").run(settings):
                results.append(result)
                print(f"  {result}", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps([dataclasses.asdict(result) for result in results], indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["attack"]:
        from bench.attack.command import main

        sys.exit(main(sys.argv[2:]))
    _main()
