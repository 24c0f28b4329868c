"""Programs that are waited for within limits, real ones in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from qdq_cli.process.bounded import Exceeded, Limits, held_bytes, wait_within
from qdq_cli.process.children import ending

HOLD = "import time; held = bytearray(b'x') * (200 * 2**20); print('held', flush=True); time.sleep(600)"
STARTS = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"


def started(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)


def test_the_exit_code_comes_back():
    with started("raise SystemExit(7)") as process:
        assert wait_within(process, Limits(60, 10**12)) == 7


def test_time_is_held():
    process = started("import time; time.sleep(600)")
    assert process.stdout is not None
    with ending(process), process.stdout:
        assert wait_within(process, Limits(0.1, 10**12)) is Exceeded.TIME
    assert process.poll() is not None


@pytest.mark.parametrize("code", [HOLD, STARTS])
def test_memory_is_held_that_of_what_was_started_too(code: str):
    process = started(code)
    assert process.stdout is not None
    with ending(process), process.stdout:
        process.stdout.readline()
        assert wait_within(process, Limits(60, 150 * 10**6)) is Exceeded.MEMORY


def test_an_ended_program_holds_nothing():
    with started("") as process:
        process.wait()
        assert held_bytes(process.pid) == 0
