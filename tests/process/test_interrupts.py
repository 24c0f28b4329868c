"""Signals as a question: the first one asks to stop, the second one ends the program; and as an end, heard at last."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from types import FrameType

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from qdq_cli.data.batches import Batch
from qdq_cli.process import interrupts
from qdq_cli.process.interrupts import (
    hearing_by_asking,
    insist,
    interrupt,
    interrupt_on_signals,
    never,
    stop_on_signals,
)
from qdq_cli.running.runner import Runner, observe
from qdq_cli.running.session import Source
from qdq_cli.running.watched import Watched

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


@pytest.mark.usefixtures("handlers")
def test_where_the_program_asks_a_signal_raises_nothing_by_itself():
    interrupt_on_signals()
    with hearing_by_asking():
        with hearing_by_asking():
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                insist()
            interrupts._interrupted.clear()
        os.kill(os.getpid(), signal.SIGTERM)
        interrupts._interrupted.clear()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("handlers")
def test_what_was_noted_is_raised_at_the_end_of_the_block():
    interrupt_on_signals()
    done = []
    with pytest.raises(KeyboardInterrupt), hearing_by_asking():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("the rest of the block")
    assert done


@pytest.mark.usefixtures("handlers")
def test_an_error_of_the_block_is_not_replaced():
    interrupt_on_signals()
    with pytest.raises(ValueError, match="of the block"), hearing_by_asking():
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError("of the block")


@pytest.mark.usefixtures("handlers")
def test_other_threads_that_ask_leave_the_main_thread_as_it_is():
    interrupt_on_signals()
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with hearing_by_asking():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    interrupts._interrupted.clear()
    leave.set()
    thread.join()


RELU = """<ir_version: 8, opset_import: ["" : 17]> relu (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"""


@contextlib.contextmanager
def interrupted_inside_a_lock() -> Iterator[list[str]]:
    """Let Ctrl-C come while Python takes a lock again that it had let go: raised there, the lock is released twice."""
    came: list[str] = []

    def look(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "_acquire_restore" and not came:
            came.append(frame.f_code.co_qualname)
            interrupt(signal.SIGINT, frame)

    sys.setprofile(look)
    try:
        yield came
    finally:
        sys.setprofile(None)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("what", ["run", "observe"])
def test_an_interrupt_inside_a_lock_of_python_ends_a_run_as_any_other(what: str):
    proto = onnx.parser.parse_model(RELU)
    batch = Batch({"x": np.zeros((1, 4), np.float32)}, ("x.npy",), 1)
    runner, model = Runner(Source(proto.SerializeToString())), ir.from_proto(proto)
    work = (
        (lambda: runner.run(batch)) if what == "run" else (lambda: observe(model, Watched(["y"]), [0], lambda _: batch))
    )
    with pytest.raises(KeyboardInterrupt), interrupted_inside_a_lock() as came:
        while True:
            work()
    assert came == ["Condition._acquire_restore"]
    interrupts._interrupted.clear()
    assert work()
