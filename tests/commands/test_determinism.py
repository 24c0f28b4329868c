"""Same model, same data, same options: the same bytes; and nothing that should not matter does."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from qdq_cli.running import runner
from tests.networks import Network
from tests.workspace import SIDE, Workspace, process


def written(space: Workspace, *options: object) -> bytes:
    done = space.quantize("-q", *options)
    assert done.code == 0, done.err
    return space.output.read_bytes()


def test_twice_in_one_process(space: Workspace):
    assert written(space) == written(space)


def test_in_processes_with_another_hash_seed_and_elsewhere(space: Workspace, tmp_path_factory: pytest.TempPathFactory):
    """No order of a set, and no path of this machine, gets into the model or the cache."""
    results = []
    for seed in ("1", "2"):
        folder = tmp_path_factory.mktemp("elsewhere")
        for name in ("model.onnx", "arrays.npz"):
            (folder / name).write_bytes((space.folder / name).read_bytes())
        done = process(
            "quantize", "model.onnx", "--calib", "arrays.npz", "--cache", "model.qcal", cwd=folder, PYTHONHASHSEED=seed
        )
        assert done.code == 0, done.err
        results.append([(folder / name).read_bytes() for name in ("model.qdq.onnx", "model.qcal")])
    assert results[0] == results[1]


@pytest.mark.parametrize("form", [("--weights", "int8"), ("--form", "int8-regions"), ("--method", "entropy")])
def test_every_form_is_deterministic(space: Workspace, form: tuple[str, str]):
    assert written(space, *form) == written(space, *form)


def test_external_data_is_deterministic(space: Workspace):
    onnx.save(onnx.load(space.model), space.model, save_as_external_data=True, location="w.bin", size_threshold=0)
    first = written(space)
    (data,) = space.folder.glob("model.qdq.onnx.*.data")
    before = data.read_bytes()
    assert written(space) == first
    assert [path.read_bytes() for path in space.folder.glob("*.data")] == [before]


def test_threads_do_not_matter(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    results = []
    for count in (1, 2, 3):
        monkeypatch.setattr(runner, "cores", lambda count=count: count)
        cache = space.folder / f"{count}.qcal"
        results.append((written(space, "--cache", cache), cache.read_bytes()))
    assert results[0] == results[1] == results[2]


def test_the_batch_size_does_not_matter_where_the_runtime_makes_equal_outputs(space: Workspace):
    """Inputs and weights are small multiples of powers of two, so that sums are exact in any order."""
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "first", scale=None))
    net.conv(x, 16, "second", scale=None, kernel=1)
    onnx.save(net.proto("second"), space.model)
    values = np.random.default_rng(0).integers(-64, 65, (20, 3, SIDE, SIDE)) / 64
    np.savez(space.arrays, images=values.astype(np.float32))
    results = {}
    for size in (1, 3, 16):
        cache = space.folder / f"{size}.qcal"
        results[size] = written(space, "--batch-size", size, "--cache", cache), cache.read_bytes()
    assert results[1] == results[3] == results[16]


def test_the_order_of_paths_does_not_matter(space: Workspace):
    """All samples calibrate, in whatever order."""
    values = np.load(space.arrays)["images"]
    paths = []
    for number, part in enumerate(np.split(values, [3, 7])):
        paths.append(space.folder / f"part{number}.npz")
        np.savez(paths[-1], images=part)

    def of(order: list[int]) -> bytes:
        given = [word for index in order for word in ("--calib", paths[index])]
        return written(space, *given, "--samples", "10", "--verify", "0")

    assert of([0, 1, 2]) == of([2, 0, 1]) == of([1, 2, 0])
    assert of([0, 1, 2]) == written(space, "--samples", "10", "--verify", "0")


def test_verification_does_not_change_the_model(space: Workspace):
    """The same samples calibrate, whatever the others are held against; by default none is left out for nothing."""
    few = ("--samples", "8")
    assert written(space, *few, "--verify", "0") == written(space, *few, "--verify", "1")
    assert written(space, "--verify", "1") == written(space, "--min-sqnr", "1")


def test_the_name_of_the_output_does_not_matter(space: Workspace):
    other = space.folder / "other.onnx"
    assert space.quantize("-q", "-o", other).code == 0
    assert other.read_bytes() == written(space)
