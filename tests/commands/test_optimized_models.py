"""Models that ONNX Runtime's optimizer saved: its operators hide convolutions and products, and that is always said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.networks import Network
from tests.workspace import Workspace, make_workspace, qdq

LEVELS = onnxruntime.GraphOptimizationLevel
ORIGINAL = "ake the model from before, or save it at its level ORT_ENABLE_BASIC, which keeps the operators of ONNX."


def convolutions() -> onnx.ModelProto:
    """Conv and Relu, Conv and Sigmoid, and a Conv alone; the optimizer fuses the first two."""
    net = Network()
    x = net.relu(net.conv(net.input("images", (1, 3, 16, 16)), 16, scale=None))
    x = net.op("Sigmoid", net.conv(x, 32, scale=None))
    return net.proto(net.conv(x, 16, "last", scale=None))


def products() -> onnx.ModelProto:
    """A product with a transposed operand, and a bias with Gelu, as the optimizer of transformers makes them."""
    net = Network()
    x = net.op("FusedMatMul", net.input("images", (1, 4, 16)), net.constant(net.weight(8, 16)), name="fused",
               domain="com.microsoft", transB=1)  # fmt: skip
    x = net.op("BiasGelu", x, net.constant(np.ones(8, np.float32)), domain="com.microsoft")
    proto = net.proto(net.op("MatMul", x, net.constant(net.weight(8, 16)), name="plain"))
    if all(entry.domain != "com.microsoft" for entry in proto.opset_import):
        proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return proto


def saved_by_the_optimizer(tmp_path: Path, proto: onnx.ModelProto, level: LEVELS) -> Workspace:
    space = make_workspace(tmp_path, proto)
    shape = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    np.savez(space.arrays, images=np.random.default_rng(0).normal(size=(12, *shape[1:])).astype(np.float32))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(str(space.model), options, providers=["CPUExecutionProvider"])
    (tmp_path / "optimized.onnx").replace(space.model)
    return space


@pytest.fixture
def laid_out(tmp_path: Path) -> Workspace:
    return saved_by_the_optimizer(tmp_path, convolutions(), LEVELS.ORT_ENABLE_ALL)


@pytest.fixture
def extended(tmp_path: Path) -> Workspace:
    return saved_by_the_optimizer(tmp_path, convolutions(), LEVELS.ORT_ENABLE_EXTENDED)


@pytest.mark.parametrize("command", [("quantize",), ("quantize", "-q"), ("calibrate",), ("sensitivity",),
                                     ("tune", "--min-sqnr", "20")], ids=" ".join)  # fmt: skip
def test_where_every_product_is_hidden_every_command_refuses(laid_out: Workspace, command: tuple[str, ...]):
    if "nchwc" not in laid_out.model.read_bytes().decode("latin-1"):
        pytest.skip("this processor has no NCHWc kernels")
    before = laid_out.listing()
    done = qdq(command[0], laid_out.model, "--calib", laid_out.arrays, *command[1:])
    assert done.code == 3
    assert "was saved by ONNX Runtime's optimizer" in done.err
    assert "com.microsoft.nchwc.Conv 3x" in done.err
    assert f"hint: T{ORIGINAL}" in done.err
    assert laid_out.listing() == before


def test_a_dry_run_shows_that_nothing_can_be_quantized_and_why(laid_out: Workspace):
    if "nchwc" not in laid_out.model.read_bytes().decode("latin-1"):
        pytest.skip("this processor has no NCHWc kernels")
    done = laid_out.quantize("--dry-run", "-q", "--json")
    plan = done.document["plan"]
    assert plan["weighted_ops"] == {"total": 3, "quantized": 0}
    assert {skip["code"] for skip in plan["skips"]} == {"OPTIMIZER_MADE"}
    assert done.err.startswith("warning: ONNX Runtime's optimizer made 4 operators of the model")


def test_where_some_are_hidden_the_others_are_quantized_with_a_warning(extended: Workspace):
    done = extended.quantize("-q", "--json")
    assert (done.code, done.document["weighted_ops"]) == (0, {"total": 3, "quantized": 1})
    assert done.err.startswith("warning: ONNX Runtime's optimizer made 2 operators of the model")
    assert "(com.microsoft.FusedConv 2x; 'conv_1', 'conv_3')" in done.err
    assert f"To quantize all of it, t{ORIGINAL}" in done.err
    assert done.document["predicted"]["weighted_layers"] == 3
    assert "2 x FusedConv: made by ONNX Runtime's optimizer" in extended.quantize().out


@pytest.mark.parametrize("command", ["calibrate", "sensitivity"])
def test_other_commands_warn_too(extended: Workspace, command: str):
    done = qdq(command, extended.model, "--calib", extended.arrays, "-q")
    assert (done.code, "warning: ONNX Runtime's optimizer made 2 operators" in done.err) == (0, True)


def test_at_the_basic_level_nothing_is_hidden(tmp_path: Path):
    space = saved_by_the_optimizer(tmp_path, convolutions(), LEVELS.ORT_ENABLE_BASIC)
    done = space.quantize("--json")
    assert (done.document["weighted_ops"], "optimizer" in done.err) == ({"total": 3, "quantized": 3}, False)


def test_operators_of_a_transformer_that_was_fused_on_purpose(tmp_path: Path):
    """Not refused: the products that are left are quantized, and those that are hidden count."""
    space = saved_by_the_optimizer(tmp_path, products(), LEVELS.ORT_ENABLE_BASIC)
    done = space.quantize("--json")
    assert (done.code, done.document["weighted_ops"]) == (0, {"total": 2, "quantized": 1})
    assert "com.microsoft.FusedMatMul 1x, com.microsoft.BiasGelu 1x" in done.err


def test_an_excluded_rest_is_no_file_of_the_optimizer(extended: Workspace):
    done = extended.quantize("--exclude-op", "Conv")
    assert done.code == 0
    assert "Nothing of" in done.err
    assert "2 x FusedConv" in done.out + done.err
