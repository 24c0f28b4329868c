"""Models of every make go through the command: what comes out passes the checker, runs, and stays close to FP32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from calibrators.metrics import Comparison
from qdq_cli.model.files import EXTERNAL_THRESHOLD_BYTES
from tests.networks import Network
from tests.workspace import SAMPLES, SIDE, Workspace, small_convnet, write_images

Arrays = dict[str, np.ndarray]
LEVELS = (ort.GraphOptimizationLevel.ORT_DISABLE_ALL, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)


def run(path: Path, feed: Arrays, level: ort.GraphOptimizationLevel = LEVELS[0]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")  # without VNNI, the default saturates
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    outputs: list[np.ndarray] = session.run(None, feed)
    return outputs


def interface(model: onnx.ModelProto) -> list[tuple[str, bytes]]:
    """Names and types of the inputs and outputs."""
    return [(value.name, value.type.SerializeToString()) for value in (*model.graph.input, *model.graph.output)]


def given_arrays(space: Workspace, arrays: Arrays) -> Workspace:
    """Put the samples of each input, first axis, into the workspace's arrays."""
    np.savez(space.arrays, **arrays)
    return space


def assert_sound(space: Workspace, feed: Arrays, floor_db: float, *options: object) -> Any:
    """Quantize; check the result, run it with ONNX Runtime's optimisations on and off, and compare with FP32."""
    before = onnx.load(space.model, load_external_data=False)
    done = space.quantize("--json", *options)
    assert done.code == 0, done.err
    onnx.checker.check_model(str(space.output), full_check=True)
    assert interface(onnx.load(space.output, load_external_data=False)) == interface(before)
    expected = run(space.model, feed)
    for level in LEVELS:
        for reference, found in zip(expected, run(space.output, feed, level), strict=True):
            comparison = Comparison()
            comparison.observe(reference, found)
            assert comparison.distances().sqnr_db >= floor_db, level
    return done.document


def feed_of(space: Workspace, rows: int = 1) -> Arrays:
    """The first rows of the arrays."""
    return {name: array[:rows] for name, array in np.load(space.arrays).items()}


def save(space: Workspace, net: Network, *outputs: str, **types: int) -> None:
    onnx.save(net.proto(*outputs, output_types=types), space.model)


RNG = np.random.default_rng(3)
NORMAL = RNG.normal(size=(10, 3, SIDE, SIDE)).astype(np.float32)


def test_several_inputs_of_different_types(space: Workspace):
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    mask = net.input("mask", ("N", 16, 1, 1), TensorProto.BOOL)
    ids = net.input("ids", ("N", 4), TensorProto.INT64)
    table = net.constant(net.weight(9, 16))
    masked = net.op("Where", mask, net.relu(net.conv(x, 16, "first", scale=None)), net.constant(np.float32(0)))
    pooled = net.op("Flatten", net.op("GlobalAveragePool", masked))
    words = net.op("ReduceMean", net.op("Gather", table, ids, axis=0), axes=[1], keepdims=0)
    net.gemm(net.add(pooled, words), 16, 10, "scores", scale=None)
    save(space, net, "scores")
    arrays = {"images": NORMAL, "mask": RNG.random((10, 16, 1, 1)) < 0.7, "ids": RNG.integers(0, 9, (10, 4))}
    given_arrays(space, arrays)
    document = assert_sound(space, feed_of(space), 20)
    assert document["weighted_ops"] == {"total": 2, "quantized": 2}
    assert document["verification"]["outputs"]["scores"]["sqnr_db"] > 20


def document_of_many(space: Workspace) -> Any:
    """The report of a run on 24 samples, of which 12 calibrate."""
    given_arrays(space, {"images": np.concatenate([NORMAL] * 3)[:24]})
    return space.quantize("--json", "--samples", "12", "--verify", "9").document


def test_a_fixed_batch(space: Workspace):
    save(space, small_convnet(batch=4), "scores")
    document = assert_sound(space, feed_of(space, 4), 20, "--batch-size", "4")
    assert document["calibration"] | {"samples": 8, "batch_size": 4} == document["calibration"]
    assert document["verification"] | {"samples": 8, "held_back": False} == document["verification"]
    assert any("left over" in note for note in document["notes"])
    many = document_of_many(space)
    assert many["verification"] | {"samples": 8, "held_back": True} == many["verification"]
    assert space.quantize("--batch-size", "3").code == 2


