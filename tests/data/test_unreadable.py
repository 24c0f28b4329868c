from __future__ import annotations

import threading

import pytest

from qdq_cli.data.unreadable import UnreadableSampleError, UnreadableSamples
from qdq_cli.process.errors import DataError


def broken(name: str) -> UnreadableSampleError:
    return UnreadableSampleError(name, "the file is empty")


@pytest.mark.parametrize(("total", "allowed"), [(1, 0), (99, 0), (100, 0), (101, 1), (200, 1), (201, 2), (520, 5)])
def test_fewer_than_one_percent_may_be_unreadable(total, allowed):
    unreadable = UnreadableSamples(total)
    for k in range(allowed):
        unreadable.add(broken(f"{k}.png"))
    with pytest.raises(DataError) as caught:
        unreadable.add(broken("last.png"))
    assert "last.png cannot be decoded as an image: the file is empty." in caught.value.message
    assert f"{allowed + 1} of {total} samples" in caught.value.message
    assert caught.value.hint


def test_the_note_names_the_first_few_whatever_the_order():
    unreadable = UnreadableSamples(1000)
    assert unreadable.note() == ""
    for name in "dbca":
        unreadable.add(broken(f"{name}.png"))
    assert unreadable.note() == ("4 of 1000 samples cannot be decoded and were left out: a.png, b.png, c.png, ....")


def test_threads_are_counted_together():
    unreadable = UnreadableSamples(100_000)
    threads = [threading.Thread(target=lambda: [unreadable.add(broken("a.png")) for _ in range(100)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(unreadable.errors) == 800
