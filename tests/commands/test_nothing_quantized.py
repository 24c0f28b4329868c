"""No success that did nothing: a model of which nothing is quantized, or that is quantized already, is called that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tests.networks import Network
from tests.workspace import SIDE, Workspace, make_workspace, qdq

ALL_FLOAT = ("--exclude-op", "Conv", "--exclude-op", "Gemm")


def attention_of_another_tool() -> onnx.ModelProto:
    """Both products quantized, a float Add, Reshape and Transpose ahead of the second one's Q."""
    net = Network()
    x, scores = net.input("x", (1, 16, 64)), net.input("scores", (1, 4, 16, 16))
    weight = net.dequantize(net.constant(np.ones((64, 64), np.int8), "w"))
    added = net.add(net.pair(net.op("MatMul", net.pair(x), weight, name="proj")), net.constant(np.ones(64, np.float32)))
    heads = net.op("Reshape", added, net.constant(np.array([1, 16, 4, 16], np.int64)))
    heads = net.op("Transpose", heads, perm=[0, 2, 1, 3])
    shares = net.op("Softmax", scores, axis=-1)
    return net.proto(net.op("MatMul", net.pair(shares), net.pair(heads), name="y"))


@pytest.fixture
def attention(tmp_path: Path) -> Workspace:
    space = make_workspace(tmp_path, attention_of_another_tool())
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(8, 1, 16, 64)), "scores": rng.normal(size=(8, 1, 4, 16, 16))}
    np.savez(space.arrays, **{name: array.astype(np.float32) for name, array in arrays.items()})
    return space


def test_what_another_tool_quantized_is_kept_as_it_is(attention: Workspace):
    before = attention.listing()
    done = attention.quantize()
    assert done.code == 0
    assert "quantized     nothing: the model is quantized already" in done.out
    assert "output        none: the model is kept as it is" in done.out
    assert "kept float" not in done.out
    assert "is quantized already, so nothing was added; no file was written." in done.err
    assert attention.listing() == before


def test_quiet_does_not_hide_that_nothing_was_added(attention: Workspace):
    done = attention.quantize("-q")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("warning: ")


def test_a_named_output_is_a_copy_byte_for_byte(attention: Workspace):
    done = attention.quantize("-o", attention.output, "--json")
    assert (done.code, done.document["already_quantized"]) == (0, True)
    assert done.document["output"] == str(attention.output)
    assert done.document["predicted"]["quantized_layers"] == 2
    assert attention.output.read_bytes() == attention.model.read_bytes()
    assert any("is a copy of it" in note for note in done.document["notes"])


def test_a_copy_takes_its_weights_along(space: Workspace):
    space.quantize()
    folder = space.folder / "elsewhere"
    folder.mkdir()
    model = onnx.load(space.output)
    onnx.save(model, folder / "big.onnx", save_as_external_data=True, location="big.weights", size_threshold=0)
    done = qdq("quantize", folder / "big.onnx", "-o", space.folder / "copy.onnx")
    assert done.code == 0, done.err
    model, copy = onnx.load(space.output), onnx.load(space.folder / "copy.onnx")
    for one, two in zip(model.graph.initializer, copy.graph.initializer, strict=True):
        assert np.array_equal(onnx.numpy_helper.to_array(one), onnx.numpy_helper.to_array(two))


def test_our_own_result_is_never_quantized_twice(space: Workspace):
    space.quantize()
    before = space.listing()
    done = space.quantize(model=space.output)
    assert (done.code, "quantized already" in done.out) == (0, True)
    assert space.listing() == before
    dry = qdq("quantize", space.output, "--dry-run")
    assert "plan          nothing: the model is quantized already" in dry.out


def test_a_limit_on_the_macs_holds_for_a_kept_model(space: Workspace):
    space.quantize("--exclude", "middle")
    again = ("--exclude", "middle")
    done = space.quantize(*again, "--min-int8-macs", "99", model=space.output)
    assert (done.code, "not written" in done.out) == (5, True)
    assert "--min-int8-macs is 99 %" in done.err
    assert space.quantize(*again, "--min-int8-macs", "30", model=space.output).code == 0


def test_a_kept_model_has_nothing_to_be_compared_with(space: Workspace):
    space.quantize()
    done = space.quantize("--min-sqnr", "10", model=space.output)
    assert (done.code, "no float model" in done.err) == (2, True)


@pytest.mark.parametrize("arguments", [("tune", "--min-sqnr", "10"), ("sensitivity",), ("calibrate",)])
def test_other_commands_ask_for_the_float_model(space: Workspace, arguments: tuple[str, ...]):
    space.quantize()
    before = space.listing()
    done = qdq(arguments[0], space.output, "--calib", space.arrays, *arguments[1:])
    assert (done.code, done.out) == (3, "")
    assert "is quantized already" in done.err and "Give the float model" in done.err
    assert space.listing() == before


