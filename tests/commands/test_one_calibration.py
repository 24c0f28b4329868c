"""One calibration, one result: what calibrates does not depend on whether a cache is made on the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from qdq_cli.data.selection import spread_evenly
from tests.commands.test_bad_input import checked
from tests.networks import Network
from tests.workspace import Workspace, qdq, small_convnet, write_arrays, write_images


@pytest.fixture
def many(space: Workspace) -> Workspace:
    """A folder with 30 samples of each kind."""
    write_arrays(space.arrays, 30)
    write_images(space.images, 30)
    return space


@pytest.mark.parametrize(
    ("batch", "options"),
    [
        ("N", []),
        ("N", ["--batch-size", "4"]),
        ("N", ["--samples", "12"]),
        ("N", ["--seed", "3"]),
        ("N", ["--samples", "12", "--seed", "3"]),
        (4, []),
        (10, []),
    ],
)
@pytest.mark.parametrize("kind", ["arrays", "images"])
def test_a_cache_gives_the_model_that_its_samples_give(batch, options, kind, many: Workspace):
    onnx.save(small_convnet(batch=batch).proto("scores"), many.model)
    data = ["--calib", getattr(many, kind), *options, *(["--preprocess", "unit"] if kind == "images" else [])]
    cache, served = many.folder / "model.qcal", many.folder / "served.onnx"
    assert many.quantize(*data, "--verify", "0").code == 0
    assert qdq("calibrate", many.model, *data).code == 0
    assert many.quantize("--calib", *data[1:], "--cache", cache, "--verify", "0", "-o", served).code == 0
    assert served.read_bytes() == many.output.read_bytes()
    assert qdq("quantize", many.model, "--cache", cache, "-o", served).code == 0
    assert served.read_bytes() == many.output.read_bytes()


def counts(space: Workspace, *options: object) -> tuple[int, int, bool, str]:
    """Samples that calibrate, those that verify, whether these were held back, and what was said."""
    done = space.quantize(*options, "--json")
    assert done.code == 0, done.err
    verified = done.document["verification"] or {"samples": 0, "held_back": False}
    return done.document["calibration"]["samples"], verified["samples"], verified["held_back"], done.err


@pytest.mark.parametrize("seed", [[], ["--seed", "3"]])
def test_more_samples_than_there_are_is_all_of_them_with_a_note(many: Workspace, seed: list[str]):
    *found, said = counts(many, "--samples", "700", *seed)
    assert found == [27, 3, True]
    assert "--samples 700 is more than the 30 there are: all but 3 to compare on calibrate." in said
    *found, said = counts(many, "--samples", "700", "--verify", "0", *seed)
    assert found == [30, 0, False]
    assert "--samples 700 is more than the 30 there are: all of them are taken." in said
    assert counts(many, "--samples", "700", "--min-sqnr", "3")[:3] == (27, 3, True)
    for command in (["calibrate", many.model, "--calib"], ["compare", many.model, many.output, "--data"]):
        done = qdq(*command, many.arrays, "--samples", "31", "--json", *seed)
        assert done.code == 0, done.err
        assert "--samples 31 is more than the 30 there are: all of them are taken." in done.err


def test_nothing_is_held_back_that_is_not_used(many: Workspace):
    assert counts(many)[:3] == (27, 3, True)
    assert counts(many, "--verify", "2")[:3] == (28, 2, True)
    assert counts(many, "--verify", "0")[:3] == (30, 0, False)


@pytest.mark.parametrize(
    ("batch", "samples", "expected"),
    [
        (10, 10, (10, 10, False)),  # one of ten was held back, and nine do not fill a run
        (10, 30, (30, 10, False)),
        (10, 80, (70, 10, True)),
        (10, 85, (70, 10, True)),
        (4, 40, (36, 4, True)),
    ],
)
def test_whole_runs_are_held_back_of_a_fixed_batch(batch, samples, expected, space: Workspace):
    onnx.save(small_convnet(batch=batch).proto("scores"), space.model)
    write_arrays(space.arrays, samples)
    assert counts(space)[:3] == expected


def test_a_batch_larger_than_the_default_number_of_samples(space: Workspace):
    net = Network()
    x = net.input("x", (600, 32))
    net.gemm(net.relu(net.gemm(x, 32, 32, "first", scale=None)), 32, 32, "last", scale=None)
    onnx.save(net.proto("last"), space.model)
    values = np.random.default_rng(0).normal(size=(1300, 32)).astype(np.float32)
    np.save(space.folder / "x.npy", values)
    calibrated, verified, held_back, said = counts(space, "--calib", space.folder / "x.npy")
    assert (calibrated, verified, held_back) == (600, 600, False)
    assert "600 of the 1,300 samples calibrate" in said


def test_shapes_of_their_own_that_fill_no_run_are_not_held_back(space: Workspace):
    """Eight shapes, ten samples of each, in runs of ten: one sample held back of any shape would spoil its run."""
    net = Network()
    net.conv(net.input("images", (10, 3, "H", "W")), 16, "out", scale=None)
    onnx.save(net.proto("out"), space.model)
    folder = space.folder / "shapes"
    folder.mkdir()
    for side in range(8, 16):
        write_arrays(folder / f"{side}.npz", 10, side=side)
    assert counts(space, "--calib", folder)[:3] == (80, 10, False)


def test_a_sparse_file_of_very_many_samples(space: Workspace):
    """Time and memory go with the samples that are used, not with those that are there."""
    path = sparse(space.folder / "x.npy", 84_000_000, spread_evenly(84_000_000, 8))
    net = Network()
    net.gemm(net.input("x", ("N", 4)), 4, 16, "out", scale=None)
    onnx.save(net.proto("out"), space.model)
    assert counts(space, "--calib", path, "--samples", "8", "--verify", "0", "--no-gemv-rules")[:3] == (8, 0, False)
    before = space.listing()
    text = checked(qdq("calibrate", space.model, "--calib", path, "--no-gemv-rules"), 4, space, before)
    assert "84,000,000 samples are to calibrate, but one calibration counts at most 1,048,576" in text


def sparse(path: Path, count: int, written: Sequence[int]) -> Path:
    """A .npy of `count` samples of four zeros, of which some are written; the others take no room."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (count, 4)})
        start = file.tell()
        for number, index in enumerate(written):
            file.seek(start + 16 * index)
            file.write(np.arange(number, number + 4, dtype=np.float32).tobytes())
        file.truncate(start + 16 * count)
    return path
