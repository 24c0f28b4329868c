"""Every type and form that TensorRT reads: nothing is found wrong with a valid one, and the traps beside them are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from qdq_cli.config.forms import Gpu, TensorRT
from qdq_cli.config.inspect import InspectConfig
from qdq_cli.inspecting.inspect import inspect_model
from qdq_cli.inspecting.pipelines import markdown_summary
from qdq_cli.inspecting.record import Inspection
from qdq_cli.targets.tensorrt.cost_record import TypeCost
from qdq_cli.targets.tensorrt.gpus import GPUS, Use
from tests.networks import Network
from tests.targets.tensorrt import faulty, forms
from tests.targets.tensorrt.forms import BF16, FP8, FP16, FP32, INT4, INT8, VALID

NEWER = (TensorRT.V10, TensorRT.V11)


def inspected(model: onnx.ModelProto, folder: Path, **options: object) -> Inspection:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return inspect_model(InspectConfig(path, **options))


def codes(inspection: Inspection) -> set[str]:
    return {entry.code for entry in inspection.findings}


@pytest.mark.parametrize("name", VALID)
def test_nothing_is_wrong_with_a_form_that_tensorrt_reads(name, tmp_path):
    inspection = inspected(VALID[name], tmp_path)
    assert inspection.quantized
    assert inspection.findings == ()
    assert set(NEWER) <= set(inspection.releases)


@pytest.mark.parametrize("floats", [FP16, BF16])
def test_a_dq_that_returns_fp32_from_a_scale_of_16_bits_runs_in_float(floats, tmp_path):
    model = forms.convolutions(23, INT8, FP32, floats)
    kernels = {"W_STANDALONE_Q", "W_STANDALONE_DQ"}
    newest = inspected(model, tmp_path, trt=TensorRT.V11)
    assert codes(newest) - kernels == {"W_SCALE_DTYPE"}
    assert newest.summary.weighted_quantized == 0
    assert codes(inspected(model, tmp_path, trt=TensorRT.V10)) - kernels == {"E_SCALE_DTYPE"}


@pytest.mark.parametrize(("floats", "scales"), [(FP32, FP16), (FP16, BF16)])
def test_fp8_with_a_scale_of_another_16_bit_type_is_refused(floats, scales, tmp_path):
    for release in NEWER:
        found = inspected(forms.convolutions(23, FP8, floats, scales), tmp_path, trt=release)
        assert codes(found) >= {"E_SCALE_DTYPE"}


@pytest.mark.parametrize(("floats", "scales"), [(FP16, FP32), (FP32, FP16)])
def test_int4_returns_the_type_of_its_scale_and_no_other(floats, scales, tmp_path):
    found = inspected(forms.weights_alone(23, INT4, floats, scales, block=64), tmp_path)
    assert codes(found) == {"E_SCALE_DTYPE"}


def test_tensorrt_8_reads_none_of_the_newer_types(tmp_path):
    for name, code in (("FP8 in FP32", "E_QDQ_TYPE"), ("INT4 in blocks of 128", "E_QDQ_TYPE")):
        assert code in codes(inspected(VALID[name], tmp_path, trt=TensorRT.V8_6))
    found = inspected(VALID["INT8 weights alone in FP32"], tmp_path, trt=TensorRT.V8_6)
    assert "W_DQ_ONLY_WEIGHTS" in codes(found)


def test_cast_between_float_types_is_part_of_the_pair(tmp_path):
    net = forms.Form(19, FP32)
    x, w = net.input("x", (16, 64), FP16), net.typed(np.ones((64, 64)), FP32, "w")
    data = net.op("Cast", net.coded(net.op("Cast", x, to=FP32), INT8), to=FP16)
    weight = net.op("Cast", net.coded(w, INT8), to=FP16)
    y = net.op("MatMul", data, weight, name="product")
    found = inspected(net.proto(y, output_types={y: FP16}), tmp_path)
    assert [layer.op_type for layer in found.layers] == ["MatMul"]
    assert found.summary.weighted_quantized == 1 and found.summary.standalone == 0


EXPECTED = {
    "INT8 in FP32": ("INT8", "INT8", False),
    "INT8 in FP16, FP32 scales": ("INT8", "INT8", False),
    "FP8 in FP16": ("FP8", "FP8", False),
    "FP8 of Gemm": ("FP8", "FP8", False),
    "INT4 in blocks of 64": ("FP16", "INT4", True),
    "INT4 in BF16": ("BF16", "INT4", True),
    "INT8 weights alone in FP32": ("FP32", "INT8", True),
    "NVFP4 in FP16": ("NVFP4", "NVFP4", False),
    "MXFP8 in BF16": ("MXFP8", "MXFP8", False),
}
"""Form -> the type its products compute in, that of the weight, and whether the weight alone has it."""


@pytest.mark.parametrize("name", EXPECTED)
def test_layers_say_in_which_type_they_compute(name, tmp_path):
    found = inspected(VALID[name], tmp_path)
    layer = [layer for layer in found.layers if layer.op_type in ("Conv", "MatMul", "Gemm")][-1]
    assert layer.weight is not None
    assert (layer.precision.value, layer.weight.precision.value, layer.weight.alone) == EXPECTED[name]
    assert layer.quantized is not layer.weight.alone


def by_type(inspection: Inspection) -> dict[str, TypeCost]:
    return {entry.type: entry for entry in inspection.summary.by_type}


def test_bytes_are_counted_by_type(tmp_path):
    halves = by_type(inspected(forms.convolutions(19, FP8, FP16), tmp_path))
    plane = 64 * 8 * 8
    assert halves["FP8"].traffic_bytes == 4 * plane  # the input's Q, two Convs in, one out
    assert halves["FP16"].traffic_bytes == 2 * 2 * plane  # the input and the output
    assert halves["FP8"].weight_bytes == 2 * 64 * 64
    assert (halves["FP8"].weighted_ops, halves["FP8"].standalone, halves["FP8"].macs) == (2, 1, 2 * 64 * plane)
    blocks = by_type(inspected(forms.nvfp4(), tmp_path))
    assert blocks["NVFP4"].traffic_bytes == 2 * (16 * 256 * 4 + 16 * 16 * 8) // 8
    assert blocks["NVFP4"].weight_bytes == 256 * 64 * 4.5 / 8
    alone = by_type(inspected(VALID["INT4 in blocks of 64"], tmp_path))
    assert (alone["INT4"].weights_alone, alone["INT4"].weight_bytes, alone["FP16"].weighted_ops) == (1, 256 * 32, 1)


def test_bytes_by_type_add_up(tmp_path):
    for model in VALID.values():
        found = inspected(model, tmp_path)
        costs = (*found.layer_costs, *found.standalone_costs)
        assert found.summary.unknown_costs == 0
        assert found.summary.traffic_bytes == sum(cost.size_bytes or 0 for cost in costs)
        assert all(sum(cost.bytes_by_type.values()) == cost.size_bytes for cost in costs)


def test_fp8_does_not_cross_a_pooling(tmp_path):
    for codes_type, quantized in ((INT8, True), (FP8, False)):
        net = forms.Form(19, FP16)
        x = net.op("MaxPool", net.data(1, 64, 8, 8), kernel_shape=[2, 2], name="pool")
        weight = net.coded(net.typed(np.ones((64, 64, 1, 1)), FP16, "w"), codes_type)
        found = inspected(net.finished(net.op("Conv", net.coded(x, codes_type), weight, name="conv")), tmp_path)
        assert next(layer for layer in found.layers if layer.name == "pool").quantized is quantized


@pytest.mark.parametrize(
    ("name", "gpu", "code"),
    [
        ("FP8 in FP16", "sm86", "E_GPU_TYPE"),
        ("FP8 in FP16", "sm89", None),
        ("INT8 in FP16", "sm75", None),
        ("INT8 in BF16", "sm75", "E_GPU_TYPE"),
        ("INT4 in blocks of 64", "sm75", "E_GPU_TYPE"),
        ("INT4 in blocks of 64", "sm80", None),
        ("INT8 weights alone in FP16", "sm75", "W_GPU_TYPE"),
        ("INT8 weights alone in FP16", "sm80", None),
        ("NVFP4 in FP16", "sm90", "E_GPU_TYPE"),
        ("NVFP4 in FP16", "sm120", None),
        ("MXFP8 in FP16", "sm90", "E_GPU_TYPE"),
        ("MXFP8 in FP16", "sm100", None),
    ],
)
def test_what_a_gpu_lacks_is_a_finding(name, gpu, code, tmp_path):
    found = inspected(VALID[name], tmp_path, gpu=Gpu(gpu))
    assert codes(found) == (set() if code is None else {code})
    assert found.gpu == gpu


def test_a_table_says_which_gpu_runs_what():
    assert list(GPUS) == list(Gpu)
    older: frozenset[Use] = frozenset()
    for row in GPUS.values():
        assert older <= row.runs
        older = row.runs
    assert older == frozenset(Use)


def test_types_name_the_gpus_that_they_need(tmp_path):
    needs = {need.type: need.gpus for need in inspected(VALID["FP8 in FP16"], tmp_path).types}
    assert needs["FP8"] == ("sm89", "sm90", "sm100", "sm120")
    assert needs["FP16"] == tuple(gpu.value for gpu in Gpu)


def test_an_fp32_rest_is_spoken_of_for_tensorrt_11_alone(tmp_path):
    said = {entry.code: entry for entry in inspected(faulty.float_rest(), tmp_path).advice}
    assert said["W_FLOAT_REST"].profiles == (TensorRT.V11,)
    assert " % of the " in said["W_FLOAT_REST"].found
    old = inspected(faulty.float_rest(), tmp_path, trt=TensorRT.V10)
    assert "W_FLOAT_REST" not in {entry.code for entry in old.advice}


def test_what_the_network_takes_and_returns_is_no_rest(tmp_path):
    found = inspected(VALID["INT8 in FP32"], tmp_path)
    assert by_type(found)["FP32"].traffic_bytes * 2 > found.summary.traffic_bytes
    assert found.advice == ()


def test_a_float_model_is_no_reason_to_speak_of_its_rest(tmp_path):
    net = Network()
    x = net.input("x", (1, 32, 8, 8))
    found = inspected(net.proto(net.op("Softmax", net.conv(x, 32, scale=None))), tmp_path)
    assert not found.quantized and "W_FLOAT_REST" not in {entry.code for entry in found.advice}


@pytest.mark.parametrize(
    ("name", "activations", "weights"),
    [
        ("INT8 in FP32", "int8", "int8"),
        ("FP8 in FP16", "float8e4m3fn", "float8e4m3fn"),
        ("INT4 in BF16", "int8", "int4"),
        ("NVFP4 in FP16", "float4e2m1", "float4e2m1"),
    ],
)
def test_documents_name_the_stored_types(name, activations, weights, tmp_path):
    found = inspected(VALID[name], tmp_path)
    assert (found.activation_type, found.weight_type) == (activations, weights)
    types = {"int8": "INT8", "float8e4m3fn": "FP8", "float4e2m1": "NVFP4"}
    assert f"| MACs in {types[activations]} |" in markdown_summary(found)