def test_a_model_quantized_in_part_is_finished_under_a_name_of_its_own(space: Workspace):
    space.quantize("--exclude", "middle")
    before = space.listing()
    unnamed = space.quantize(model=space.output)
    assert (unnamed.code, "Name it with -o." in unnamed.err) == (2, True)
    assert space.listing() == before
    named = space.quantize("-o", space.folder / "whole.onnx", "--json", model=space.output)
    assert (named.code, named.document["already_quantized"]) == (0, False)
    assert named.document["predicted"]["quantized_layers"] == named.document["weighted_ops"]["total"] == 4
    assert any("in part already: 3 of 4" in note for note in named.document["notes"])


def test_integer_operators_are_quantized_already(space: Workspace):
    net = Network()
    codes = net.op(
        "ConvInteger", net.input("x", (1, 3, 8, 8), TensorProto.UINT8), net.constant(np.ones((4, 3, 1, 1), np.uint8))
    )
    onnx.save(net.proto(net.op("Cast", codes, name="y", to=TensorProto.FLOAT)), space.model)
    done = qdq("quantize", space.model)
    assert (done.code, "is quantized already" in done.err) == (0, True)


def test_a_float_result_is_called_that_even_when_quiet(space: Workspace):
    done = space.quantize(*ALL_FLOAT, "-q")
    assert (done.code, done.out) == (0, "")
    assert "warning: Nothing of " in done.err and "excluded by --exclude-op" in done.err
    assert f"{space.output} is a float model." in done.err


def test_a_model_without_weighted_operators_says_so(space: Workspace):
    net = Network()
    onnx.save(net.proto(net.op("Sigmoid", net.input("images", ("N", 3, SIDE, SIDE)), name="y")), space.model)
    assert "it has no Conv, ConvTranspose, Gemm or MatMul" in space.quantize("-q").err


@pytest.mark.parametrize("limit", [("--min-sqnr", "10"), ("--min-agreement", "90")])
def test_a_float_result_meets_no_limit_on_accuracy(space: Workspace, limit: tuple[str, str]):
    before = space.listing()
    done = space.quantize(*ALL_FLOAT, *limit)
    assert (done.code, done.out) == (2, "")
    assert "have nothing to judge" in done.err and "--min-int8-macs" in done.err
    assert space.listing() == before
    with_macs = space.quantize(*ALL_FLOAT, *limit, "--min-int8-macs", "50")
    assert with_macs.code == 5
    assert "0.00 % of the MACs run in INT8; --min-int8-macs is 50 %." in with_macs.err
    assert space.listing() == before


def test_the_share_of_the_work_is_what_inspect_says(space: Workspace):
    done = space.quantize("--exclude", "middle", "--json")
    predicted, summary = done.document["predicted"], qdq("inspect", space.output, "--json").document["summary"]
    assert predicted["quantized_macs_percent"] == summary["quantized_macs_percent"] < 100
    assert predicted["quantized_traffic_percent"] == summary["quantized_traffic_percent"]
    assert "% of the MACs" in space.quantize("--exclude", "middle").out


def test_open_sizes_are_those_of_the_samples(space: Workspace):
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, "H", "W")), 16, "first", scale=None))
    onnx.save(net.proto(net.conv(x, 16, "second", scale=None)), space.model)
    predicted = space.quantize("--json", "--exclude", "first").document["predicted"]
    shaped = qdq("inspect", space.output, "--json", "--input-shape", f"1x3x{SIDE}x{SIDE}").document["summary"]
    assert (predicted["unknown_costs"], predicted["quantized_macs_percent"]) == (0, shaped["quantized_macs_percent"])
    assert 0 < predicted["quantized_macs_percent"] < 100


@pytest.mark.parametrize("run", [("--dry-run",), ()])
def test_too_few_macs_in_int8_end_in_5(space: Workspace, run: tuple[str, ...]):
    enough = space.quantize("--min-int8-macs", "100", *run)
    assert enough.code == 0, enough.err
    before = space.listing()
    done = space.quantize("--exclude", "middle", "--min-int8-macs", "95", *run)
    assert (done.code, "of the MACs run in INT8" in done.err) == (5, True)
    assert space.listing() == before


def test_calibrating_nothing_is_an_error(space: Workspace):
    done = qdq("calibrate", space.model, "--calib", space.arrays, *ALL_FLOAT)
    assert (done.code, "no tensor to observe" in done.err) == (3, True)
