"""Every option of `qdq quantize` has an effect that a test sees; the last test makes sure that none is forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from PIL import Image

from qdq_cli.commands.quantize import quantize
from qdq_cli.targets.tensorrt.obstacles import MOST_TOKENS
from tests.building.fake import use_fake_compiler
from tests.networks import Network, spoiled_convnet
from tests.workspace import SIDE, Workspace, qdq, small_convnet, write_arrays

TESTED: set[str] = set()

Test = Callable[..., None]


def option(*names: str) -> Callable[[Test], Test]:
    """Mark a test as the one that sees the effect of these options."""

    def mark(test: Test) -> Test:
        TESTED.update(names)
        return test

    return mark


def document_of(space: Workspace, *options: object) -> Any:
    """The report of a run that must succeed."""
    done = space.quantize("--json", *options)
    assert done.code == 0, done.err
    return done.document


def amax_of(space: Workspace, tensor: str, *options: object) -> float:
    """The range that a tensor got."""
    document = document_of(space, *options)
    return float(
        next(document["amax"][target["group"]] for target in document["targets"] if target["tensor"] == tensor)
    )


def reasons(document: Any) -> dict[str, str]:
    """Node -> code of its skip."""
    return {skip["node"]: skip["code"] for skip in document["skips"]}


def written(space: Workspace) -> tuple[list[str], dict[str, np.ndarray]]:
    """Operators of the written model, and its initializers."""
    graph = onnx.load(space.output).graph
    return [node.op_type for node in graph.node], {t.name: numpy_helper.to_array(t) for t in graph.initializer}


def save(space: Workspace, net: Network, *outputs: str) -> None:
    onnx.save(net.proto(*outputs), space.model)


# calibration data


@pytest.fixture
def colored(space: Workspace) -> Path:
    """One picture of 8 rows and 16 columns in one color: red 200, green 100, blue 50."""
    folder = space.folder / "colored"
    folder.mkdir()
    Image.new("RGB", (SIDE, SIDE // 2), (200, 100, 50)).save(folder / "a.png")
    return folder


def corner_network(layout: str = "nchw") -> Network:
    """The first channel of the top left pixel goes into `corner`, whose range therefore shows where a picture lies."""
    net = Network()
    shape = (3, SIDE, SIDE) if layout == "nchw" else (SIDE, SIDE, 3)
    x = net.input("images", ("N", *shape))
    mask = np.zeros(shape, np.float32)
    mask[0, 0, 0] = 1
    masked = net.op("Mul", x, net.constant(mask), name="corner")
    if layout == "nhwc":
        masked = net.op("Transpose", masked, perm=[0, 3, 1, 2])
    net.op("Conv", masked, net.constant(net.weight(16, 3, 3, 3)), name="first")
    return net


@option("--preprocess")
@pytest.mark.parametrize(("name", "amax"), [("raw", 200), ("unit", 200 / 255), ("signed", 0.608), ("imagenet", 1.307)])
def test_presets(space: Workspace, colored: Path, name: str, amax: float):
    given = ("--calib", colored, "--method", "minmax", "--preprocess", name)
    assert amax_of(space, "images", *given) == pytest.approx(amax, rel=0.01)


@option("--preprocess")
@pytest.mark.parametrize("suffix", ["json", "toml"])
def test_preprocessing_from_a_file_is_printed(space: Workspace, colored: Path, suffix: str):
    file = space.folder / f"my preprocessing.{suffix}"
    file.write_text('{"scale": 0.5}' if suffix == "json" else "scale = 0.5\n")
    given = ("--calib", colored, "--method", "minmax", "--preprocess", file)
    assert amax_of(space, "images", *given) == 100
    assert f"my preprocessing.{suffix}: rgb, stretch bilinear, x * 0.5" in space.quantize(*given).out


@option("--scale", "--mean", "--std", "--color")
@pytest.mark.parametrize(
    ("options", "amax"),
    [
        (["--scale", "0.1"], 20),
        (["--scale", "0.1,0.1,1"], 50),
        (["--mean", "150"], 100),
        (["--mean", "200,100,0"], 50),
        (["--std", "4"], 50),
        (["--std", "100,10,50"], 10),
        (["--std", "1,10,50", "--color", "bgr"], 50),
        (["--color", "gray", "--resize", "pad", "--fill", "0"], 124),  # luma of the color
    ],
)
def test_constants_on_top_of_a_preset(space: Workspace, colored: Path, options: list[str], amax: float):
    given = ("--calib", colored, "--method", "minmax", "--preprocess", "raw", *options)
    assert amax_of(space, "images", *given) == pytest.approx(amax)


@option("--resize", "--fill", "--position")
@pytest.mark.parametrize(
    ("options", "corner"),
    [
        (["--resize", "stretch"], 200),
        (["--resize", "crop"], 200),
        (["--resize", "pad", "--fill", "7"], 7),
        (["--resize", "pad", "--fill", "9,0,0"], 9),
        (["--resize", "pad"], 114),
        (["--resize", "pad", "--position", "topleft"], 200),
    ],
)
def test_how_a_picture_gets_the_size(space: Workspace, colored: Path, options: list[str], corner: float):
    save(space, corner_network(), "first")
    given = ("--calib", colored, "--method", "minmax", "--preprocess", "raw", "--no-channel-rules", *options)
    assert amax_of(space, "corner", *given) == corner


@option("--layout")
def test_layout(space: Workspace, colored: Path):
    save(space, corner_network("nhwc"), "first")
    given = ("--calib", colored, "--method", "minmax", "--preprocess", "raw", "--no-channel-rules")
    assert amax_of(space, "corner", *given) == 200
    assert "layout nhwc" in document_of(space, *given, "--layout", "nhwc")["calibration"]["preprocessing"]
    refused = space.quantize(*given, "--layout", "nchw")
    assert refused.code == 4
    assert "16" in refused.err


@option("--calib")
def test_several_paths_are_put_one_after_the_other(space: Workspace):
    write_arrays(space.folder / "more.npz", 4)
    document = document_of(space, "--calib", space.arrays, "--calib", space.folder / "more.npz")
    assert document["calibration"]["samples"] + document["verification"]["samples"] == 14


@option("--calib")
def test_every_kind_of_calibration_data(space: Workspace):
    folder = space.folder / "many"
    folder.mkdir()
    values = np.load(space.arrays)["images"]
    np.save(space.folder / "one.npy", values)
    for number, sample in enumerate(values):
        np.savez(folder / f"{number}.npz", images=sample[None])
    tensors = space.folder / "model"
    for number, sample in enumerate(values):
        (tensors / f"test_data_set_{number}").mkdir(parents=True)
        proto = numpy_helper.from_array(sample[None], "images")
        (tensors / f"test_data_set_{number}" / "input_0.pb").write_bytes(proto.SerializeToString())
    wanted = document_of(space)["amax"]
    for path in (space.folder / "one.npy", folder, tensors):
        assert document_of(space, "--calib", path)["amax"] == wanted


@option("--input-shape")
def test_the_shape_of_a_dynamic_input(space: Workspace, colored: Path):
    net = Network()
    net.relu(net.conv(net.input("images", ("N", 3, "H", "W")), 16, "first", scale=None), "out")
    save(space, net, "out")
    given = ("--calib", colored, "--no-channel-rules")
    refused = space.quantize(*given)
    assert refused.code == 2
    assert "--input-shape images:1x3x" in refused.err
    assert document_of(space, *given, "--input-shape", "images:1x3x24x32")["weighted_ops"]["quantized"] == 1
    output = onnx.load(space.output).graph.input[0].type.tensor_type.shape
    assert [dim.dim_param or dim.dim_value for dim in output.dim] == ["N", 3, "H", "W"]


@pytest.fixture
def rising(space: Workspace) -> Path:
    """Sixteen samples, of which number k holds k + 1 everywhere."""
    values = np.ones((16, 3, SIDE, SIDE), np.float32) * np.arange(1, 17, dtype=np.float32)[:, None, None, None]
    np.savez(space.arrays, images=values)
    return space.arrays


@option("--samples")
def test_samples_are_evenly_spread(space: Workspace, rising: Path):
    document = document_of(space, "--samples", "2", "--method", "minmax")
    assert document["calibration"]["samples"] == 2
    assert document["amax"][0] == 13  # the samples 4 and 12 of 0 to 15


@option("--seed")
def test_a_seed_draws_samples(space: Workspace, rising: Path):
    drawn = [amax_of(space, "images", "--samples", "2", "--method", "minmax", "--seed", str(k)) for k in range(8)]
    again = [amax_of(space, "images", "--samples", "2", "--method", "minmax", "--seed", str(k)) for k in range(8)]
    assert drawn == again
    assert len(set(drawn)) > 3


@option("--batch-size")
def test_batch_size(space: Workspace):
    assert document_of(space, "--batch-size", "4")["calibration"]["batch_size"] == 4
    assert document_of(space)["calibration"]["batch_size"] == 1


# ranges


@option("--method", "--percentile")
def test_methods_choose_different_ranges(space: Workspace):
    values = np.random.default_rng(0).laplace(size=(10, 3, SIDE, SIDE)).astype(np.float32)  # long tails
    np.savez(space.arrays, images=values)
    found = {name: amax_of(space, "images", "--method", name) for name in ("minmax", "mse", "entropy", "percentile")}
    assert found["minmax"] > found["mse"]
    assert found["minmax"] > found["percentile"]
    assert found["minmax"] >= found["entropy"]
    document = document_of(space, "--method", "percentile", "--percentile", "50")
    assert (document["calibration"]["method"], document["calibration"]["percentile"]) == ("percentile", 50)
    assert document["amax"][0] < found["percentile"] / 4
    assert "percentile 50 %" in space.quantize("--method", "percentile", "--percentile", "50").out


@option("--range")
def test_a_range_by_hand_wins_over_calibration(space: Workspace):
    document = document_of(space, "--range", "first_relu=12.7", "--range", "images=2.54")
    assert document["calibration"]["manual_ranges"] == 2
    _, constants = written(space)
    assert constants["first_relu_scale"] == np.float32(12.7) / np.float32(127)
    assert constants["images_scale"] == np.float32(2.54) / np.float32(127)


@option("--range")
def test_of_a_range_with_two_ends_the_larger_counts_where_the_scheme_is_symmetric(space: Workspace):
    document = document_of(space, "--range", "images=-0.5:2.54")
    assert document["amax"][0] == 2.54
    _, constants = written(space)
    assert constants["images_scale"] == np.float32(2.54) / np.float32(127)


@option("--range")
def test_ranges_of_all_tensors_need_no_data(space: Workspace):
    groups = document_of(space)["groups"]
    given = [part for group in groups for part in ("--range", f"{group['tensors'][0]}=3.5")]
    done = space.quantize(*given, "--json", "--calib", space.arrays, "--verify", "0")
    assert set(done.document["amax"]) == {3.5}
    assert done.document["calibration"]["samples"] == 0


@option("--ranges")
def test_ranges_from_a_file_and_the_command_line_wins(space: Workspace):
    file = space.folder / "ranges.json"
    file.write_text(json.dumps({"first_relu": 5, "images": 1.5}))
    document = document_of(space, "--ranges", file, "--range", "images=2.5")
    assert document["amax"][:2] == [2.5, 5.0]


@option("--cache", "--recalibrate")
def test_the_cache_serves_without_data_and_gives_the_same_model(space: Workspace):
    cache = space.folder / "model.qcal"
    first = document_of(space, "--cache", cache)
    assert (first["calibration"]["cache"], first["calibration"]["from_cache"]) == (str(cache), False)
    model, content = space.output.read_bytes(), cache.read_bytes()
    assert f"kept in {cache}" in space.quantize("--cache", cache, "--recalibrate").out
    assert cache.stat().st_size < 30_000
    space.output.unlink()
    second = qdq("quantize", space.model, "--cache", cache, "--json").document
    assert second["calibration"]["from_cache"] is True
    assert second["calibration"]["samples"] == first["calibration"]["samples"]
    assert space.output.read_bytes() == model
    third = document_of(space, "--cache", cache, "--recalibrate")
    assert third["calibration"]["from_cache"] is False
    assert (space.output.read_bytes(), cache.read_bytes()) == (model, content)
    assert f"read from {cache}" in qdq("quantize", space.model, "--cache", cache).out


@option("--cache-missing")
def test_tensors_that_the_cache_lacks(space: Workspace):
    cache = space.folder / "model.qcal"
    document_of(space, "--cache", cache, "--only", "first")
    assert space.quantize("--cache", cache, "--cache-missing", "error").code == 4
    document = document_of(space, "--cache", cache, "--cache-missing", "calibrate")
    assert any("others come from the cache" in note for note in document["notes"])
    document = document_of(space, "--cache", cache, "--cache-missing", "error")
    assert document["calibration"]["from_cache"] is True


@option("--strict")
def test_doubts_about_the_data_are_warnings_or_with_strict_errors(space: Workspace):
    """In full in tests/data/test_doubts.py and tests/commands/test_doubts.py."""
    assert space.quantize("--samples", "7", "-q").err.startswith("warning: Only 7 samples calibrate the model")
    assert space.quantize("--samples", "7", "--strict").code == 4
    assert space.quantize("--samples", "8", "--strict").err == ""


@option("--include-data", "--exclude-data")
def test_globs_choose_files(space: Workspace):
    """In full in tests/data/test_sources.py."""
    data = ("--calib", space.images, "--verify", "0")
    assert document_of(space, *data, "--include-data", "[0-4].*")["calibration"]["samples"] == 5
    assert document_of(space, *data, "--exclude-data", "7.png", "--exclude-data", "8.*")["calibration"]["samples"] == 8
    refused = space.quantize(*data, "--exclude-data", "*.bmp")
    assert refused.code == 2
    assert "--exclude-data '*.bmp' matches no file" in refused.err


# placement


@option("--exclude", "--exclude-op", "--only")
@pytest.mark.parametrize(
    ("options", "skipped"),
    [
        (["--exclude", "middle"], {"middle": "EXCLUDED"}),
        (["--exclude", "middle", "--exclude", "scores"], {"middle": "EXCLUDED", "scores": "EXCLUDED"}),
        (["--exclude", "*d*"], {"middle": "EXCLUDED", "second": "EXCLUDED", "residual": "RESIDUAL_FLOAT_CONSUMER"}),
        (["--exclude-op", "Gemm"], {"scores": "OP_EXCLUDED"}),
        (["--only", "first", "--only", "s*d"], {"middle": "NOT_SELECTED", "scores": "NOT_SELECTED"}),
    ],
)
def test_nodes_kept_float(space: Workspace, options: list[str], skipped: dict[str, str]):
    document = document_of(space, *options)
    weighted = {"first", "middle", "second", "scores"}
    found = {node: code for node, code in reasons(document).items() if node in weighted}
    assert found == {node: code for node, code in skipped.items() if node in weighted}
    assert document["weighted_ops"] == {"total": 4, "quantized": 4 - len(found)}
    onnx.checker.check_model(str(space.output), full_check=True)


@option("--skip-first", "--skip-last")
def test_first_and_last_layers(space: Workspace):
    assert reasons(document_of(space, "--skip-first"))["first"] == "FIRST_LAYER"
    assert reasons(document_of(space, "--skip-last"))["scores"] == "LAST_LAYER"


@option("--per-tensor-weights")
def test_one_scale_a_weight(space: Workspace):
    document_of(space)
    assert written(space)[1]["middle_w_scale"].shape == (16,)
    document_of(space, "--per-tensor-weights")
    assert written(space)[1]["middle_w_scale"].shape == ()


@option("--deconv-per-channel")
def test_scales_of_transposed_convolutions(space: Workspace):
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "first", scale=None))
    net.op("ConvTranspose", x, net.constant(net.weight(16, 24, 2, 2), "up_w"), name="up", strides=[2, 2])
    save(space, net, "up")
    document_of(space)
    assert written(space)[1]["up_w_scale"].shape == ()
    document_of(space, "--deconv-per-channel")
    assert written(space)[1]["up_w_scale"].shape == (24,)


def switched(space: Workspace, *options: str) -> tuple[Any, Any]:
    """The report without and with options."""
    return document_of(space), document_of(space, *options)


@option("--mha")
def test_products_of_activations(space: Workspace):
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    queries = net.op("MatMul", x, net.constant(net.weight(SIDE, 32)), name="queries")
    keys = net.op("MatMul", x, net.constant(net.weight(SIDE, 32)), name="keys")
    net.op("MatMul", queries, net.op("Transpose", keys, perm=[0, 1, 3, 2]), name="product")
    save(space, net, "product")
    off, on = switched(space, "--mha")
    assert reasons(off)["product"] == "ATTENTION"
    assert "product" not in reasons(on)
    assert on["weighted_ops"]["quantized"] == 3


@option("--attention-rules")
def test_products_of_a_long_attention(space: Workspace):
    net = Network()
    x = net.op("Reshape", net.input("images", ("N", 3, SIDE, SIDE)), net.constant(np.array([0, 3 * SIDE * SIDE, 1])))
    scores = net.op("MatMul", x, net.op("Transpose", x, perm=[0, 2, 1], name="turned"), name="scores")
    net.op("MatMul", net.op("Softmax", scores, axis=-1, name="weights"), x, name="mixed")
    save(space, net, "mixed")
    assert 3 * SIDE * SIDE > MOST_TOKENS
    on, off = document_of(space, "--mha"), document_of(space, "--mha", "--no-attention-rules")
    assert (reasons(on)["scores"], reasons(on)["mixed"]) == ("LONG_ATTENTION", "LONG_ATTENTION")
    assert off["weighted_ops"]["quantized"] == 2


def test_attention_follows_the_type_of_the_rest_unless_it_is_said(space: Workspace):
    """Of TensorRT 11 an FP32 rest runs in FP32, and attention with it; earlier builders have flags against that."""
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    net.op("MatMul", x, net.op("Transpose", x, perm=[0, 1, 3, 2], name="turned"), name="product")
    save(space, net, "product")
    eleven, single = ("--trt", "11"), ("--float-type", "fp32")
    found = {
        options: document_of(space, *options)["weighted_ops"]["quantized"]
        for options in ((), eleven, single, (*eleven, *single), (*eleven, *single, "--no-mha"), (*eleven, "--mha"))
    }
    assert list(found.values()) == [0, 0, 0, 1, 0, 1]


@option("--group-rules")
def test_grouped_convolutions(space: Workspace):
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "first", scale=None))
    net.conv(x, 16, "grouped", scale=None, group=8)
    save(space, net, "grouped")
    on, off = switched(space, "--no-group-rules", "--no-channel-rules")
    assert reasons(on)["grouped"] == "GROUP_ALIGN"
    assert "grouped" not in reasons(off)


@option("--channel-rules")
def test_few_channels(space: Workspace):
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "first", scale=None))
    net.conv(x, 1, "last", scale=None)
    save(space, net, "last")
    on, off = switched(space, "--no-channel-rules")
    assert reasons(on) == {"last": "FEW_CHANNELS"}
    assert reasons(off) == {}


@option("--gemv-rules")
def test_matrix_vector_products(space: Workspace):
    net = small_convnet()
    net.gemm("scores", 10, 1, "score", scale=None)
    save(space, net, "score")
    on, off = switched(space, "--no-gemv-rules")
    assert reasons(on) == {"score": "GEMV"}
    assert reasons(off) == {}


@option("--range-rules")
def test_depthwise_convolutions_of_wide_input(space: Workspace):
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    x = net.concat(*[x] * 16, name="wide")
    net.conv(x, 48, "depthwise", scale=None, group=48)
    save(space, net, "depthwise")
    values = np.random.default_rng(0).standard_t(2, (10, 3, SIDE, SIDE)).astype(np.float32)  # very long tails
    np.savez(space.arrays, images=values)
    on, off = switched(space, "--no-range-rules")
    assert reasons(on)["depthwise"] == "WIDE_RANGE"
    assert off["weighted_ops"]["quantized"] == 1


@option("--shift")
def test_biases_that_centre_tensors(space: Workspace):
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "first", scale=None), "clipped")
    net.conv(x, 16, "last", kernel=1, scale=None)
    save(space, net, "last")
    on, off = switched(space, "--no-shift")
    assert ([each["tensor"] for each in on["shifted"]], off["shifted"]) == (["clipped"], [])


@option("--residuals")
def test_residual_branches(space: Workspace):
    on, off = switched(space, "--no-residuals")
    assert {"node": "residual", "slot": 1} in [use for target in on["targets"] for use in target["uses"]]
    assert reasons(off) == {"residual": "RESIDUAL_OFF"}


@option("--residual-stream")
def test_residual_adds_with_float_readers(space: Workspace):
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    first = net.conv(x, 16, "first", scale=None)
    total = net.add(net.conv(first, 16, "second", scale=None), first, "residual")
    net.op("Softmax", total, name="out")
    save(space, net, "out")
    off, on = switched(space, "--residual-stream")
    assert reasons(off) == {"residual": "RESIDUAL_FLOAT_CONSUMER"}
    assert reasons(on) == {}


@option("--pooling")
def test_average_pooling(space: Workspace):
    on, off = switched(space, "--no-pooling")
    assert "pool" not in reasons(on)
    assert reasons(off)["pool"] == "POOL_OFF"


@option("--safe")
def test_operators_with_thin_evidence(space: Workspace):
    net = Network()
    x = net.input("images", ("N", 3, SIDE, SIDE))
    x = net.relu(net.conv(x, 16, "first", scale=None))
    picked = net.op("Gather", x, net.constant(np.arange(16)[::-1].copy()), name="picked", axis=1)
    net.conv(picked, 16, "second", scale=None)
    save(space, net, "second")
    off, on = switched(space, "--safe")
    assert any(target["opens_run"] for target in off["targets"])
    assert not any(target["opens_run"] for target in on["targets"])


@option("--all-int8")
def test_operators_that_int8_ruins(space: Workspace):
    save(space, spoiled_convnet(SIDE), "last")
    images = np.random.default_rng(1).normal(size=(20, 3, SIDE, SIDE)).astype(np.float32)
    np.savez(space.arrays, images=images)
    off, on = switched(space, "--all-int8")
    assert reasons(off)["deep"] == "RUINED"
    assert "deep" not in reasons(on)


# output


@option("--output", "-o")
def test_output(space: Workspace):
    target = space.folder / "other.onnx"
    assert document_of(space, "-o", target)["output"] == str(target)
    assert target.is_file()
    assert not space.output.exists()
    document_of(space, "--output", target)  # an older result is replaced
    assert document_of(space)["output"] == str(space.output)


@option("--weights")
def test_forms_of_weights(space: Workspace):
    kinds = {}
    for form in ("fp32", "int8", "int8-compat"):
        document_of(space, "--weights", form)
        operators, constants = written(space)
        kinds[form] = operators.count("QuantizeLinear"), constants
    assert kinds["fp32"][1]["middle_w"].dtype == np.float32
    assert kinds["int8"][1]["middle_w_quantized"].dtype == np.int8
    assert "middle_w" not in kinds["int8"][1]
    integers = kinds["int8-compat"][1]["middle_w_integers"]
    assert integers.dtype == np.float32
    assert (integers == integers.round()).all()
    assert kinds["int8"][0] == kinds["fp32"][0] - 4


@option("--form")
def test_forms_of_regions(space: Workspace):
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "first", scale=None))
    net.conv(net.maxpool(x, "smaller"), 16, "second", scale=None)
    save(space, net, "second")
    types = {}
    for form in ("pairs", "int8-regions"):
        document_of(space, "--form", form)
        model = onnx.shape_inference.infer_shapes(onnx.load(space.output))
        kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
        pool = next(node for node in model.graph.node if node.op_type == "MaxPool")
        types[form] = kinds[pool.input[0]]
    assert types == {"pairs": TensorProto.FLOAT, "int8-regions": TensorProto.INT8}


@option("--trt")
def test_the_release_that_must_read_the_result(space: Workspace):
    assert document_of(space)["trt"] == "8.4"
    assert document_of(space, "--trt", "11")["trt"] == "11"
    assert document_of(space, "--weights", "int8")["trt"] == "10"
    refused = space.quantize("--weights", "int8", "--trt", "8.4")
    assert refused.code in (2, 3)
    assert "--weights int8" in refused.err


@option("--target")
def test_what_it_is_quantized_for(space: Workspace):
    """In full in tests/targets/test_tensorrt_rtx.py."""
    document = document_of(space, "--target", "tensorrt-rtx")
    assert (document["target"], document["trt"]) == ("tensorrt-rtx", "11")
    unknown = space.quantize("--target", "tensorrt-rtz")
    assert unknown.code == 2
    assert "tensorrt-rtx" in unknown.err


@option("--dry-run")
def test_a_dry_run_needs_no_data_and_writes_nothing(space: Workspace):
    before = space.listing()
    done = space.quantize("--dry-run", "--exclude", "middle")
    assert done.code == 0
    assert "first_relu -> " in done.out
    assert "EXCLUDED" in done.out
    assert space.listing() == before


@option("--report")
def test_a_page_about_the_run(space: Workspace):
    """Its own tests are in tests/screen."""
    page = space.folder / "page.html"
    done = space.quantize("--report", page)
    assert done.code == 0, done.err
    assert "first_relu" in page.read_text(encoding="utf-8")
    assert not list(space.folder.glob(".qdq-*"))


@option("--format")
def test_services_are_told_in_their_own_form(space: Workspace):
    """In full in tests/commands/test_services.py."""
    assert space.quantize("--format", "markdown").out.startswith("### qdq quantize: `")


# verification


@option("--verify")
def test_verification(space: Workspace):
    assert document_of(space, "--samples", "5", "--verify", "3")["verification"]["samples"] == 3
    none = space.quantize("--verify", "0", "--json").document
    assert none["verification"] is None
    assert "against FP32" not in space.quantize("--verify", "0").out
    everything = document_of(space, "--samples", "10")["verification"]
    assert everything["held_back"] is False
    assert "calibration saw too" in space.quantize("--samples", "10").out


@option("--min-sqnr", "--min-agreement")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--min-sqnr", "10"], 0),
        (["--min-sqnr", "120"], 5),
        (["--min-agreement", "1"], 0),
        (["--min-sqnr", "10", "--min-agreement", "1"], 0),
    ],
)
def test_limits(space: Workspace, options: list[str], code: int):
    space.output.write_text("an older result")
    done = space.quantize(*options)
    assert done.code == code
    if code:
        assert "\nnot written   Output 'scores' reaches an SQNR of " in done.out
        assert "\nnext " not in done.out and "\noutput " not in done.out
        assert "--min-sqnr is 120 dB" in done.err
        assert space.output.read_text() == "an older result"
        assert not list(space.folder.glob(".qdq-*"))


@option("--min-int8-macs")
@pytest.mark.parametrize(("least", "code"), [("100", 5), ("10", 0)])
def test_least_share_of_the_macs_in_int8(space: Workspace, least: str, code: int):
    """In full in tests/commands/test_nothing_quantized.py."""
    assert space.quantize("--exclude", "middle", "--min-int8-macs", least).code == code


@option("--min-agreement")
def test_agreement_of_class_scores(space: Workspace):
    """Ranges far too small saturate everything, so that the best class changes."""
    given = ["--range", "images=0.001", "--range", "first_relu=0.001", "--samples", "4", "--verify", "6"]
    done = space.quantize(*given, "--min-agreement", "100")
    assert done.code == 5
    assert "--min-agreement is 100 %" in done.err
    assert not space.output.exists()
    net = Network()
    net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "out", scale=None)
    save(space, net, "out")
    none = space.quantize("--min-agreement", "50")
    assert none.code == 5
    assert "no output holds class scores" in none.err


@option("--json", "--quiet", "-q", "--verbose", "-v", "--help", "-h")
def test_options_of_display_are_in_another_module():
    """`test_output.py` and `test_help.py`."""
    assert (Path(__file__).parent / "test_output.py").is_file()


@option("--float-type", "--scale-type", "--keep-io-types")
def test_the_type_of_what_is_not_quantized(space: Workspace):
    """In full in tests/quantizing/test_float_rest.py."""
    document = document_of(space, "--float-type", "fp16", "--scale-type", "fp32", "--no-keep-io-types")
    assert (document["float_rest"]["float_type"], document["opset"]) == ("fp16", 23)


@option("--tune")
def test_tuning_leaves_operators_float_until_the_limit_is_reached(space: Workspace):
    """In full in tests/tuning."""
    (found,) = document_of(space)["verification"]["outputs"].values()
    document = document_of(space, "--tune", "--min-sqnr", found["sqnr_db"] + 3)
    assert document["met"]
    assert document["left_float"]


@option("--recover", "--recover-step")
def test_recovery_takes_the_default_steps_or_those_named(space: Workspace):
    """In full in tests/commands/test_recover.py."""
    steps = [step["step"] for step in document_of(space, "--recover")["recovery"]["steps"]]
    assert steps == ["equalize", "smooth", "ranges", "gptq", "bias"]
    named = document_of(space, "--recover", "--recover-step", "bias")["recovery"]["steps"]
    assert [step["step"] for step in named] == ["bias"]


@option("--exclude-after-recovery")
def test_recovery_has_operators_in_int8_that_are_left_float_then(space: Workspace):
    """In full in tests/commands/test_recover.py."""
    document = document_of(space, "--recover-step", "gptq", "--exclude-after-recovery", "middle")
    assert "middle" in {layer["where"] for layer in document["recovery"]["layers"]}
    assert reasons(document)["middle"] == "EXCLUDED"


@option("--plugin")
def test_plugins_of_the_deployment_are_not_refused(space: Workspace):
    """In full in tests/commands/test_plugins.py."""
    net = Network()
    net.op("Det", net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, scale=None), name="out")
    save(space, net, "out")
    (refused,) = document_of(space, "--verify", "0")["refused"]
    assert (refused["found"], refused["nodes"]) == ("Det", ["out"])
    assert document_of(space, "--verify", "0", "--plugin", "Det")["refused"] == []


@option("--build")
def test_the_result_is_built(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    use_fake_compiler(monkeypatch)
    assert document_of(space, "--build", "sm89")["built"]["outcome"] == "built"


@option("--time", "--min-speedup")
def test_speed_is_measured_where_that_is_asked_for(space: Workspace):
    """In full in tests/commands/test_speed.py."""
    assert document_of(space)["speed"] is None
    assert document_of(space, "--no-time")["speed"] is None
    assert document_of(space, "--min-speedup", "0.0001")["speed"]["ratio"] > 0


@option("--integer-io")
def test_inputs_and_outputs_are_integers(space: Workspace):
    """In full in tests/model/test_integer_io.py."""
    document = document_of(space, "--integer-io", "--target", "onnxruntime", "--no-time")
    assert set(document["integers"]) == {"images", "scores"}


@option("--threads")
def test_threads_change_nothing_that_is_written(space: Workspace):
    """In full in tests/running/test_execution.py."""
    assert space.quantize("--threads", 1, "-q").code == 0
    alone = space.output.read_bytes()
    assert space.quantize("--threads", 2, "-q").code == 0
    assert space.output.read_bytes() == alone


@option("--cpu")
def test_the_processor_decides_about_the_integers(space: Workspace):
    """In full in tests/targets/test_onnxruntime.py."""
    document = document_of(space, "--target", "onnxruntime", "--cpu", "arm", "--no-time")
    assert document["activation_type"] == "int8"


@option("--type", "--gpu")
def test_eight_bits_may_be_floats_where_the_gpu_has_them(space: Workspace):
    """In full in tests/targets/test_fp8.py."""
    document = document_of(space, "--type", "fp8", "--gpu", "sm89")
    assert document["activation_type"] == "float8e4m3fn"
    refused = space.quantize("--type", "fp8", "--gpu", "sm86")
    assert refused.code == 2
    assert "sm86" in refused.err


@option("--type-of")
def test_single_operators_have_another_type(space: Workspace):
    """In full in tests/targets/test_mixed_types.py."""
    document = document_of(space, "--type-of", "*=fp8")
    assert {weight["type"] for weight in document["weights"]} == {"float8e4m3fn"}
    refused = space.quantize("--type-of", "*=int5")
    assert refused.code == 2
    assert "Did you mean 'int8'?" in refused.err


@option("--block-size")
def test_blocks_of_weights_have_the_size_that_is_asked_for(space: Workspace):
    """In full in tests/targets/test_weights_alone.py."""
    document = document_of(space, "--type", "int4-weights", "--target", "onnxruntime", "--block-size", 16, "--no-time")
    assert {weight["block_size"] for weight in document["weights"]} == {16}
    refused = space.quantize("--type", "int4-weights", "--block-size", 0)
    assert refused.code == 2
    assert "--block-size" in refused.err


@option("--experimental")
def test_types_that_no_cpu_runs_have_to_be_allowed(space: Workspace):
    """In full in tests/targets/test_blocks.py."""
    refused = space.quantize("--type", "mxfp8")
    assert refused.code == 2
    assert "--experimental" in refused.err
    assert document_of(space, "--type", "mxfp8", "--experimental", "--exclude", "*")["verification"] is not None


@option("--provider", "--device")
def test_a_provider_that_is_not_there_is_named_with_its_package(space: Workspace):
    """In full in tests/running/test_providers.py."""
    assert document_of(space, "--provider", "cpu")["calibration"]["provider"] == "cpu"
    refused = space.quantize("--provider", "rocm", "--device", 1)
    assert refused.code == 2
    assert "rocm" in refused.err


@option("--config", "--no-config")
def test_settings_come_from_a_file(space: Workspace, monkeypatch: pytest.MonkeyPatch):
    """In full in tests/commands/test_settings.py."""
    monkeypatch.chdir(space.folder)
    (space.folder / "mine.toml").write_text('[defaults]\nmethod = "minmax"\n', encoding="utf-8")
    assert document_of(space, "--config", "mine.toml")["calibration"]["method"] == "minmax"
    (space.folder / "mine.toml").rename(space.folder / "qdq.toml")
    assert document_of(space)["calibration"]["method"] == "minmax"
    assert document_of(space, "--no-config")["calibration"]["method"] == "auto"


def test_no_option_is_forgotten():
    names = {name for param in quantize.params for name in param.opts if name.startswith("-")}
    assert names - TESTED == set()
    assert {name for name in TESTED if name not in ("-h", "--help")} <= names
