"""Keys of samples: the same on every machine and under every name, different for every sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qdq_cli.calibrating.sample_keys import SampleKeys, sample_key
from qdq_cli.config.preprocess import PRESETS
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.samples import SampleSet, open_samples
from qdq_cli.process.errors import DataError
from tests.listeners import Ear

ROWS = np.arange(12, dtype=np.float32).reshape(6, 2)


def arrays(*paths: Path) -> SampleSet:
    return open_samples(paths, [InputSpec("x", np.dtype(np.float32), (None, 2))])


def pictures(folder: Path, values: Sequence[int]) -> SampleSet:
    """A folder of pictures of one colour each."""
    folder.mkdir()
    for number, value in enumerate(values):
        Image.new("L", (4, 4), value).save(folder / f"{number}.png")
    return open_pictures(folder)


def open_pictures(folder: Path) -> SampleSet:
    return open_samples([folder], [InputSpec("x", np.dtype(np.float32), (None, 1, 4, 4))], PRESETS["unit"])


def keys(every: SampleSet) -> list[str]:
    made = SampleKeys(every, range(len(every)))
    return [made.of(index) for index in range(len(every))]


def test_a_key_follows_what_is_stored_not_its_name(tmp_path: Path):
    np.savez(tmp_path / "calib.npz", x=ROWS)
    expected = keys(arrays(tmp_path / "calib.npz"))
    assert len(set(expected)) == 6
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in expected)
    np.savez_compressed(tmp_path / "renamed.npz", x=ROWS)
    assert keys(arrays(tmp_path / "renamed.npz")) == expected
    (tmp_path / "folder").mkdir()
    for number, row in enumerate(ROWS):
        np.save(tmp_path / "folder" / f"{number}.npy", row[None])
    assert keys(arrays(tmp_path / "folder")) == expected
    np.savez(tmp_path / "other.npz", x=ROWS + 100)
    assert not set(keys(arrays(tmp_path / "other.npz"))) & set(expected)


def test_a_picture_keeps_its_key_under_another_name(tmp_path: Path):
    expected = keys(pictures(tmp_path / "a", [1, 2, 3]))
    (tmp_path / "b" / "deep").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "a" / f"{number}.png").rename(tmp_path / "b" / "deep" / f"{number}-renamed.png")
    assert keys(open_pictures(tmp_path / "b")) == expected


def test_equal_samples_are_numbered_in_order(tmp_path: Path):
    every = pictures(tmp_path / "a", [1, 2, 1, 1])
    first, other, second, third = keys(every)
    assert (first, second, third) == tuple(sample_key(every.identity(0), number) for number in range(3))
    assert len({first, other, second, third}) == 4
    made = SampleKeys(every, range(4))
    assert made.equal == (str(tmp_path / "a" / "2.png"), str(tmp_path / "a" / "3.png"))


def test_pictures_of_different_size_are_not_read_to_be_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    every = pictures(tmp_path / "a", [1, 2])
    with (tmp_path / "a" / "1.png").open("ab") as file:
        file.write(b"more")
    monkeypatch.setattr(SampleSet, "identity", None)
    ear = Ear()
    assert SampleKeys(every, range(2), ear).equal == ()
    assert (ear.titles, ear.notes) == ([], []), "there is nothing to wait for"


def test_pixels_in_an_array(tmp_path: Path):
    values = np.zeros((3, 4, 4, 1), np.uint8)
    values[1] = 7
    np.save(tmp_path / "a.npy", values)
    spec = InputSpec("x", np.dtype(np.float32), (None, 1, 4, 4))
    every = open_samples([tmp_path / "a.npy"], [spec], PRESETS["unit"])
    assert SampleKeys(every, range(3)).equal == (every.load(2).source,) == (f"{tmp_path / 'a.npy'}[2]",)


def test_a_picture_that_is_gone_is_a_matter_of_loading(tmp_path: Path):
    every = pictures(tmp_path / "a", [1, 1, 1])
    (tmp_path / "a" / "1.png").unlink()
    made = SampleKeys(every, range(3))
    assert made.of(0) != made.of(2)
    with pytest.raises(DataError, match=r"1\.png"):
        made.of(1)


def test_nothing_more_is_looked_at_once_the_run_is_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qdq_cli.calibrating.sample_keys._ROUND", 2)
    np.save(tmp_path / "a.npy", np.zeros((6, 2), np.float32))
    assert len(SampleKeys(arrays(tmp_path / "a.npy"), range(6), stop=lambda: True).equal) == 1
