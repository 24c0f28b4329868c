"""Signals as a question: the first one asks to stop, the second one ends the program; and as an end, heard at last."""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref

import pytest

from qdq_cli.process import interrupts
from qdq_cli.process.interrupts import insist, interrupt, interrupt_on_signals, never, stop_on_signals

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


@pytest.fixture
def handlers():
    """Signal handlers and what was asked are put back afterwards."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    interrupts._interrupted.clear()
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_every_signal_interrupts_but_one_that_is_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    interrupt_on_signals()
    for number in (signal.SIGINT, signal.SIGTERM):
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    os.kill(os.getpid(), signal.SIGHUP)


@pytest.mark.usefixtures("handlers")
def test_an_interrupt_that_leads_nowhere_is_raised_again(monkeypatch: pytest.MonkeyPatch):
    class Gone:
        pass

    lost: list[BaseException | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: lost.append(found.exc_value))
    insist()
    gone = Gone()
    reference = weakref.ref(gone, lambda _: interrupt(signal.SIGINT, None))
    del gone
    assert reference() is None
    assert [type(error) for error in lost] == [KeyboardInterrupt]
    with pytest.raises(KeyboardInterrupt):
        insist()
