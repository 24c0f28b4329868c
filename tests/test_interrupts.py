"""Signals as a question: the first one asks to stop, the second one ends the program as it always did."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from qdq_cli.interrupts import never, stop_on_signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def test_nothing_asks_by_itself():
    with stop_on_signals() as stop:
        assert not stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks(number: signal.Signals):
    before = signal.getsignal(number)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        assert stop()
    assert signal.getsignal(number) == before


def test_the_second_signal_interrupts():
    with pytest.raises(KeyboardInterrupt), stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        os.kill(os.getpid(), signal.SIGINT)


def test_other_threads_leave_signals_alone():
    found = []

    def work() -> None:
        with stop_on_signals() as stop:
            found.append(stop is never)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]
