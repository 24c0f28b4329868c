"""Sources of single inputs: pictures of a folder for one, arrays or numbers for the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import qdq_cli
from qdq_cli.config.preprocess import UNIT
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.samples import SampleSet, open_samples
from qdq_cli.process.errors import DataError, QdqError, UsageError
from tests.data.packing import pack
from tests.networks import Network
from tests.workspace import qdq, write_images

SPECS = (
    InputSpec("images", np.dtype(np.float32), ("N", 3, 16, 16)),
    InputSpec("mask", np.dtype(np.float32), ("N", 1, 16, 16)),
    InputSpec("size", np.dtype(np.int64), ("N", 2)),
)


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_images(tmp_path / "imgs", 12)
    write_images(tmp_path / "gray", 12)
    np.save(tmp_path / "mask.npy", np.arange(12 * 256, dtype=np.float32).reshape(12, 1, 16, 16))
    np.save(tmp_path / "one.npy", np.ones((1, 16, 16), np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened(*texts: str, specs: tuple[InputSpec, ...] = SPECS) -> SampleSet:
    return open_samples([Path(text) for text in texts], specs, UNIT)


def test_each_input_has_its_own(space: Path):
    samples = opened("images=imgs/", "mask=mask.npy", "size=[640, 480]")
    assert len(samples) == 12
    fed = samples.load(3).arrays
    assert list(fed) == ["images", "mask", "size"]
    assert np.array_equal(fed["images"], opened("imgs", specs=SPECS[:1]).load(3).arrays["images"])
    assert np.array_equal(fed["mask"], np.load("mask.npy")[3:4])
    assert fed["size"].tolist() == [[640, 480]]
    assert samples.shapes(3) == tuple(array.shape for array in fed.values())
    assert samples.name(3).endswith("3.png")
    assert len({samples.identity(k) for k in range(12)}) == 12
    assert samples.describe() == "12 samples from images"
    assert not samples.notes


def test_one_sample_is_for_all_and_pictures_do_for_several_inputs(space: Path):
    samples = opened("images=imgs", "mask=one.npy", "size=3")
    assert samples.load(11).arrays["mask"].shape == (1, 1, 16, 16)
    assert samples.load(11).arrays["size"].tolist() == [[3, 3]]
    both = opened("images=imgs", "mask=gray/*.png", "size=3")
    assert both.load(2).arrays["mask"].shape == (1, 1, 16, 16)
    assert both.load(2).arrays["mask"].max() <= 1


def test_the_others_come_from_what_has_no_name(space: Path):
    np.savez("rest.npz", mask=np.load("mask.npy"), size=np.full((12, 2), 7))
    samples = opened("images=imgs", "rest.npz")
    assert samples.load(5).arrays["size"].tolist() == [[7, 7]]
    assert np.array_equal(samples.load(5).arrays["mask"], np.load("mask.npy")[5:6])
    assert len(opened("imgs", "mask=mask.npy", "size=1")) == 12


def test_archives_too(space: Path):
    archive = pack(space / "imgs", space / "imgs.tar.gz")
    samples = opened(f"images={archive}", "mask=one.npy", "size=3")
    samples.expect([0, 11])
    assert np.array_equal(
        samples.load(11).arrays["images"], opened("images=imgs", "mask=one.npy", "size=3").load(11).arrays["images"]
    )


def test_a_file_that_is_called_so_is_that_file(space: Path):
    (space / "imgs").rename(space / "images=imgs")
    assert len(opened("images=imgs", specs=SPECS[:1])) == 12


WRONG = {
    "lengths": (["images=imgs", "mask=short.npy", "size=1"], "12 for 'images', 5 for 'mask', 1 for 'size'", "as many"),
    "missing": (["images=imgs", "mask=one.npy"], r"no calibration data for input 'size' \(int64", "--calib size="),
    "too much": (["images=imgs", "mask=one.npy", "size=1", "imgs"], "imgs is for none", "Leave it out"),
    "other name": (["imags=imgs", "mask=one.npy", "size=1"], "names 'imags', which is no input", "'images'"),
    "nothing there": (["images=nowhere", "mask=one.npy", "size=1"], "'nowhere' does not exist", ""),
    "no match": (["images=imgs/*.gif", "mask=one.npy", "size=1"], "matches no file", ""),
    "text": (["images=imgs", "mask=one.npy", "size=many"], "'many' does not exist", ""),
    "fraction": (["images=imgs", "mask=one.npy", "size=1.5"], "'1.5' does not exist", ""),
    "shape": (["images=imgs", "mask=one.npy", "size=[1, 2, 3]"], "size=.* has the shape", ""),
    "pictures": (["images=imgs", "mask=one.npy", "size=imgs"], "Images do not fit input 'size'", ""),
    "unnamed pictures": (["imgs"], "Images can feed one input, but the model has 3", "--calib images=images/"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_a_sentence(space: Path, case: str):
    texts, message, hint = WRONG[case]
    np.save("short.npy", np.ones((5, 1, 16, 16), np.float32))
    with pytest.raises(QdqError, match=message) as caught:
        opened(*texts)
    assert isinstance(caught.value, DataError | UsageError)
    assert hint in caught.value.hint


def two_inputs() -> onnx.ModelProto:
    net = Network()
    x, mask = net.input("images", ("N", 3, 16, 16)), net.input("mask", ("N", 1, 16, 16))
    return net.proto(net.conv(net.op("Mul", x, mask), 16, scale=None, name="out"), "out")


def test_the_command_and_python_take_it(space: Path):
    model = space / "model.onnx"
    onnx.save(two_inputs(), model)
    given = ["--calib", "images=imgs/", "--calib", "mask=mask.npy", "--scale", "0.5"]
    done = qdq("quantize", model, *given, "--json")
    assert done.code == 0, done.err
    assert done.document["calibration"]["samples"] == 11
    result = qdq_cli.quantize(model, ["images=imgs/", "mask=mask.npy"], scale=0.5)
    assert result.model == onnx.load(space / "model.qdq.onnx")
    done = qdq("quantize", model, "--calib", "images=imgs/")
    assert done.code == 4
    assert "There is no calibration data for input 'mask'" in done.err
