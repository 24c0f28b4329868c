"""`--type nvfp4|mxfp8`: which products, in which form, for whom, and what is verified of what no CPU runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from calibrators import FP4_E2M1, FP8_E4M3, Block, ScaleForm, Scheme, dequantize, qparams_of, quantize, weight_ranges
from calibrators.weight_search import least_error_ranges
from qdq_cli import PlanConfig
from qdq_cli.config.forms import QuantType
from qdq_cli.targets.known import target_for
from qdq_cli.targets.tensorrt.gpus import GPUS as UNITS
from qdq_cli.targets.tensorrt.gpus import Use
from qdq_cli.targets.tensorrt.in_blocks import GPUS
from tests.networks import Network
from tests.workspace import Workspace, make_workspace, qdq

NVFP4, MXFP8 = ("--type", "nvfp4", "--experimental"), ("--type", "mxfp8", "--experimental")


def kinds() -> onnx.ModelProto:
    """Products with a weight of their own in every form, one that two operators share, and what has no blocks."""
    net = Network()
    x = net.input("x", ("N", 8, 64))
    shared = net.constant(net.weight(64, 96), "shared")
    left = net.op("MatMul", x, shared, name="left")
    right = net.op("MatMul", net.op("Relu", x), shared, name="right")
    product = net.op("MatMul", left, net.op("Transpose", right, perm=[0, 2, 1]), name="product")
    net.op("MatMul", product, net.constant(net.weight(1, 8, 8)), name="stack")
    rows = net.op("Reshape", left, net.constant(np.array([-1, 96], np.int64)))
    gemm = net.op("Gemm", rows, net.constant(net.weight(40, 96)), net.constant(net.weight(40)), name="gemm", transB=1)
    net.op("MatMul", gemm, net.constant(net.weight(40, 24)), name="uneven")
    image = net.op("Reshape", x, net.constant(np.array([-1, 8, 1, 64], np.int64)))
    net.op("MatMul", image, net.constant(net.weight(64, 96)), name="deep")
    net.op("Identity", net.conv(image, 8, "conv", scale=None), name="picture")
    return net.proto("picture", "stack", "uneven", "deep")


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path, kinds())
    rng = np.random.default_rng(1)
    np.savez(made.arrays, x=rng.normal(size=(24, 8, 64)).astype(np.float32))
    return made


def nodes_before(model: onnx.ModelProto, reader: str, slot: int) -> list[onnx.NodeProto]:
    """What a node reads in a slot, back to a graph input, a constant or another operator than these."""
    made = {output: node for node in model.graph.node for output in node.output}
    found: list[onnx.NodeProto] = []
    name = next(node for node in model.graph.node if node.name == reader).input[slot]
    while name in made and (
        made[name].op_type.startswith("TRT_") or made[name].op_type in ("DequantizeLinear", "Cast")
    ):
        found.append(made[name])
        name = made[name].input[0]
    return found


def said(node: onnx.NodeProto) -> dict[str, int]:
    return {attribute.name: attribute.i for attribute in node.attribute}


def held(model: onnx.ModelProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(item for item in model.graph.initializer if item.name == name))


@pytest.mark.parametrize("options", [NVFP4, MXFP8])
def test_every_operator_has_blocks_or_its_reason(space: Workspace, options: tuple[object, ...]):
    document = space.quantize(*options, "--json").document
    assert {weight["use"]["node"] for weight in document["weights"]} == {"left", "right", "gemm"}
    assert {skip["node"]: skip["code"] for skip in document["skips"]} == {
        "product": "ALONE_PRODUCT", "stack": "ALONE_STACK", "conv": "BLOCKS_CONV", "uneven": "BLOCK_SIZE",
        "deep": "BLOCKS_DATA",
    }  # fmt: skip
    assert document["activation_type"] == document["weight_type"] == options[1]
    assert {target["type"] for target in document["targets"]} == {options[1]}
    assert document["predicted"]["quantized_layers"] == 3 and document["predicted"]["standalone"] == 0
    outputs = document["verification"]["outputs"]
    assert document["verification"]["default_session"] is None
    assert outputs["picture"]["equal"] and outputs["deep"]["equal"]
    least, most = (12, 24) if options is NVFP4 else (25, 36)
    assert least < outputs["uneven"]["sqnr_db"] < most


def test_nvfp4_is_written_as_the_importer_reads_it(space: Workspace):
    assert space.quantize(*NVFP4).code == 0
    model, before = onnx.load(space.output), onnx.load(space.model)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 23, "trt": 1}
    codes, made = reversed(nodes_before(model, "left", 0))
    assert (made.op_type, codes.op_type, codes.domain) == ("DequantizeLinear", "TRT_FP4DynamicQuantize", "trt")
    assert said(codes) == {"axis": -1, "block_size": 16, "scale_type": TensorProto.FLOAT8E4M3FN}
    assert said(made) == {"axis": -1, "block_size": 16}
    scales = next(node for node in model.graph.node if node.output[0] == made.input[1])
    assert list(scales.input) == [codes.output[1], codes.input[1]] and said(scales) == {}
    largest = np.abs(np.load(space.arrays)["x"]).max()
    assert 0.8 * largest < held(model, codes.input[1]) * 6 * 448 <= largest * 1.0001
    for reader, axis in (("left", 0), ("gemm", 1)):
        (weight,) = nodes_before(model, reader, 1)
        assert said(weight) == {"axis": axis, "block_size": 16}
        stored = next(item for item in model.graph.initializer if item.name == weight.input[0])
        assert stored.data_type == TensorProto.FLOAT4E2M1
        assert len(stored.raw_data) == np.prod(stored.dims) // 2
        original = held(before, next(node for node in before.graph.node if node.name == reader).input[1])
        scheme = Scheme(FP4_E2M1, granularity=Block(axis, 16), scales=ScaleForm.E4M3)
        qparams = qparams_of(least_error_ranges(original, scheme), scheme)
        blocks = next(node for node in model.graph.node if node.output[0] == weight.input[1])
        np.testing.assert_array_equal(held(model, weight.input[0]).view(np.uint8), quantize(original, qparams))
        found = held(model, blocks.input[0]).astype(np.float32) * held(model, blocks.input[1])
        np.testing.assert_array_equal(found, qparams.scale)


def test_mxfp8_is_written_as_the_importer_reads_it_without_any_data(space: Workspace):
    done = qdq("quantize", space.model, "-o", space.output, *MXFP8)
    assert done.code == 0, done.err
    model, before = onnx.load(space.output), onnx.load(space.model)
    onnx.checker.check_model(model, full_check=True)
    made, codes = nodes_before(model, "left", 0)
    assert (made.op_type, codes.op_type) == ("TRT_MXFP8DequantizeLinear", "TRT_MXFP8DynamicQuantize")
    assert said(codes) == {"axis": -1, "block_size": 32, "output_dtype": TensorProto.FLOAT8E4M3FN}
    assert said(made) == {"axis": -1, "block_size": 32, "output_dtype": TensorProto.FLOAT}
    (weight,) = nodes_before(model, "gemm", 1)
    assert said(weight) == {"axis": 1, "block_size": 32, "output_dtype": TensorProto.FLOAT}
    original = held(before, next(node for node in before.graph.node if node.name == "gemm").input[1])
    scheme = Scheme(FP8_E4M3, granularity=Block(1, 32), scales=ScaleForm.E8M0)
    qparams = qparams_of(weight_ranges(original, scheme.granularity), scheme)
    assert held(model, weight.input[1]).dtype == np.uint8
    np.testing.assert_array_equal(np.exp2(held(model, weight.input[1]) - 127.0), qparams.scale)
    found = held(model, weight.input[0]).astype(np.float32) * np.repeat(qparams.scale, 32, axis=1)
    np.testing.assert_array_equal(found, dequantize(quantize(original, qparams), qparams))


@pytest.mark.parametrize("options", [NVFP4, MXFP8])
def test_beside_a_float_rest_of_16_bits(space: Workspace, options: tuple[object, ...]):
    document = space.quantize(*options, "--float-type", "fp16", "--json").document
    assert document["float_rest"]["kept"] == []
    assert 10 < document["verification"]["outputs"]["uneven"]["sqnr_db"] < 36
    model = onnx.shape_inference.infer_shapes(onnx.load(space.output))
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    codes = nodes_before(model, "gemm", 0)[-1]
    assert codes.op_type.startswith("TRT_") and types[codes.input[0]] == TensorProto.FLOAT16
    last = {node: nodes_before(model, "gemm", slot)[0] for slot, node in enumerate(("data", "weight"))}
    if options is NVFP4:
        assert {(node.op_type, said(node)["to"]) for node in last.values()} == {("Cast", TensorProto.FLOAT16)}
    else:
        assert {said(node)["output_dtype"] for node in last.values()} == {TensorProto.FLOAT16}


@pytest.mark.parametrize("options", [NVFP4, MXFP8])
def test_other_commands_take_the_file(space: Workspace, options: tuple[object, ...]):
    assert space.quantize(*options).code == 0
    inspected = qdq("inspect", space.output, "--gpu", "sm120", "--json").document
    assert inspected["findings"] == [] or {found["code"] for found in inspected["findings"]} == {"I_FLOAT32_REST"}
    refused = qdq("inspect", space.output, "--gpu", "sm89", "--json").document
    assert {found["code"] for found in refused["findings"]} >= {"E_GPU_TYPE"}
    compared = qdq("compare", space.model, space.output, "--data", space.arrays, "--layers", "--json")
    assert compared.code == 0, compared.err
    layers = compared.document["layers"]
    local = {layer["node"] for layer in layers["ranked"] if layer["local"] is not None}
    assert local >= {"left", "right", "gemm"}
    fixed = space.output.with_name("fixed.onnx")
    assert qdq("fix", space.output, "-o", fixed, "--json").document["repairs"] == []
    again = qdq("quantize", space.output, "-o", fixed, *options, "--calib", space.arrays)
    assert "quantized already" in again.out + again.err or again.code == 3


def test_one_file_may_have_blocks_beside_other_types(space: Workspace):
    document = space.quantize("--type-of", "gemm=mxfp8", "--type-of", "left=nvfp4", "--experimental", "--json").document
    kinds = {weight["use"]["node"]: weight["type"] for weight in document["weights"]}
    assert (kinds["gemm"], kinds["left"], kinds["right"]) == ("mxfp8", "nvfp4", "int8")
    assert document["opset"] == 23


def test_recovery_has_nothing_to_do(space: Workspace):
    done = space.quantize(*NVFP4, "--recover")
    assert done.code == 0
    assert "Recovery leaves out" in done.err and "blocks of NVFP4 find their scales" in done.err


def test_the_gpus_are_those_with_units():
    for kind, use in ((QuantType.NVFP4, Use.NVFP4), (QuantType.MXFP8, Use.MXFP8)):
        target = target_for("tensorrt", PlanConfig(type=kind, experimental=True))
        assert target.gpus == GPUS == tuple(gpu for gpu, row in UNITS.items() if use in row.runs)


@pytest.mark.parametrize(
    ("options", "found", "hint"),
    [
        (["--type", "nvfp4"], "NVFP4 is experimental", "Give --experimental"),
        (["--type-of", "left=mxfp8"], "MXFP8 is experimental", "Give --experimental"),
        ([*NVFP4, "--gpu", "sm90"], "sm90 has no units for NVFP4", "sm100 or sm120"),
        ([*MXFP8, "--trt", "8.6"], "TensorRT 8.6 has no MXFP8", "--trt 10"),
        ([*NVFP4, "--target", "onnxruntime"], "ONNX Runtime has no kernels on NVFP4", "tensorrt-rtx"),
        ([*NVFP4, "--block-size", 32], "beside NVFP4: its blocks have 16 values", "int4-weights"),
        ([*NVFP4, "--per-tensor-weights"], "--per-tensor-weights has no meaning beside NVFP4", "Leave it out"),
        ([*NVFP4, "--weights", "fp32"], "does not read --weights fp32 for NVFP4", "int8"),
        (["--type-of", "conv=nvfp4", "--experimental"], "Conv 'conv' cannot have NVFP4: a convolution", "conv=nvfp4"),
        (["--type-of", "conv=int4-weights", "--type", "int4-weights"], "'conv' cannot have INT4 weights", "another"),
        (["--type-of", "none=int8"], "matches no weighted operator of the model", "uneven"),
    ],
)
def test_what_nothing_reads_is_refused(space: Workspace, options: list[object], found: str, hint: str):
    refused = space.quantize(*options)
    assert refused.code == 2
    assert found in refused.err
    assert hint in refused.err


def test_without_any_data_nothing_is_said_to_be_calibrated(space: Workspace):
    kept = space.folder / "kept.qcal"
    done = space.quantize(*MXFP8, "--cache", kept, "--json")
    assert done.document["calibration"] is None
    assert not kept.exists()
