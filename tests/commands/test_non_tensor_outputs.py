"""Classifiers that end in maps, sequences, optional values or labels: their tensors are quantized, the rest is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from qdq_cli.running.plain import plain
from tests.networks import Network
from tests.workspace import Workspace, make_workspace, qdq

CLASSES = 8
FLOATS = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
ML = "ai.onnx.ml"


def ends_in(*nodes: onnx.NodeProto, outputs: list[onnx.ValueInfoProto], opset: int = 17) -> onnx.ModelProto:
    """Two products and a Softmax, `p`, and what stands behind them."""
    net = Network(opset)
    x = net.relu(net.op("MatMul", net.input("x", ("N", 32)), net.constant(net.weight(32, 64))))
    net.op("Softmax", net.op("MatMul", x, net.constant(net.weight(64, CLASSES))), name="p", axis=-1)
    proto = net.proto("p")
    proto.graph.node.extend(nodes)
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)
    if any(node.domain == ML for node in nodes):
        proto.opset_import.append(helper.make_opsetid(ML, 2))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def maps(name: str, keys: int) -> onnx.ValueInfoProto:
    return helper.make_value_info(name, helper.make_sequence_type_proto(helper.make_map_type_proto(keys, FLOATS)))


def zipped(opset: int = 17, **labels: list[object]) -> onnx.ModelProto:
    keys = TensorProto.STRING if "classlabels_strings" in labels else TensorProto.INT64
    node = helper.make_node("ZipMap", ["p"], ["probabilities"], domain=ML, **labels)
    best = helper.make_node("ArgMax", ["p"], ["label"], axis=1, keepdims=0)
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["N"])
    return ends_in(best, node, outputs=[label, maps("probabilities", keys)], opset=opset)


def sequence(op_type: str, *inputs: str, **attributes: int) -> onnx.ModelProto:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    node = helper.make_node(op_type, inputs, ["s"], **attributes)
    return ends_in(node, outputs=[helper.make_value_info("s", kind)])


def labels_alone() -> onnx.ModelProto:
    best = helper.make_node("ArgMax", ["p"], ["i"], axis=1, keepdims=0)
    words = [f"class {number}" for number in range(CLASSES)]
    node = helper.make_node("LabelEncoder", ["i"], ["label"], domain=ML, keys_int64s=list(range(CLASSES)),
                            values_strings=words)  # fmt: skip
    return ends_in(best, node, outputs=[helper.make_tensor_value_info("label", TensorProto.STRING, ["N"])])


OPTIONAL = helper.make_value_info("o", helper.make_optional_type_proto(helper.make_tensor_type_proto(1, None)))
NUMBERS = {"classlabels_int64s": list(range(CLASSES))}
WORDS = {"classlabels_strings": [f"class {number}" for number in range(CLASSES)]}

MODELS = {
    "maps by numbers": (zipped(**NUMBERS), "probabilities"),
    "maps by words": (zipped(**WORDS), "probabilities"),
    "maps, raised from opset 11": (zipped(11, **NUMBERS), "probabilities"),
    "maps, lowered from opset 21": (zipped(21, **NUMBERS), "probabilities"),
    "a sequence": (sequence("SequenceConstruct", "p", "p"), "s"),
    "a sequence of slices": (sequence("SplitToSequence", "p", axis=1), "s"),
    "an optional": (ends_in(helper.make_node("Optional", ["p"], ["o"]), outputs=[OPTIONAL]), "o"),
}


def space_of(tmp_path: Path, proto: onnx.ModelProto) -> Workspace:
    space = make_workspace(tmp_path, proto)
    np.savez(space.arrays, x=np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32))
    return space


@pytest.mark.parametrize(("proto", "output"), MODELS.values(), ids=MODELS)
def test_the_tensors_are_quantized_and_the_outputs_stay_what_they_are(tmp_path: Path, proto, output: str):
    space = space_of(tmp_path, proto)
    done = space.quantize("--json", "--min-sqnr", "20")
    assert (done.code, done.document["weighted_ops"]) == (0, {"total": 2, "quantized": 2})
    assert done.document["verification"]["outputs"][output]["sqnr_db"] > 20
    written = onnx.load(space.output)
    onnx.checker.check_model(written, full_check=True)
    assert [info.SerializeToString() for info in written.graph.output] == [
        info.SerializeToString() for info in proto.graph.output
    ]
    assert [node.op_type for node in written.graph.node][-1] == proto.graph.node[-1].op_type


@pytest.mark.parametrize(("proto", "output"), MODELS.values(), ids=MODELS)
def test_the_other_commands_take_them(tmp_path: Path, proto, output: str):
    space = space_of(tmp_path, proto)
    data, made = ("--calib", space.arrays), tmp_path / "made.qcal"
    assert qdq("calibrate", space.model, *data, "--all-tensors", "-o", made).code == 0
    assert space.quantize("--calib", space.arrays, "--recover-step", "ranges").code == 0
    compared = qdq("compare", space.model, space.output, "--data", space.arrays, "--layers", "--json").document
    assert compared["outputs"][output]["sqnr_db"] > 20
    for command in (("inspect", space.output), ("fix", space.output, "-o", tmp_path / "fixed.onnx"),
                    ("sensitivity", space.model, *data)):  # fmt: skip
        assert qdq(*command).code == 0


def test_a_map_gives_what_the_float_model_gives(tmp_path: Path):
    space = space_of(tmp_path, zipped(**WORDS))
    assert space.quantize().code == 0
    x = np.random.default_rng(1).normal(size=(3, 32)).astype(np.float32)
    first, second = (onnxruntime.InferenceSession(path).run(None, {"x": x})[1] for path in (space.model, space.output))
    assert [row.keys() for row in first] == [row.keys() for row in second]


def test_weights_beside_the_model_leave_the_maps_declared(tmp_path: Path):
    proto = zipped(**NUMBERS)
    space = space_of(tmp_path, proto)
    onnx.save(proto, space.model, save_as_external_data=True, location="weights", size_threshold=0)
    assert space.quantize().code == 0
    written = onnx.load(space.output)
    assert written.graph.output[1].type == proto.graph.output[1].type


def test_a_limit_is_not_met_by_outputs_of_words(tmp_path: Path):
    space = space_of(tmp_path, labels_alone())
    assert "nothing compared: no output holds numbers" in space.quantize().out
    space.output.unlink()
    done = space.quantize("--min-sqnr", "20")
    assert (done.code, space.output.exists()) == (5, False)
    assert "No output can be held against a limit: none holds numbers." in done.err


def test_an_input_that_is_a_map_is_refused(tmp_path: Path):
    node = helper.make_node("CastMap", ["m"], ["v"], domain=ML)
    proto = ends_in(
        helper.make_node("Identity", ["p"], ["q"]), outputs=[helper.make_tensor_value_info("q", 1, ["N", 8])]
    )
    proto.graph.node.append(node)
    proto.graph.input.append(helper.make_value_info("m", helper.make_map_type_proto(TensorProto.INT64, FLOATS)))
    proto.opset_import.append(helper.make_opsetid(ML, 2))
    done = space_of(tmp_path, proto).quantize()
    assert done.code == 3
    assert "its input 'm' is a map, and samples are tensors." in done.err
    assert "hint: Export the model without the operators that read maps (CastMap, DictVectorizer)." in done.err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([{2: 0.5, 1: 0.25}, {1: 1.0, 2: 2.0}], [[0.25, 0.5], [1.0, 2.0]]),
        ({"b": 2.0, "a": 1.0}, [1.0, 2.0]),
        ([np.ones(2), np.zeros(2)], [[1, 1], [0, 0]]),
        ([np.ones((1, 2)), np.zeros(1)], [1, 1, 0]),
        ([], []),
    ],
)
def test_what_holds_numbers_becomes_a_tensor(given, expected):
    assert np.array_equal(plain(given), np.array(expected))


@pytest.mark.parametrize("given", [None, ["a"], [np.array(["a"])]])
def test_what_holds_none_stays(given):
    assert plain(given) is given
