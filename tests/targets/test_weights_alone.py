"""`--type int8-weights|int4-weights`: which weights, in which form, for whom, and what runtimes make of it."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper

from calibrators import INT4, Block, Scheme, dequantize, qparams_of, quantize
from calibrators.weight_search import least_error_ranges
from qdq_cli import PlanConfig, QuantizeConfig, quantize_model
from qdq_cli.config.forms import Gpu, QuantType
from qdq_cli.targets.known import target_for
from qdq_cli.targets.tensorrt.gpus import GPUS as UNITS
from qdq_cli.targets.tensorrt.gpus import Use
from qdq_cli.targets.tensorrt.weights_alone import GPUS
from tests.networks import Network
from tests.workspace import Workspace, make_workspace

INT4_ROWS = ("--type", "int4-weights", "--block-size", 64)


def kinds() -> onnx.ModelProto:
    """Products with a weight of their own in every form, a convolution, a product of activations, a stack."""
    net = Network()
    x = net.input("x", ("N", 8, 128))
    left = net.op("MatMul", x, net.constant(net.weight(128, 192)), name="matmul")
    right = net.op("MatMul", x, net.constant(net.weight(128, 192)), name="other")
    weights = net.op("MatMul", left, net.op("Transpose", right, perm=[0, 2, 1]), name="product")
    stack = net.op("MatMul", weights, net.constant(net.weight(1, 8, 64)), name="stack")
    rows = net.op("Reshape", left, net.constant(np.array([-1, 192], np.int64)))
    gemm = net.op("Gemm", rows, net.constant(net.weight(40, 192)), net.constant(net.weight(40)), name="gemm", transB=1)
    image = net.op("Reshape", x, net.constant(np.array([-1, 8, 8, 16], np.int64)))
    net.op("Identity", net.conv(image, 8, "conv", scale=None), name="picture")
    net.op("Identity", stack, name="stacked")
    net.op("Identity", gemm, name="scores")
    return net.proto("picture", "stacked", "scores")


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path, kinds())
    rng = np.random.default_rng(1)
    np.savez(made.arrays, x=rng.normal(size=(24, 8, 128)).astype(np.float32))
    return made


def without_data(space: Workspace, *options: object):
    from tests.workspace import qdq

    return qdq("quantize", space.model, "-o", space.output, *options)


def weight_dq(model: onnx.ModelProto, reader: str) -> tuple[onnx.NodeProto, dict[str, np.ndarray]]:
    made = {node.output[0]: node for node in model.graph.node}
    held = {item.name: item for item in model.graph.initializer}
    node = made[next(node for node in model.graph.node if node.name == reader).input[1]]
    return node, {name: numpy_helper.to_array(held[name]) for name in node.input}


@pytest.mark.parametrize("options", [INT4_ROWS, ("--type", "int8-weights")])
def test_no_data_is_needed_and_every_other_operator_has_its_reason(space: Workspace, options: tuple[object, ...]):
    done = without_data(space, *options, "--json")
    assert done.code == 0, done.err
    document = done.document
    assert document["calibration"] is document["verification"] is None
    assert (document["activation_type"], document["targets"]) == ("float", [])
    assert {weight["use"]["node"] for weight in document["weights"]} == {"matmul", "other", "gemm"}
    codes = {skip["node"]: skip["code"] for skip in document["skips"]}
    assert codes == {"product": "ALONE_PRODUCT", "stack": "ALONE_STACK", "conv": "ALONE_CONV"}
    assert document["predicted"]["weights_alone"] == 3


def test_int4_is_written_in_blocks_of_inputs_along_the_first_axis(space: Workspace):
    assert without_data(space, *INT4_ROWS).code == 0
    model, before = onnx.load(space.output), onnx.load(space.model)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 21
    for reader in ("matmul", "gemm"):
        node, held = weight_dq(model, reader)
        attributes = {item.name: item.i for item in node.attribute}
        assert attributes == {"axis": 0, "block_size": 64}
        codes, scale, zero = (held[name] for name in node.input)
        assert model.graph.initializer[[i.name for i in model.graph.initializer].index(node.input[0])].data_type == (
            TensorProto.INT4
        )
        weight = numpy_helper.to_array(next(i for i in before.graph.initializer if i.name == named(before, reader)))
        weight = weight.T if reader == "gemm" else weight
        assert codes.shape == weight.shape
        assert scale.shape == zero.shape == (weight.shape[0] // 64, weight.shape[1])
        assert not zero.astype(np.int8).any()
        blocks = np.abs(weight).reshape(-1, 64, weight.shape[1]).max(axis=1)
        assert np.all((scale > 0.59 * blocks / 7) & (scale < 1.0001 * blocks / 7))
        found = codes.astype(np.float32) * np.repeat(scale, 64, axis=0)
        inside = np.abs(weight) <= 7 * np.repeat(scale, 64, axis=0)
        assert inside.mean() > 0.8
        assert np.all((np.abs(found - weight) <= np.repeat(scale, 64, axis=0) * 0.5001)[inside])
    gemm = next(node for node in model.graph.node if node.name == "gemm")
    assert {item.name: item.i for item in gemm.attribute}["transB"] == 0


def named(model: onnx.ModelProto, reader: str) -> str:
    return next(node for node in model.graph.node if node.name == reader).input[1]


def test_int8_has_a_scale_an_output_channel_and_the_opset_of_the_model(space: Workspace):
    document = without_data(space, "--type", "int8-weights", "--json").document
    assert (document["weight_type"], document["opset"] < 21, document["trt"]) == ("int8", True, "10")
    node, held = weight_dq(onnx.load(space.output), "gemm")
    assert {item.name: item.i for item in node.attribute} == {"axis": 1}
    assert held[node.input[0]].dtype == np.int8
    assert held[node.input[1]].shape == (40,)


def test_the_result_runs_literally_and_is_verified_where_there_is_data(space: Workspace):
    int4 = space.quantize(*INT4_ROWS, "--json").document["verification"]["outputs"]
    int8 = space.quantize("--type", "int8-weights", "--json").document["verification"]["outputs"]
    assert int4["picture"]["equal"]
    assert 12 < int4["scores"]["sqnr_db"] < 30 < int8["scores"]["sqnr_db"]


def test_blocks_that_do_not_divide_the_inputs_keep_an_operator_float(space: Workspace):
    plan = space.quantize("--type", "int4-weights", "--dry-run", "--json").document["plan"]
    codes = {skip["node"]: skip["code"] for skip in plan["skips"]}
    assert codes["gemm"] == "BLOCK_SIZE"
    assert "matmul" not in codes


@pytest.mark.parametrize(
    ("options", "found", "hint"),
    [
        ([*INT4_ROWS, "--gpu", "sm75"], "sm75 has no units for INT4 weights", "sm80, sm86, sm89"),
        ([*INT4_ROWS, "--trt", "8.6"], "TensorRT 8.6 has no INT4 weights", "--trt 10"),
        (["--type", "int4-weights", "--block-size", 96], "no weights in blocks of 96", "64 or 128"),
        (["--type", "int8-weights", "--block-size", 64], "--block-size has no meaning", "int4-weights"),
        ([*INT4_ROWS, "--per-tensor-weights"], "--per-tensor-weights has no meaning", "Leave it out"),
        ([*INT4_ROWS, "--weights", "fp32"], "does not read --weights fp32 for INT4 weights", "int8"),
        ([*INT4_ROWS, "--target", "openvino"], "OpenVINO does not read INT4 weights", "onnxruntime"),
        ([*INT4_ROWS, "--min-int8-macs", 50], "--min-int8-macs has no meaning", "Leave it out"),
    ],
)
def test_what_nothing_reads_is_refused(space: Workspace, options: list[object], found: str, hint: str):
    refused = space.quantize(*options)
    assert refused.code == 2
    assert found in refused.err
    assert hint in refused.err
    assert not space.output.exists()


def test_the_gpus_are_those_that_have_units_for_it():
    for use in (Use.INT8_WEIGHTS, Use.INT4_WEIGHTS):
        assert tuple(gpu for gpu in Gpu if use in UNITS[gpu].runs) == GPUS


@pytest.mark.parametrize(("kind", "flag"), [(QuantType.INT4_WEIGHTS, "int4"), (QuantType.INT8_WEIGHTS, "int8")])
def test_the_commands_of_weakly_typed_releases_allow_the_type(kind: QuantType, flag: str):
    target = target_for("tensorrt", PlanConfig(type=kind))
    assert target.builds is not None
    assert target.release is not None
    oldest = target.release(21, half=False, weights=target.weight_forms[0], asked=None)
    commands = [build.command for build in target.builds(oldest, half=False, asked=None)]
    assert commands == [f"trtexec --onnx={{model}} --{flag} --fp16", "trtexec --onnx={model}"]


def test_the_rest_may_be_fp16(space: Workspace):
    document = space.quantize(*INT4_ROWS, "--float-type", "fp16", "--json").document
    assert document["verification"]["outputs"]["scores"]["sqnr_db"] > 12
    _, held = weight_dq(onnx.load(space.output), "gemm")
    assert {array.dtype for array in held.values() if array.dtype.kind == "f"} == {np.dtype(np.float16)}


@pytest.mark.parametrize("options", [("--type", "int4-weights"), ("--type", "int8-weights")])
def test_onnxruntime_makes_products_of_packed_weights_of_it(space: Workspace, options: tuple[object, ...]):
    document = space.quantize("--target", "onnxruntime", *options, "--no-time", "--json").document
    assert document["verification"]["outputs"]["scores"]["sqnr_db"] > 15
    session = ort.SessionOptions()
    session.optimized_model_filepath = str(space.folder / "optimized.onnx")
    session.log_severity_level = 4
    ort.InferenceSession(space.output, session, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(space.folder / "optimized.onnx").graph.node]
    packed = kinds.count("MatMulNBits")
    if tuple(map(int, ort.__version__.split(".")[:2])) >= (1, 32):
        assert (packed, "DequantizeLinear" in kinds) == (3, False)
    else:  # 1.24.4 knows MatMul of INT4 alone; what it leaves it computes as it is written
        assert packed + kinds.count("DequantizeLinear") >= 3


def test_blocks_for_onnxruntime_have_zero_points_and_the_last_may_be_shorter(tmp_path: Path):
    net = Network()
    weight = np.abs(net.weight(72, 16)) + np.float32(0.5)  # far from 0.0 on one side
    net.op("MatMul", net.input("x", ("N", 72)), net.constant(weight), name="scores")
    space = make_workspace(tmp_path, net.proto("scores"))
    assert without_data(space, "--type", "int4-weights", "--target", "onnxruntime").code == 0
    node, held = weight_dq(onnx.load(space.output), "scores")
    scheme = Scheme(INT4, symmetric=False, granularity=Block(0, 32))
    qparams = qparams_of(least_error_ranges(weight, scheme), scheme)
    codes, scale, zero = (held[name] for name in node.input)
    np.testing.assert_array_equal(codes.astype(np.int8), quantize(weight, qparams))
    np.testing.assert_array_equal(scale, qparams.scale)
    np.testing.assert_array_equal(zero.astype(np.int8), qparams.zero_point)
    assert np.abs(dequantize(quantize(weight, qparams), qparams) - weight).max() <= 2 * scale.max()
    assert zero.astype(np.int8).min() < -8 + 1


def test_a_plan_says_how_it_is_carried_out_without_data(space: Workspace):
    done = without_data(space, *INT4_ROWS, "--dry-run")
    assert "3 of 6 weighted operators; weights alone" in done.out
    assert f"qdq quantize {space.model} --type int4-weights" in " ".join(done.out.split())
    assert not space.output.exists()


def test_nothing_of_a_draft_is_read_from_the_weights(space: Workspace):
    """A plan of a model whose weights hold NaN is shown; written it is refused, and the operator is named."""
    model = onnx.load(space.model)
    weight = next(item for item in model.graph.initializer if item.name == named(model, "gemm"))
    array = numpy_helper.to_array(weight).copy()
    array[0, 0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, space.model)
    assert without_data(space, *INT4_ROWS, "--dry-run").code == 0
    refused = without_data(space, *INT4_ROWS)
    assert refused.code == 3
    assert "of Gemm 'gemm' holds NaN or Inf" in refused.err


@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
def test_recovery_rounds_by_what_products_read(space: Workspace, target: str):
    options = (*INT4_ROWS, "--target", target, *(() if target == "tensorrt" else ("--no-time",)), "--json")
    rng = np.random.default_rng(2)
    mixed = np.eye(128) + 0.3 * rng.normal(size=(128, 128))
    np.savez(space.arrays, x=(rng.normal(size=(96, 8, 128)) @ mixed).astype(np.float32))
    plain = space.quantize(*options).document["verification"]["outputs"]["scores"]["sqnr_db"]
    done = space.quantize(*options, "--recover")
    assert "Recovery leaves out ranges: weights alone are quantized." in done.err
    assert [step["step"] for step in done.document["recovery"]["steps"]] == ["equalize", "smooth", "gptq", "bias"]
    assert done.document["verification"]["outputs"]["scores"]["sqnr_db"] > plain + 0.4
    onnx.checker.check_model(onnx.load(space.output), full_check=True)


def test_recovery_of_int8_weights_takes_the_steps_for_one_scale_an_output(space: Workspace):
    steps = [option for step in ("adaround", "gptq", "scales", "bias") for option in ("--recover-step", step)]
    done = space.quantize("--type", "int8-weights", *steps, "--json")
    assert [step["step"] for step in done.document["recovery"]["steps"]] == ["adaround", "gptq", "scales", "bias"]
    blocks = space.quantize(*INT4_ROWS, *steps, "--json")
    assert [step["step"] for step in blocks.document["recovery"]["steps"]] == ["gptq", "bias"]


def lookup(rows: int = 96) -> onnx.ModelProto:
    """Words by number, a table of float rows, and a product of what is looked up; a small table beside it."""
    net = Network()
    words = net.input("words", ("N", 8), TensorProto.INT64)
    rows_of = net.op("Gather", net.constant(net.weight(rows, 64)), words, name="embed")
    few = net.op(
        "Gather", net.constant(net.weight(8, 64)), net.op("Mod", words, net.constant(np.int64(8))), name="kinds"
    )
    net.op("MatMul", net.op("Add", rows_of, few), net.constant(net.weight(64, 32)), name="scores")
    return net.proto("scores")


def test_tables_of_embeddings_are_int8_with_a_scale_a_row(tmp_path: Path):
    space = make_workspace(tmp_path, lookup())
    np.savez(space.arrays, words=np.random.default_rng(1).integers(0, 96, (24, 8)))
    document = space.quantize(*INT4_ROWS, "--json").document
    assert document["weighted_ops"] == {"total": 1, "quantized": 1}
    found = {weight["use"]["node"]: (weight["type"], weight["axis"]) for weight in document["weights"]}
    assert found == {"embed": ("int8", 0), "scores": ("int4", 0)}
    model = onnx.load(space.output)
    onnx.checker.check_model(model, full_check=True)
    made = {node.output[0]: node for node in model.graph.node}
    dq = made[next(node for node in model.graph.node if node.name == "embed").input[0]]
    held = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    assert held[dq.input[0]].dtype == np.int8
    assert held[dq.input[1]].shape == (96,)
    assert document["verification"]["outputs"]["scores"]["sqnr_db"] > 15
    text = space.quantize(*INT4_ROWS).out
    assert "weights alone, 1 table of a Gather in INT8" in " ".join(text.split())
    assert "INT8 weights" not in text


@pytest.mark.parametrize(
    ("options", "rows"),
    [((*INT4_ROWS, "--exclude-op", "Gather"), 96), ((*INT4_ROWS, "--exclude", "embed"), 96), (INT4_ROWS, 48),
     (("--type", "int4-weights", "--target", "onnxruntime", "--no-time"), 96), (("--type", "int8"), 96)],
)  # fmt: skip
def test_tables_stay_float_where_they_are_small_excluded_or_read_whole(
    tmp_path: Path, options: tuple[object, ...], rows: int
):
    space = make_workspace(tmp_path, lookup(rows))
    np.savez(space.arrays, words=np.random.default_rng(1).integers(0, rows, (24, 8)))
    document = space.quantize(*options, "--json").document
    assert {weight["use"]["node"] for weight in document["weights"]} <= {"scores"}


def peak_of_writing(folder: Path, layers: int) -> int:
    """Bytes that quantizing a chain of products holds at most, beyond its floats, which lie in a file."""
    net = Network()
    x = net.input("x", ("N", 512))
    for number in range(layers):
        x = net.op("MatMul", x, net.constant(net.weight(512, 512)), name=f"product{number}")
    model = net.proto(net.op("Identity", x))
    folder.mkdir()
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, size_threshold=1024)
    config = QuantizeConfig(folder / "model.onnx", plan=PlanConfig(type=QuantType.INT4_WEIGHTS))
    tracemalloc.start()
    quantize_model(config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_is_that_of_one_weight_whatever_their_number(tmp_path: Path):
    few, many = (peak_of_writing(tmp_path / str(number), number) for number in (2, 12))
    codes = 512 * 512  # a byte each before they are packed
    assert many < few + 5 * codes


def test_inputs_that_are_large_are_scaled_into_what_makes_them(tmp_path: Path):
    """A few channels behind a LayerNorm are 40 times the others, as in language models: their weights count most."""
    net = Network()
    gain = np.where(np.arange(128) % 16 == 0, 40.0, 1.0).astype(np.float32)
    x = net.input("x", ("N", 8, 128))
    normed = net.op("LayerNormalization", x, net.constant(gain), net.constant(net.weight(128)), name="norm", axis=-1)
    weight = np.random.default_rng(3).normal(size=(128, 64)).astype(np.float32)
    net.op("MatMul", normed, net.constant(weight), name="scores")
    space = make_workspace(tmp_path, net.proto("scores"))
    np.savez(space.arrays, x=np.random.default_rng(1).normal(size=(64, 8, 128)).astype(np.float32))
    plain = space.quantize(*INT4_ROWS, "--json").document["verification"]["outputs"]["scores"]["sqnr_db"]
    done = space.quantize(*INT4_ROWS, "--recover-step", "smooth", "--json").document
    assert [(step["step"], step["accepted"]) for step in done["recovery"]["steps"]] == [("smooth", 1)]
    assert done["verification"]["outputs"]["scores"]["sqnr_db"] > plain + 0.5
    held = {item.name: numpy_helper.to_array(item) for item in onnx.load(space.output).graph.initializer}
    norm = next(node for node in onnx.load(space.output).graph.node if node.name == "norm")
    assert np.ptp(held[norm.input[1]]) < np.ptp(gain)


@pytest.mark.parametrize(("options", "size"), [((), 64), (("--target", "onnxruntime", "--block-size", 128), 128)])
def test_a_block_that_would_hold_all_inputs_is_halved_where_kernels_read_several(
    space: Workspace, options: tuple[object, ...], size: int
):
    assert without_data(space, "--type", "int4-weights", *options).code == 0
    node, held = weight_dq(onnx.load(space.output), "matmul")
    assert {item.name: item.i for item in node.attribute}["block_size"] == size
    assert held[node.input[1]].shape == (128 // size, 192)
