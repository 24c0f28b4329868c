"""What would take all the time or memory there is ends in a sentence, or costs what is used of it."""

from __future__ import annotations

import json
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from qdq_cli.config.preprocess import IMAGENET, UNIT, Overrides, Preprocessing
from qdq_cli.data.arrays import open_npy
from qdq_cli.data.preprocess_text import load_preprocessing
from qdq_cli.data.samples import open_samples
from qdq_cli.data.unreadable import UnreadableSampleError
from qdq_cli.process.errors import DataError, UsageError


def test_only_the_arrays_that_are_fed_are_opened(tmp_path, spec, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.ones((2, 3), np.float32), **{f"y{k}": np.arange(k) for k in range(99)})
    opened = []
    real = zipfile.ZipFile.__init__

    def counting(self, *args, **kwargs):
        opened.append(args)
        real(self, *args, **kwargs)

    monkeypatch.setattr(zipfile.ZipFile, "__init__", counting)
    samples = open_samples([tmp_path / "a.npz"], [spec("x", ("N", 3))])
    assert [samples.load(k).arrays["x"].shape for k in range(2)] == [(1, 3)] * 2
    assert len(opened) == 1


@pytest.mark.parametrize("position", range(10, 118))
def test_any_byte_of_a_header_may_be_wrong(position, tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 3), np.float32))
    good = (tmp_path / "a.npy").read_bytes()
    for value in b"\0 ('{\"<|,0:9TLaO\\\n\xff":
        (tmp_path / "a.npy").write_bytes(good[:position] + bytes([value]) + good[position + 1 :])
        try:
            opened = open_npy(tmp_path / "a.npy")
        except DataError as error:
            assert error.message.endswith(".")
        else:
            assert opened.whole().size == 12


def test_a_sample_that_would_fill_the_memory_is_refused(tmp_path, spec):
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (1, 1 << 30)})
        file.truncate(file.tell() + (4 << 30))
    with pytest.raises(DataError, match="samples of 4,294,967,296 bytes"):
        open_samples([tmp_path / "a.npy"], [spec("x", ("N", "L"))])


@pytest.mark.parametrize("name", ["a.json", "a.toml"])
def test_a_large_preprocessing_file_is_not_parsed(name, tmp_path):
    (tmp_path / name).write_text(".".join("a" * 50_000) + " = 1")
    tracemalloc.start()
    with pytest.raises(UsageError, match="more than 8,192 bytes"):
        load_preprocessing(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_key_that_is_no_text_is_shown_in_a_way_that_can_be_written(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"\ud800": 1}))
    with pytest.raises(UsageError) as caught:
        load_preprocessing(tmp_path / "a.json")
    assert str(caught.value).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"std": (1e39,)},
        {"std": (1e-39,)},
        {"scale": (1e39,)},
        {"scale": (-1e-46,), "mean": (0.0,)},
        {"scale": (1e300,)},
        {"crop": 1e-9},
        {"crop": float("nan")},
        {"shorter": 1 << 40},
    ],
)
def test_constants_out_of_all_proportion_are_refused(changes):
    with pytest.raises(UsageError, match=r"^Preprocessing (std|scale|crop|shorter) is "):
        Preprocessing(resize="crop").override(Overrides(**changes))


def test_a_strip_of_pixels_is_not_scaled_up_to_be_cut(write_image, spec):
    path = write_image("a.png", np.zeros((60_000, 1, 3), np.uint8))
    samples = open_samples([path], [spec("x", (1, 3, 224, 224))], IMAGENET)
    with pytest.raises(UnreadableSampleError, match="would be scaled to 256 x 15,360,000 pixels"):
        samples.load(0)
    np.save(path.with_suffix(".npy"), np.zeros((1, 60_000, 1, 3), np.uint8))
    samples = open_samples([path.with_suffix(".npy")], [spec("x", (1, 3, 224, 224))], IMAGENET)
    with pytest.raises(UnreadableSampleError, match="would be scaled"):
        samples.load(0)


def test_sixteen_bits_keep_the_high_byte_without_wide_copies(tmp_path, spec):
    levels = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    values = open_samples([tmp_path / "a.png"], [spec("x", (1, 1, 8, 8))], UNIT).load(0).arrays["x"]
    assert np.array_equal(np.round(values[0, 0] * 255), levels >> 8)
