"""Models whose operators compute on codes, as onnxruntime.quantization writes them besides Q/DQ."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from calibrators import sqnr_db
from qdq_cli.comparing.alignment import make_comparable
from qdq_cli.comparing.codes import FORMS, has_codes, spell_out
from qdq_cli.comparing.compare import _about_codes, compare_models
from qdq_cli.comparing.record import Comparison, Kind, Origin
from qdq_cli.config.compare import CompareConfig
from qdq_cli.config.data import DataConfig
from qdq_cli.model.products import exact_products
from tests.comparing.models import layer
from tests.foreign import make_ort_models
from tests.networks import Network
from tests.workspace import REPOSITORY

SIGNED = {"activation_type": QuantType.QInt8, "per_channel": True, "extra_options": {"ActivationSymmetric": True}}


class Arrays(CalibrationDataReader):
    """Samples by input name."""

    def __init__(self, values: dict[str, np.ndarray]) -> None:
        self._left = self._each(values)

    def _each(self, values: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        for place in range(len(next(iter(values.values())))):
            yield {name: array[place : place + 1] for name, array in values.items()}

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def static(source: Path, target: Path, samples: Path, **options: object) -> None:
    quantize_static(source, target, Arrays(dict(np.load(samples))), quant_format=QuantFormat.QOperator, **options)


def signed(source: Path, target: Path, samples: Path) -> None:
    static(source, target, samples, **SIGNED)


def dynamic(source: Path, target: Path, samples: Path) -> None:
    quantize_dynamic(source, target)


def per_column(source: Path, target: Path, samples: Path) -> None:
    quantize_dynamic(source, target, per_channel=True, weight_type=QuantType.QInt8)


QUANTIZERS = [static, signed, dynamic, per_column]
Quantizer = Callable[[Path, Path, Path], None]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def quantized(folder: Path, model: onnx.ModelProto, quantizer: Quantizer) -> tuple[Path, Path]:
    """Write a float model, samples of its one input and its quantized form; returns the last two."""
    onnx.save(model, folder / "float.onnx")
    entry = model.graph.input[0]
    shape = [dim.dim_value or 1 for dim in entry.type.tensor_type.shape.dim]
    values = np.random.default_rng(0).normal(size=(6, *shape[1:])).astype(np.float32)
    np.savez(folder / "data.npz", **{entry.name: values})
    quantizer(folder / "float.onnx", folder / "quantized.onnx", folder / "data.npz")
    return folder / "quantized.onnx", folder / "data.npz"


def compared(folder: Path, model: onnx.ModelProto, quantizer: Quantizer) -> Comparison:
    path, samples = quantized(folder, model, quantizer)
    return compare_models(CompareConfig(folder / "float.onnx", path, DataConfig(calib=(samples,)), layers=True))


def results(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    exact = ir.to_proto(exact_products(ir.serde.deserialize_model(model)))  # some processors saturate products
    return onnxruntime.InferenceSession(exact.SerializeToString(), options).run(None, feeds)


def spelled_out(proto: onnx.ModelProto) -> onnx.ModelProto:
    model = ir.serde.deserialize_model(proto)
    make_comparable(model)
    assert spell_out(model)
    written = ir.serde.serialize_model(model)
    onnx.checker.check_model(written, full_check=True)
    return written


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_a_model_spelled_out_computes_the_same(quantizer, tmp_path):
    path, samples = quantized(tmp_path, make_ort_models.float_model(), quantizer)
    proto = onnx.load(path)
    written = spelled_out(proto)
    assert not any(node.op_type in {*FORMS, "ConvInteger", "MatMulInteger"} for node in written.graph.node)
    for sample in np.load(samples)["image"]:
        one, two = (results(model, {"image": sample[None]})[0] for model in (proto, written))
        np.testing.assert_allclose(one, two, atol=1 / 255)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_every_layer_is_measured_in_both_columns(quantizer, tmp_path):
    found = compared(tmp_path, make_ort_models.float_model(), quantizer)
    own = {entry.node: entry for entry in found.layers.ranked if entry.local is not None}
    assert {"stem", "conv1", "conv2", "conv3", "fc"} <= set(own)
    assert all(entry.cause.kind is not Kind.UNKNOWN for entry in own.values())
    assert all(entry.accumulated.sqnr_db <= entry.local.sqnr_db + 3 for entry in own.values())
    if quantizer in (static, signed):
        assert {"gate", "gap", "flatten", "scores"} <= set(own), "tensors that exist as codes alone"
        assert found.layers.start == "gate"


@pytest.mark.parametrize("quantizer", [static, dynamic])
@pytest.mark.parametrize("name", ["digits_resnet", "digits_vit", "superres_fsrcnn"])
def test_a_sample_model(name, quantizer, tmp_path):
    """Layers are run in floats: what accumulates at the outputs is what the integer operators give there."""
    found = compared(tmp_path, onnx.load(REPOSITORY / "sample_models" / f"{name}.onnx"), quantizer)
    for output, distance in found.outputs.items():
        assert layer(found, output).accumulated.sqnr_db == pytest.approx(distance.sqnr_db, abs=0.5)
    unknown = [entry.node for entry in found.layers.ranked if entry.cause is not None and not entry.cause.tensor]
    assert unknown == []
    assert all(entry.cause.kind is not Kind.OTHER_WEIGHTS for entry in found.layers.ranked if entry.cause)


def test_what_has_no_partner_is_told_with_the_reason(tmp_path):
    found = compared(tmp_path, make_ort_models.float_model(), static)
    assert {(entry.tensor, entry.reason) for entry in found.layers.unmatched} == {
        (name, "a Q does the work of the Relu or Clip behind it") for name in ("stem", "conv1", "add")
    }
    assert found.layers.shared + len(found.layers.unmatched) == found.layers.tensors
    assert layer(found, "add_relu").local.sqnr_db > 30, "it is compared behind that Q"


def relu_between(reader: str) -> onnx.ModelProto:
    net = Network()
    x = net.relu(net.conv(net.input("image", (1, 16, 8, 8)), 16, "one", scale=None), "one_relu")
    y = net.conv(x, 16, "two", scale=None)
    return net.proto(net.add(y, net.op(reader, x, name="other"), "out"))


def test_a_relu_in_the_q_is_gone_through_where_floats_are_read_too(tmp_path):
    """The DQ for the reader of floats has the name of the Relu's result, the codes that of the convolution's."""
    found = compared(tmp_path, relu_between("Softplus"), static)
    assert [entry.tensor for entry in found.layers.unmatched] == ["one"]
    assert layer(found, "one_relu").local.sqnr_db > 30
    assert layer(found, "two").cause.kind is not Kind.CLIPPING


def test_what_a_relu_cuts_anyway_is_no_damage(tmp_path):
    """A symmetric range that fits the Relu's result cuts the convolution's, which is negative for the most part."""
    model = relu_between("Softplus")
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "one_b")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) - np.float32(12), "one_b"))
    found = compared(tmp_path, model, signed)
    assert found.layers.unmatched == ()
    assert min(layer(found, name).local.sqnr_db for name in ("one", "one_relu", "two")) > 30


def test_codes_that_are_split_or_moved(tmp_path):
    """A Split names its codes in a way of its own; between two operators that move codes there is no float tensor."""
    net = Network()
    x = net.conv(net.input("image", (1, 16, 8, 8)), 16, "one", scale=None)
    halves = net.split(x, 2, name="halves")
    net._initializers["parts"] = onnx.numpy_helper.from_array(np.asarray([8, 8], np.int64), "parts")
    net._nodes[-1].input.append("parts")
    y = net.op(
        "Transpose",
        net.op("Reshape", halves[0], net.constant(np.asarray([1, 8, 64])), name="flat"),
        name="turned",
        perm=[0, 2, 1],
    )
    z = net.op("MatMul", y, net.constant(net.weight(8, 16)), name="product")
    found = compared(tmp_path, net.proto(z, net.conv(halves[1], 16, "two", scale=None)), static)
    assert {"halves_1", "turned", "product"} <= {entry.tensor for entry in found.layers.ranked}
    assert all("moved on" in entry.reason for entry in found.layers.unmatched)
    assert [entry.tensor for entry in found.layers.unmatched] == ["halves_0", "flat"]


def test_nodes_without_names_are_found_by_what_they_make(tmp_path):
    """onnxruntime names a quantized node after the float one; where that has no name, the file has none either."""
    model = make_ort_models.float_model()
    for node in model.graph.node:
        node.name = ""
    found = compared(tmp_path, model, static)
    entry = layer(found, "stem_relu")
    assert (entry.op_type, entry.cause.kind) == ("Conv", Kind.ROUNDING)
    assert {entry.cause.tensor for entry in found.layers.ranked} >= {"fc_w", "image"}


def test_the_layer_made_bad_is_first_and_its_cause_is_told(tmp_path):
    path, samples = quantized(tmp_path, make_ort_models.float_model(), static)
    proto = onnx.load(path)
    scale = next(tensor for tensor in proto.graph.initializer if tensor.name == "conv2_w_scale")
    scale.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scale) * np.float32(4), scale.name))
    onnx.save(proto, path)
    found = compare_models(CompareConfig(tmp_path / "float.onnx", path, DataConfig(calib=(samples,)), layers=True))
    first = found.layers.ranked[0]
    assert (first.tensor, first.cause.origin, first.cause.tensor) == ("conv2", Origin.WEIGHTS, "conv2_w")


def test_an_old_opset(tmp_path):
    model = make_ort_models.float_model()
    model.opset_import[0].version, model.ir_version = 11, 6
    found = compared(tmp_path, model, static)
    assert {"conv1", "fc"} <= {entry.node for entry in found.layers.ranked if entry.local is not None}


@pytest.mark.parametrize("op_type", sorted(FORMS))
def test_every_operator_on_codes(op_type):
    """One operator between a Q and a DQ, and what it is spelled out as: never further apart than a code."""
    proto = one_operator(op_type)
    values = np.random.default_rng(1).normal(size=(2, 4, 6, 6)).astype(np.float32)
    if op_type in ("QGemm", "QLinearMatMul"):
        values = values[:, :, 0, 0]
    one, two = (results(model, {"x": values})[0] for model in (proto, spelled_out(proto)))
    np.testing.assert_allclose(one, two, atol=STEP * 1.11)
    assert np.mean(one != two) < 0.2
    assert np.ptp(one) > 3 * STEP


STEP = 2.0**-4


def one_operator(op_type: str) -> onnx.ModelProto:
    net = Network()
    flat = op_type in ("QGemm", "QLinearMatMul")
    given = net.constant(np.float32(STEP * 1.1), "given"), net.constant(np.int8(-2), "given_zero")
    x = net.input("x", (2, 4) if flat else (2, 4, 6, 6))
    scale, zero = net.constant(np.float32(STEP), "scale"), net.constant(np.int8(3), "zero")
    codes, own = net.op("QuantizeLinear", x, scale, zero, name="x_codes"), (scale, zero)
    rng = np.random.default_rng(0)
    shape = {"QLinearConv": (5, 4, 3, 3), "QGemm": (5, 4), "QLinearMatMul": (4, 5)}.get(op_type, (4, 6, 6))
    weight = net.constant(rng.integers(-99, 99, shape).astype(np.int8), "w_codes")
    scales = net.constant((rng.random(5) / 40).astype(np.float32), "w_scale")
    zeros = net.constant(np.zeros(5, np.int8), "w_zero")
    one, two, three = (codes, *own), (weight, scales, zeros), (weight, *own)
    bias = net.constant(rng.integers(-99, 99, 5).astype(np.int32), "bias")
    where = net.constant(rng.random((4, 6, 6)) < 0.5, "where")
    inputs: dict[str, tuple[str, ...]] = {
        "QLinearConv": (*one, *two, *given, bias),
        "QLinearMatMul": (*one, *two, *given),
        "QGemm": (*one, *two, bias, *given),
        "QLinearAdd": (*one, *three, *given),
        "QLinearMul": (*one, *three, *given),
        "QLinearConcat": (*given, *one, *one),
        "QLinearWhere": (where, *one, *three, *given),
    }
    attributes = {
        "QGemm": {"transB": 1, "alpha": 1.0},
        "QLinearSoftmax": {"axis": 1, "opset": 17},
        "QLinearConcat": {"axis": 1},
        "QLinearAveragePool": {"kernel_shape": [2, 2], "strides": [2, 2]},
        "QLinearLeakyRelu": {"alpha": 0.25},
    }
    domain = "" if op_type in ("QLinearConv", "QLinearMatMul") else "com.microsoft"
    y = net.op(
        op_type, *inputs.get(op_type, (*one, *given)), name="y_quantized", domain=domain, **attributes.get(op_type, {})
    )
    proto = net.proto(net.op("DequantizeLinear", y, *given, name="out"))
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return proto


def test_what_is_not_known_stays_and_says_which_operator_it_is(tmp_path):
    """quantize_dynamic makes a DynamicQuantizeLSTM of an LSTM: weights, codes and states are inside of it."""
    net = Network()
    x = net.input("x", (1, 4, 8))
    weights = [net.constant(net.weight(*shape) / 4) for shape in ((1, 32, 8), (1, 32, 8))]
    y = net.op("LSTM", x, *weights, name="memory", hidden_size=8)
    found = compared(tmp_path, net.proto(net.relu(y, "out")), dynamic)
    entry = layer(found, "memory")
    assert (entry.cause.origin, entry.cause.kind) == (Origin.EITHER, Kind.UNKNOWN)
    assert "computes on codes (DynamicQuantizeLSTM)" in entry.cause.text


@pytest.mark.parametrize(
    ("op_type", "attributes"), [("QLinearGlobalAveragePool", {"channels_last": 1}), ("QLinearSoftmax", {"opset": 11})]
)
def test_what_means_something_else_in_floats_stays(op_type, attributes):
    proto = one_operator(op_type)
    node = next(node for node in proto.graph.node if node.op_type == op_type)
    del node.attribute[:]
    node.attribute.extend(helper.make_attribute(name, value) for name, value in {"axis": 1, **attributes}.items())
    model = ir.serde.deserialize_model(proto)
    make_comparable(model)
    assert has_codes(model)
    assert not spell_out(model)


def test_sums_of_integers_whose_scale_is_made_another_way_stay():
    net = Network()
    x = net.input("x", (1, 4))
    net._nodes.append(helper.make_node("DynamicQuantizeLinear", [x], ["codes", "step", "zero"], name="q"))
    weight = net.constant(np.ones((4, 3), np.int8), "w")
    sums = net.op("Cast", net.op("MatMulInteger", "codes", weight, "zero"), to=TensorProto.FLOAT)
    written = spelled_out(net.proto(net.op("Mul", sums, "step", name="out")))
    assert [node.op_type for node in written.graph.node] == [
        *("DynamicQuantizeLinear", "QuantizeLinear", "MatMulInteger", "Cast", "Mul")
    ]
    values = np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32)
    assert sqnr_db(values.sum(), results(written, {"x": values})[0][0, 0]) > 30


def test_integer_operators_that_give_something_else_are_told(tmp_path):
    """Some processors saturate sums of products of UINT8 and INT8 inside; here the figure is changed."""
    found = compared(tmp_path, make_ort_models.float_model(), static)
    assert list(_about_codes(found)) == []
    worse = replace(found.outputs["scores"], sqnr_db=20.0)
    (note,) = _about_codes(replace(found, outputs={"scores": worse}))
    assert "the output 'scores' reaches 35" in note and "the model itself reaches 20.0 dB" in note
