"""Start a process from a small one and report what it cost: `python -m bench.launcher REPORT COMMAND ...`.

The peak memory that the system accounts to a process is never below what its parent held when starting it, so the
bench, with its pictures in memory, cannot start what it measures itself. Nothing but the standard library here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

_MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def _main() -> int:
    report, command = Path(sys.argv[1]), sys.argv[2:]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    peak_bytes = usage.ru_maxrss * _MAXRSS_UNIT_BYTES
    cost = {"wall_seconds": wall, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": peak_bytes}
    report.write_text(json.dumps(cost))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(_main())
