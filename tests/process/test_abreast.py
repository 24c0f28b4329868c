"""Work on several things at a time: results in their order, the first error, and Ctrl-C in between."""

from __future__ import annotations

import threading

import pytest

from qdq_cli.process import interrupts
from qdq_cli.process.abreast import each


def test_results_come_in_the_order_of_the_items():
    second = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert second.wait(10)  # done after the one behind it
        if number == 1:
            second.set()
        return number * number

    assert each(work, range(5), 2) == [0, 1, 4, 9, 16]
    assert each(work, [], 2) == []


def test_the_first_item_that_fails_is_told_and_no_further_one_is_begun():
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        if number >= 1:
            raise ValueError(f"item {number}")
        return number

    with pytest.raises(ValueError, match="item 1"):
        each(work, range(50), 1)
    assert begun[:2] == [0, 1]
    assert len(begun) <= 50


def test_an_interrupt_is_heard_while_waiting():
    def work(number: int) -> None:
        interrupts.interrupt(2, None)  # as the handler of Ctrl-C does, while the main thread only waits
        threading.Event().wait(0.3)

    try:
        with pytest.raises(KeyboardInterrupt):
            each(work, range(3), 1)
    finally:
        interrupts._interrupted.clear()
