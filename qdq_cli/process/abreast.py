"""Work on several things at a time, in threads, with the results in order: for what computes outside Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from qdq_cli.process.interrupts import hearing_by_asking, insist

Item = TypeVar("Item")
Result = TypeVar("Result")

_POLL_SECONDS = 0.1


def each(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> list[Result]:
    """What `work` makes of every item, in the order of the items.

    Args:
        work: Called in threads; changes nothing that two items have in common.
        items: What to work on.
        threads: How many to work on at a time.

    Raises:
        Exception: Whatever `work` raises for the first item that it raises for; no further item is begun then.
    """
    with hearing_by_asking(), ThreadPoolExecutor(threads, thread_name_prefix="work") as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [waited_for(future) for future in futures]
        finally:
            for future in futures:
                future.cancel()


def waited_for(future: Future[Result]) -> Result:
    """The result of work in another thread, waited for in small portions, so that Ctrl-C gets through everywhere.

    Raises:
        KeyboardInterrupt: The program was asked to end.
        Exception: Whatever the work raises.
    """
    while wait([future], timeout=_POLL_SECONDS).not_done:
        insist()
    return future.result()
