"""What TensorRT for RTX is planned and predicted to do otherwise than TensorRT; each was measured (decision 15)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from qdq_cli import CalibrateConfig, InspectConfig, PlanConfig, QuantizeConfig, inspect_model, quantize_model
from qdq_cli.config.forms import Gpu, TensorRT
from qdq_cli.inspecting.inspect import Inspection, inspect_file
from qdq_cli.process.errors import UsageError
from qdq_cli.quantizing.report import Report
from qdq_cli.targets.tensorrt.operators import OPERATORS as SERVER
from qdq_cli.targets.tensorrt_rtx.limits import LIMITS
from qdq_cli.targets.tensorrt_rtx.table import OPERATORS, TENSORRT_RTX
from tests.networks import Network, as_half
from tests.targets.tensorrt.faulty import MODELS
from tests.targets.tensorrt.forms import VALID
from tests.targets.tensorrt.importer_models import FORMS, form, one_node
from tests.workspace import qdq

RTX, TRT = "tensorrt-rtx", "tensorrt"
WIDTH, TOKENS, HEADS = 64, 16, 4


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def seen(model: onnx.ModelProto, folder: Path, target: str, gpu: Gpu | None = None) -> Inspection:
    return inspect_file(InspectConfig(saved(model, folder), target=target, gpu=gpu))


def types(model: onnx.ModelProto, folder: Path, target: str) -> dict[str, str]:
    return {layer.name: layer.precision.value for layer in seen(model, folder, target).layers}


def planned(model: onnx.ModelProto, folder: Path, target: str, **plan: object) -> Report:
    config = QuantizeConfig(saved(model, folder), dry_run=True, target=target, plan=PlanConfig(**plan))
    return quantize_model(config)


def mobile() -> onnx.ModelProto:
    net = Network()
    x = net.input("x", (1, 32, 8, 8))
    x = net.relu(net.conv(x, 32, "first", scale=None))
    x = net.relu(net.conv(x, 32, "depthwise", group=32, scale=None))
    x = net.op("AveragePool", net.conv(x, 32, "middle", scale=None), name="pool", kernel_shape=[2, 2], strides=[2, 2])
    net._channels[x] = 32
    x = net.conv(x, 32, "last", scale=None)
    return net.proto(net.op("ConvTranspose", x, net.constant(net.weight(32, 32, 2, 2)), name="up", strides=[2, 2]))


def skipped(report: Report) -> dict[str, str]:
    return {skip.node: skip.code for skip in report.skips}


def test_the_table_differs_in_the_rows_that_were_measured():
    gone = SERVER.rules.keys() - OPERATORS.rules.keys()
    assert gone == {"ConvTranspose", "AveragePool", "GlobalAveragePool", "ReduceMean"}
    changed = {name for name, rule in OPERATORS.rules.items() if rule != SERVER.rules[name]}
    assert changed == {"Conv", "Gemm", "MatMul"}


def test_what_gains_nothing_there_is_not_quantized(tmp_path: Path):
    there, here = (planned(mobile(), tmp_path, target) for target in (RTX, TRT))
    assert (there.target, here.target) == (RTX, TRT)
    assert skipped(there) == {"depthwise": "DEPTHWISE_PADDED", "up": "NO_KERNEL"}
    assert skipped(here) == {}
    pooled = {name for group in here.groups for name in group.tensors} - {
        name for group in there.groups for name in group.tensors
    }
    assert "middle" in pooled
    assert skipped(planned(mobile(), tmp_path, RTX, channel_rules=False)) == {"up": "NO_KERNEL"}


def test_a_deconvolution_runs_in_float_there_whatever_it_reads(tmp_path: Path):
    net = Network()
    x = net.pair(net.input("x", (1, 32, 8, 8)))
    weight = net.quantized_weight(net.weight(32, 32, 2, 2), None)
    model = net.proto(net.op("ConvTranspose", x, weight, name="up", strides=[2, 2]))
    assert (types(model, tmp_path, TRT)["up"], types(model, tmp_path, RTX)["up"]) == ("INT8", "FP32")
    (layer,) = (layer for layer in seen(model, tmp_path, RTX).layers if layer.name == "up")
    assert layer.because[0] == "There is no integer kernel for ConvTranspose, so it computes in float."
    assert not layer.uncertain


def attention(
    *,
    stored: bool = True,
    width: int = WIDTH,
    axis: int | None = 1,
    pair: bool = False,
    returned: bool = False,
    heads: bool = True,
) -> onnx.ModelProto:
    """Attention whose queries, keys and values are made by one product."""
    net = Network()
    x = net.pair(net.input("x", (1, TOKENS, width)))
    array = net.weight(width, 3 * WIDTH)
    weight = _stored(net, array, axis) if stored else net.quantized_weight(array, axis)
    made = net.op("Add", net.op("MatMul", x, weight, name="qkv"), net.constant(net.weight(3 * WIDTH)))
    if heads:
        cut = net.op("Reshape", made, net.constant(np.array([1, TOKENS, 3, HEADS, WIDTH // HEADS])))
        turned = net.op("Transpose", cut, perm=[2, 0, 3, 1, 4])
        query, key, value = (net.op("Gather", turned, net.constant(np.int64(part)), axis=0) for part in range(3))
        turn = [0, 1, 3, 2]
    else:
        net._channels[made] = 3 * WIDTH
        query, key, value = net.split(made, 3, axis=2)
        turn = [0, 2, 1]
    if pair:
        query, key, value = (net.pair(part) for part in (query, key, value))
    scores = net.op("MatMul", net.op("Mul", query, net.constant(np.float32(0.25))), net.op("Transpose", key, perm=turn))
    results = [net.op("MatMul", net.op("Softmax", scores), value), *([value] if returned else [])]
    return net.proto(*results)


def _stored(net: Network, array: np.ndarray, axis: int | None) -> str:
    codes = net.constant((array * 8).astype(np.int8), "w")
    scale = np.float32(0.125) if axis is None else np.full(array.shape[axis], 0.125, np.float32)
    return net.dequantize(codes, scale, "w_dq", **({} if axis is None else {"axis": axis}))


def test_a_stored_weight_of_queries_keys_and_values_is_dequantized_first(tmp_path: Path):
    assert types(attention(), tmp_path, TRT)["qkv"] == "INT8"
    (layer,) = (layer for layer in seen(attention(), tmp_path, RTX).layers if layer.name == "qkv")
    assert layer.precision.value == "FP32"
    assert "--weights fp32 or int8-compat" in layer.because[0]


@pytest.mark.parametrize(
    "change",
    [
        {"stored": False},
        {"width": 96},
        {"axis": None},
        {"pair": True},
        {"returned": True},
        {"heads": False},
    ],
    ids=str,
)
def test_it_is_not_where_one_of_the_conditions_does_not_hold(change: dict[str, object], tmp_path: Path):
    assert types(attention(**change), tmp_path, RTX)["qkv"] == "INT8"


@pytest.mark.parametrize(
    ("code", "because"),
    [
        ("W_SCALE_SHAPE", "The scale of its input has the shape [1]"),
        ("E_AXIS_REDUCTION", "Its weight has scales along"),
    ],
)
def test_operands_that_are_computed_in_float_there(code: str, because: str, tmp_path: Path):
    assert types(MODELS[code](), tmp_path, TRT)["conv"] == "INT8"
    found = seen(MODELS[code](), tmp_path, RTX)
    (layer,) = (layer for layer in found.layers if layer.name == "conv")
    assert layer.precision.value == "FP32"
    assert layer.because[0].startswith(because)


def test_blocks_of_mxfp8_are_made_float_there(tmp_path: Path):
    model = VALID["MXFP8 in FP16"]
    assert (types(model, tmp_path, TRT)["product"], types(model, tmp_path, RTX)["product"]) == ("MXFP8", "FP16")


def codes(model: onnx.ModelProto, folder: Path, target: str, gpu: Gpu | None = None) -> set[str]:
    trt = None if target == RTX else TensorRT.V11
    return {
        entry.code
        for entry in inspect_file(InspectConfig(saved(model, folder), trt=trt, target=target, gpu=gpu)).findings
        if entry.code.startswith("E_")
    }


@pytest.mark.parametrize("code", ["E_ACT_PER_AXIS", "E_AXIS_REDUCTION"])
def test_what_it_reads_all_the_same_is_no_error(code: str, tmp_path: Path):
    assert code in codes(MODELS[code](), tmp_path, TRT)
    assert codes(MODELS[code](), tmp_path, RTX) == set()


NODES: dict[str, Callable[[], onnx.ModelProto]] = {
    **{name: lambda name=name: one_node(name) for name in LIMITS if name in FORMS},
    "ConvTranspose": lambda: one_node(
        "ConvTranspose", form((-1, (1, 4, 8, 8)), np.ones((4, 4, 3, 3), np.float32), strides=[2, 2], dilations=[2, 2])
    ),
    "ScatterElements": lambda: one_node(
        "ScatterElements", form((-1, (4, 4)), (7, (2, 4)), (-1, (2, 4)), reduction="add"), opset=17
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_what_it_alone_refuses_is_an_error(name: str, tmp_path: Path):
    assert codes(NODES[name](), tmp_path, TRT) == set()
    operator = not LIMITS[name][0].form
    assert codes(NODES[name](), tmp_path, RTX) == {"E_UNSUPPORTED_OP" if operator else "E_UNSUPPORTED_FORM"}


def test_forms_beside_the_refused_ones_are_no_errors(tmp_path: Path):
    half = one_node("Attention", data=onnx.TensorProto.FLOAT16)
    plain = one_node("ConvTranspose", form((-1, (1, 4, 8, 8)), np.ones((4, 4, 3, 3), np.float32), dilations=[2, 2]))
    for model in (half, plain, one_node("ScatterElements")):
        assert codes(model, tmp_path, RTX) == set()


def test_quantizing_warns_of_what_it_refuses(tmp_path: Path):
    net = Network(19)
    x = net.conv(net.input("x", (1, 32, 8, 8)), 32, "conv", scale=None)
    model = net.proto(x, net.op("NonZero", x, name="odd"), output_types={"odd": onnx.TensorProto.INT64})
    assert any("NonZero" in text for text in planned(model, tmp_path, RTX).notes)
    assert not any("NonZero" in text for text in planned(model, tmp_path, TRT).notes)


def test_products_in_fp32_are_not_built_for_turing(tmp_path: Path):
    net = Network()
    model = net.proto(net.op("MatMul", net.input("x", (16, 64)), net.constant(net.weight(64, 64)), name="product"))
    assert codes(model, tmp_path, RTX, Gpu.SM75) == {"E_GPU_TYPE"}
    assert codes(model, tmp_path, RTX, Gpu.SM86) == codes(model, tmp_path, TRT, Gpu.SM75) == set()
    assert codes(as_half(model), tmp_path, RTX, Gpu.SM75) == set()


def test_it_stands_for_one_release_and_its_own_command(tmp_path: Path):
    report = planned(mobile(), tmp_path, RTX)
    assert [build.releases for build in report.builds] == ["TensorRT for RTX"]
    assert report.builds[0].command.startswith("tensorrt_rtx --onnx=")
    assert QuantizeConfig(tmp_path / "m.onnx", target=RTX).trt is TensorRT.V11
    assert QuantizeConfig(tmp_path / "m.onnx", target=RTX, trt=TensorRT.V11).trt is TensorRT.V11
    with pytest.raises(UsageError, match="--trt 10 names a release of TensorRT"):
        QuantizeConfig(tmp_path / "m.onnx", target=RTX, trt=TensorRT.V10)
    with pytest.raises(UsageError, match="tensorrt-rtx reads what TensorRT 11 does"):
        InspectConfig(tmp_path / "m.onnx", target=RTX, trt=TensorRT.V8_6)
    assert TENSORRT_RTX.title == "TensorRT for RTX"
    assert CalibrateConfig(tmp_path / "m.onnx", target=RTX).target == RTX


def test_a_float_model_is_planned_for_it(tmp_path: Path):
    inspection = inspect_model(InspectConfig(saved(mobile(), tmp_path), target=RTX))
    assert (inspection.target, inspection.plan and inspection.plan.target) == (RTX, RTX)
    built = {layer.name: layer.quantized for layer in inspection.layers if layer.op_type.startswith("Conv")}
    assert built == {"first": True, "depthwise": False, "middle": True, "last": True, "up": False}


@pytest.mark.parametrize("command", ["quantize", "tune", "calibrate", "inspect"])
def test_commands_take_its_name(command: str):
    text = qdq(command, "--help").out
    assert "--target" in text
    assert "tensorrt-rtx" in text
