"""The command with its stages timed in CPU seconds, for a busy machine: `python -m bench.staged COMMAND ...`.

All threads count: a stage costs the same on one core and on two.
"""

from __future__ import annotations

import time

from qdq_cli.main import main
from qdq_cli.process import clock


class CpuTime:
    """Stands where the clock has the `time` module."""

    perf_counter = staticmethod(time.process_time)


if __name__ == "__main__":
    vars(clock)["time"] = CpuTime
    main()