def test_what_a_fixed_batch_leaves_over_is_there_for_verification(space: Workspace):
    """The ninth sample fills no run alone, but it does with the three that were held back."""
    save(space, small_convnet(batch=4), "scores")
    given_arrays(space, {"images": np.concatenate([NORMAL] * 2)[:12]})
    document = space.quantize("--json", "--samples", "9").document
    assert document["calibration"] | {"samples": 8} == document["calibration"]
    assert document["verification"] | {"samples": 4, "held_back": True} == document["verification"]


def test_samples_held_back_that_do_not_fill_a_run(space: Workspace):
    """Those of one shape are too few for a fixed batch: runs that calibrated serve, and the report says so."""
    net = Network()
    x = net.conv(net.input("images", (2, 3, "H", "W")), 16, "first", scale=None)
    net.conv(net.relu(x), 8, "second", scale=None)
    save(space, net, "second")
    folder = space.folder / "several"
    folder.mkdir()
    for number in range(27):  # three are held back, one of each shape
        np.save(folder / f"{number}.npy", NORMAL[number % 10][None, :, : 8 + number // 9 * 4, :])
    done = space.quantize("--json", "--calib", folder)
    assert done.code == 0, done.err
    seen = done.document["verification"]
    assert seen["samples"] > 0
    assert seen["held_back"] is False


def test_channels_last(space: Workspace):
    net = Network()
    x = net.op("Transpose", net.input("images", ("N", SIDE, SIDE, 3)), perm=[0, 3, 1, 2])
    y = net.op("Conv", x, net.constant(net.weight(16, 3, 3, 3)), name="first")
    net.op("Conv", net.relu(y), net.constant(net.weight(16, 16, 3, 3)), name="out")
    save(space, net, "out")
    feed = {"images": NORMAL[:1].transpose(0, 2, 3, 1)}
    document = assert_sound(space, feed, 20, "--calib", space.images)
    assert document["calibration"]["preprocessing"].startswith("imagenet: rgb")
    assert document["calibration"]["preprocessing"].endswith("layout nhwc")


def test_gray_pictures(space: Workspace):
    save(space, small_convnet(channels=1), "scores")
    write_images(space.images, gray=True)
    document = assert_sound(space, {"images": np.abs(NORMAL[:1, :1]) / 4}, 12, "--calib", space.images)
    assert document["calibration"]["preprocessing"].startswith("unit: gray")


def half_convnet() -> onnx.ModelProto:
    proto = small_convnet().proto("scores")
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    return proto


def test_half_precision(space: Workspace):
    onnx.save(half_convnet(), space.model)
    given_arrays(space, {"images": NORMAL.astype(np.float16)})
    document = assert_sound(space, feed_of(space), 20)
    assert (document["opset"], document["trt"]) == (19, "10")
    constants = {t.name: t.data_type for t in onnx.load(space.output).graph.initializer if t.name.endswith("_scale")}
    assert set(constants.values()) == {TensorProto.FLOAT16}
    refused = space.quantize("--trt", "8.6", "-o", space.folder / "other.onnx")
    assert refused.code == 3
    assert "TensorRT 8.6" in refused.err
    assert not (space.folder / "other.onnx").exists()


def test_half_precision_says_what_is_too_small_for_its_scales(space: Workspace):
    """A19: the smallest normal FP16 number is 6.1e-5, so an amax below 0.0078 has no scale."""
    proto = half_convnet()
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "middle_w")
    array = numpy_helper.to_array(weight).copy()
    array[5] *= np.float16(0.001)
    weight.CopyFrom(numpy_helper.from_array(array, "middle_w"))
    onnx.save(proto, space.model)
    given_arrays(space, {"images": NORMAL.astype(np.float16) / 2000})
    done = space.quantize()
    assert done.code == 0
    assert "1 channel of zeros, or of next to nothing, got the scale 1.0, in middle_w." in done.err
    assert "Too small for a scale of their type" in done.err
    assert "images" in done.err


@pytest.mark.parametrize("opset", [9, 11])
def test_old_opsets_are_raised_to_13(space: Workspace, opset: int):
    net = small_convnet(opset=opset)
    net.op("Upsample" if opset == 9 else "Resize", "total", *(
        [net.constant(np.float32([1, 1, 2, 2]))] if opset == 9
        else [net.constant(np.float32([]), "roi"), net.constant(np.float32([1, 1, 2, 2]))]
    ), name="larger", mode="nearest")  # fmt: skip
    proto = net.proto("scores", "larger")
    proto.ir_version = 4
    onnx.save(proto, space.model)
    assert assert_sound(space, feed_of(space), 20)["opset"] == 13


def test_newer_opsets_are_kept_where_something_needs_them(space: Workspace):
    save(space, small_convnet(opset=21), "scores")
    assert assert_sound(space, feed_of(space), 20)["opset"] == 20
    net = small_convnet(opset=21)
    sign = net.op("Sign", net.op("Abs", "total"))
    net.op("Cast", net.op("Cast", sign, to=TensorProto.INT4), to=TensorProto.FLOAT, name="held")
    save(space, net, "scores", "held")
    assert assert_sound(space, feed_of(space), 20)["opset"] == 21


def body(name: str, op_type: str) -> onnx.GraphProto:
    """A branch that reads the outer tensor `total` through an operator with a weight of its own."""
    weight = numpy_helper.from_array(Network(seed=1).weight(16, 16, 1, 1), f"{name}_w")
    nodes = [
        helper.make_node("Conv", ["total", f"{name}_w"], [f"{name}_conv"], name=f"{name}_conv"),
        helper.make_node(op_type, [f"{name}_conv"], [f"{name}_out"]),
    ]
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(f"{name}_out", 1, None)], [weight])


