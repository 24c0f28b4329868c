"""Keys of samples: the same on every machine, different for every sample."""

from __future__ import annotations

from pathlib import Path, PurePath

import numpy as np
import pytest

from qdq_cli.cache.samples import SampleLog, sample_key, sample_keys
from qdq_cli.data.batches import Batch
from qdq_cli.errors import DataError


def key(source: str, *roots: str, content: str = "content") -> str:
    return sample_key(content, str(PurePath(source)), [Path(root) for root in roots])


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (("a/b/images/cat/1.png", "a/b/images"), ("/mnt/pictures/cat/1.png", "/mnt/pictures")),
        (("1.png", "."), ("images/1.png", "images")),
        (("images/1.png", "./images"), ("other/1.png", "other")),
        (("calib.npz[3]", "calib.npz"), ("/data/calib.npz[3]", "/data/calib.npz")),
        (("data/calib.npz[3]", "data"), ("/data/calib.npz[3]", "/data/calib.npz")),
        (("one.png", "one.png"), ("folder/one.png", "folder")),
        (("im/1.png", "im"), ("images/1.png", "im", "images")),
        (("set[2]", "set"), ("x/set[2]", "x")),
        (("i/u\u0308.png", "i"), ("i/\u00fc.png", "i")),
    ],
)
def test_where_the_data_lies_does_not_count(here: tuple[str, ...], there: tuple[str, ...]):
    assert key(*here) == key(*there)


def test_other_samples_have_other_keys():
    keys = [
        key("images/1.png", "images"),
        key("images/2.png", "images"),
        key("images/cat/1.png", "images"),
        key("images/1.png", "images", content="other"),
        key("calib.npz[1]", "calib.npz"),
        key("calib.npz[11]", "calib.npz"),
        key("other.npz[1]", "other.npz"),
    ]
    assert len(set(keys)) == len(keys)
    assert all(len(each) == 16 and int(each, 16) >= 0 for each in keys)


def test_names_that_are_no_text():
    assert key("images/\udcff.png", "images") != key("images/\udcfe.png", "images")


def batch(*numbers: int, source: str = "{}.npy") -> Batch:
    arrays = {"x": np.array([[number] for number in numbers], np.float32)}
    return Batch(arrays, tuple(source.format(number) for number in numbers), len(numbers))


def test_keys_do_not_depend_on_the_batch():
    alone = [sample_keys(batch(number), [])[0] for number in (1, 2, 3)]
    assert list(sample_keys(batch(1, 2, 3), [])) == alone


def test_a_log_names_both_places_of_a_sample():
    log = SampleLog([Path("a"), Path("b")])
    log.add(batch(1, 2, source="a/{}.npy"))
    log.add(batch(3, source="b/{}.npy"))
    assert len(log.keys) == 3
    with pytest.raises(DataError, match=r"a/2.npy and b/2.npy") as caught:
        log.add(batch(2, source="b/{}.npy"))
    assert caught.value.hint
