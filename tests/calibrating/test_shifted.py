"""Which tensors calibration shifts, and what users see of it: finer steps, the row, the file, `compare`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from qdq_cli.model.provenance import SHIFTED
from tests.networks import Network, as_half
from tests.workspace import Workspace, make_workspace, qdq

SAMPLES = 24


def blocks(number: int = 3) -> Network:
    """Depthwise separable blocks with Relu6: half of the tensors may be shifted."""
    rng, net = np.random.default_rng(0), Network()
    x = net.input("x", ("N", 16, 10, 10))
    for block in range(number):
        for kind, group, side in (("deep", 16, 3), ("point", 1, 1)):
            shape = (16, 16 // group, side, side)
            weight = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
            constants = (weight, rng.normal(size=16) / 4)
            names = [
                net.constant(each.astype(np.float32), f"{kind}{block}_{part}")
                for part, each in zip("wb", constants, strict=True)
            ]
            name = f"{kind}{block}"
            x = net.op("Conv", x, *names, name=name, group=group, pads=[side // 2] * 4)
            x = x if name == f"point{number - 1}" else net.relu6(x, f"{name}_act")
    return net


def workspace(folder: Path, net: Network | None = None) -> Workspace:
    space = make_workspace(folder, (net or blocks()).proto("point2"))
    np.savez(space.arrays, x=np.random.default_rng(1).normal(size=(SAMPLES, 16, 10, 10)).astype(np.float32))
    return space


def db(outcome: object) -> float:
    assert outcome.code == 0, outcome.err
    return outcome.document["verification"]["outputs"]["point2"]["sqnr_db"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dict]:
    space = workspace(tmp_path_factory.mktemp("shifted"))
    found = space.quantize("--json", "--cache", space.folder / "model.qcal")
    assert found.code == 0, found.err
    return space, found.document


def test_tensors_that_are_never_negative_get_steps_of_nearly_half(done: tuple[Workspace, dict]):
    _, document = done
    assert [each["tensor"] for each in document["shifted"]] == ["deep0_act", "deep1_act", "deep2_act"]
    for each in document["shifted"]:
        assert 0.45 < each["step"] / each["step_before"] < 0.7


def test_it_lowers_the_noise_of_the_outputs(done: tuple[Workspace, dict]):
    space, document = done
    without = space.quantize("--json", "--no-shift")
    assert without.document["shifted"] == []
    assert document["verification"]["outputs"]["point2"]["sqnr_db"] > db(without) + 0.5


def test_the_file_says_what_is_shifted_and_has_no_clip_there(done: tuple[Workspace, dict]):
    space, _ = done
    space.quantize()
    model = onnx.load(space.output)
    shifted = json.loads({entry.key: entry.value for entry in model.metadata_props}[SHIFTED])
    assert {"deep0_act", "deep1_act", "deep2_act"} <= shifted.keys()
    clips = [node.name for node in model.graph.node if node.op_type == "Clip"]
    assert clips == ["point0_act", "point1_act"]


def test_a_cache_gives_the_same_bytes(done: tuple[Workspace, dict]):
    space, _ = done
    assert space.quantize().code == 0
    first = space.output.read_bytes()
    assert qdq("quantize", space.model, "--cache", space.folder / "model.qcal", "-o", space.output).code == 0
    assert space.output.read_bytes() == first


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile", "mse"])
def test_every_method_chooses_both_ends(done: tuple[Workspace, dict], method: str):
    space, _ = done
    found = space.quantize("--json", "--method", method)
    assert len(found.document["shifted"]) == 3


def test_a_range_by_hand_stays_as_it_was_given(done: tuple[Workspace, dict]):
    space, _ = done
    found = space.quantize("--json", "--range", "deep1_act=4.0")
    assert [each["tensor"] for each in found.document["shifted"]] == ["deep0_act", "deep2_act"]


def test_the_summary_says_what_it_gained(done: tuple[Workspace, dict]):
    space, _ = done
    told = space.quantize().out
    assert "shifted       3 tensors by biases, to use all 256 codes: steps" in told
    assert "\nshifted " not in space.quantize("--no-shift").out


def test_layers_are_compared_as_those_of_the_float_model(done: tuple[Workspace, dict]):
    space, _ = done
    assert space.quantize().code == 0
    found = qdq("compare", space.model, space.output, "--data", space.arrays, "--layers", "--json").document
    layers = {layer["tensor"]: layer for layer in found["layers"]["ranked"]}
    assert not found["layers"]["unmatched"]
    plain = space.quantize("--no-shift")
    assert plain.code == 0
    before = qdq("compare", space.model, space.output, "--data", space.arrays, "--layers", "--json").document
    others = {layer["tensor"]: layer for layer in before["layers"]["ranked"]}
    assert layers.keys() == others.keys()
    assert layers["point0"]["local"]["sqnr_db"] > others["point0"]["local"]["sqnr_db"] + 3
    for name in ("deep0", "deep1", "deep2"):  # what makes a shifted tensor has the error that it had
        assert abs(layers[name]["local"]["sqnr_db"] - others[name]["local"]["sqnr_db"]) < 1.5, name


def test_other_targets_have_zero_points_of_their_own(done: tuple[Workspace, dict]):
    space, _ = done
    assert space.quantize("--json", "--target", "onnxruntime").document["shifted"] == []
    assert space.quantize("--json", "--type", "fp8").document["shifted"] == []


def test_an_operator_left_float_later_takes_the_shift_along(done: tuple[Workspace, dict]):
    space, _ = done
    found = space.quantize("--json", "--exclude", "point1")
    assert [each["tensor"] for each in found.document["shifted"]] == ["deep0_act", "deep2_act"]


@pytest.mark.parametrize(
    "options", [("--recover",), ("--float-type", "fp16"), ("--form", "int8-regions"), ("--weights", "int8")]
)
def test_it_goes_with_the_other_options(done: tuple[Workspace, dict], options: tuple[str, ...]):
    space, document = done
    found = space.quantize("--json", *options)
    assert len(found.document["shifted"]) == 3
    assert db(found) > document["verification"]["outputs"]["point2"]["sqnr_db"] - 1.0


def test_a_half_precision_model_is_shifted_too(tmp_path: Path):
    space = make_workspace(tmp_path, as_half(blocks().proto("point2")))
    np.savez(space.arrays, x=np.random.default_rng(1).normal(size=(SAMPLES, 16, 10, 10)).astype(np.float16))
    found, without = space.quantize("--json"), space.quantize("--json", "--no-shift")
    assert len(found.document["shifted"]) == 3
    assert db(found) > db(without) + 0.5