def test_a_model_with_an_if(space: Workspace):
    """What is inside is quantized there; a tensor that a body reads from outside is still there under its name."""
    net = small_convnet()
    flag = net.input("flag", (), TensorProto.BOOL)
    net.op("If", flag, name="chosen", then_branch=body("then", "Relu"), else_branch=body("else", "Sigmoid"))
    save(space, net, "scores", "chosen")
    given_arrays(space, {"images": NORMAL, "flag": np.arange(10) % 2 == 0})
    for flag_value in (True, False):
        feed = {"images": NORMAL[:1], "flag": np.array(flag_value)}
        document = assert_sound(space, feed, 20)
    assert document["weighted_ops"] == {"total": 6, "quantized": 6}


def test_a_model_that_holds_qdq_keeps_them(space: Workspace):
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    first = net.relu(net.conv(x, 16, "first", scale=0.05), "first_relu")
    net.conv(first, 16, "second", scale=None)
    save(space, net, "second")
    before = {node.name for node in onnx.load(space.model).graph.node}
    document = assert_sound(space, feed_of(space), 20)
    after = {node.name for node in onnx.load(space.output).graph.node}
    assert before <= after
    assert {skip["node"]: skip["code"] for skip in document["skips"]} == {"first": "ALREADY_QUANTIZED"}
    again = space.quantize("-o", space.folder / "again.onnx", "--json", model=space.output)
    assert again.code == 0
    assert again.document["weighted_ops"] == {"total": 2, "quantized": 0}


def test_local_functions_are_inlined(space: Workspace):
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    y = net.op("Block", net.conv(x, 16, "first", scale=None), name="block", domain="local")
    net.conv(y, 16, "second", scale=None)
    proto = net.proto("second")
    weight = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(net.weight(16, 16, 1, 1)))
    nodes = [weight, helper.make_node("Conv", ["a", "w"], ["c"]), helper.make_node("Relu", ["c"], ["b"])]
    proto.functions.append(helper.make_function("local", "Block", ["a"], ["b"], nodes, [helper.make_opsetid("", 17)]))
    onnx.save(onnx.shape_inference.infer_shapes(proto), space.model)
    document = assert_sound(space, feed_of(space), 20)
    assert document["weighted_ops"] == {"total": 3, "quantized": 3}
    assert not onnx.load(space.output).functions


def test_integer_images(space: Workspace):
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE), TensorProto.UINT8)
    x = net.op("Cast", x, to=TensorProto.FLOAT)
    x = net.op("Mul", x, net.constant(np.float32(1 / 255)), name="scaled")
    net.conv(net.relu(net.conv(x, 16, "first", scale=None)), 16, "second", scale=None)
    save(space, net, "second")
    feed = {"images": np.random.default_rng(0).integers(0, 256, (1, 3, SIDE, SIDE)).astype(np.uint8)}
    document = assert_sound(space, feed, 20, "--calib", space.images)
    assert document["calibration"]["preprocessing"].startswith("raw: rgb")
    refused = space.quantize("--calib", space.images, "--preprocess", "unit")
    assert refused.code == 2
    assert "uint8" in refused.err


def test_samples_of_different_shape(space: Workspace):
    net = Network()
    x = net.input("images", ("N", 3, "H", "W"))
    net.conv(net.relu(net.conv(x, 16, "first", scale=None)), 16, "second", scale=None)
    save(space, net, "second")
    folder = space.folder / "shapes"
    folder.mkdir()
    for number in range(9):
        values = RNG.normal(size=(3, 8 + number % 3, 12)).astype(np.float32)
        np.save(folder / f"{number}.npy", values[None])
    for batch in ("1", "2"):
        document = assert_sound(space, {"images": NORMAL[:1]}, 20, "--calib", folder, "--batch-size", batch)
        assert document["calibration"]["samples"] == 8


def test_external_data_stays_external(space: Workspace):
    onnx.save(onnx.load(space.model), space.model, save_as_external_data=True, location="weights.bin", size_threshold=0)
    before = (space.folder / "weights.bin").read_bytes()
    document = assert_sound(space, feed_of(space), 20)
    (data,) = space.folder.glob("model.qdq.onnx.*.data")
    assert document["size_bytes"]["after"] == space.output.stat().st_size + data.stat().st_size
    large = [
        tensor
        for tensor in onnx.load(space.output, load_external_data=False).graph.initializer
        if np.prod(tensor.dims) * 4 >= EXTERNAL_THRESHOLD_BYTES
    ]
    assert large
    assert all(tensor.data_location == TensorProto.EXTERNAL for tensor in large)
    assert (space.folder / "weights.bin").read_bytes() == before
    inline = space.folder / "inline.onnx"
    onnx.save(onnx.load(space.output), inline)
    assert run(inline, feed_of(space))[0].tobytes() == run(space.output, feed_of(space))[0].tobytes()


def test_weights_and_forms_give_the_same_numbers(space: Workspace):
    """T50: one set of scales, so the outputs are equal bit for bit with ONNX Runtime's optimisations off."""
    net = small_convnet()
    shrunk = net.maxpool("total", "shrunk")
    joined = net.concat(shrunk, net.op("Sigmoid", shrunk), name="joined")
    net.conv(joined, 16, "second_head", scale=None)
    save(space, net, "scores", "second_head")
    found = {}
    for weights in ("fp32", "int8", "int8-compat"):
        for form in ("pairs", "int8-regions"):
            assert_sound(space, feed_of(space), 20, "--weights", weights, "--form", form)
            found[weights, form] = [array.tobytes() for array in run(space.output, feed_of(space, 4))]
    assert all(outputs == found["fp32", "pairs"] for outputs in found.values())


@pytest.mark.parametrize(
    ("name", "images", "floor_db"),
    [
        ("digits_resnet", "digits", 25),
        ("digits_mobilenetv2", "digits", 20),
        ("digits_vit", "digits", 20),
        ("digits_gru", "digits", 20),
        ("denoise_unet", "noisy_patches", 25),
        ("superres_fsrcnn", "small_patches", 25),
    ],
)
def test_sample_models(tmp_path: Path, name: str, images: str, floor_db: float):
    model = SAMPLES / f"{name}.onnx"
    (tmp_path / "model.onnx").write_bytes(model.read_bytes())
    space = Workspace(tmp_path)
    picture = np.asarray(Image.open(next((SAMPLES / "images" / images).glob("*.png"))), np.float32) / 255
    planes = picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)
    feed = {onnx.load(model).graph.input[0].name: planes[None]}
    given = ("--calib", SAMPLES / "images" / images, "--preprocess", "unit", "--samples", "24", "--verify", "4")
    document = assert_sound(space, feed, floor_db - 10, *given)
    assert document["weighted_ops"]["quantized"] > 0
    outputs = document["verification"]["outputs"].values()
    assert min(distance["sqnr_db"] for distance in outputs) >= floor_db
