"""Observing and running: ONNX Runtime on small models built here, never a mock of it."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from calibrators import Histogram
from qdq_cli.data.batches import Batch
from qdq_cli.model import files
from qdq_cli.process.errors import DataError, ModelError
from qdq_cli.running import runner
from qdq_cli.running.bound import BoundSession
from qdq_cli.running.outputs import set_outputs, taking_out
from qdq_cli.running.runner import Runner
from qdq_cli.running.session import SessionOptions, Source, make_session
from qdq_cli.running.watched import Watched

FLOAT = TensorProto.FLOAT
RANDOM = np.random.default_rng(7)


def model_of(nodes, inputs, outputs, weights=None):
    """A model from nodes, {input: (type, shape)}, output names and {initializer: array}."""
    infos = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    values = [onnx.ValueInfoProto(name=name) for name in outputs]
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(nodes, "test", infos, values, tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def loaded(model):
    """The model as the graph library holds it."""
    return ir.serde.deserialize_model(model)


def source_of(model):
    return Source(model.SerializeToString())


def relu_model(shape=("N", 4)):
    """y = Relu(x + 1), with the sum named s."""
    nodes = [helper.make_node("Add", ["x", "one"], ["s"]), helper.make_node("Relu", ["s"], ["y"])]
    return model_of(nodes, {"x": (FLOAT, shape)}, ["y"], {"one": np.float32(1.0).reshape(())})


def conv_model(channels=(3, 16, 24, 32)):
    """Conv+Clip three times; the widths are whole blocks of channels, or not."""
    nodes, weights = [], {"zero": np.float32(0.0).reshape(()), "six": np.float32(6.0).reshape(())}
    value = "x"
    for number, (inside, out) in enumerate(itertools.pairwise(channels)):
        weights[f"w{number}"] = RANDOM.standard_normal((out, inside, 3, 3)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [value, f"w{number}"], [f"c{number}"], pads=[1] * 4))
        nodes.append(helper.make_node("Clip", [f"c{number}", "zero", "six"], [f"a{number}"]))
        value = f"a{number}"
    return model_of(nodes, {"x": (FLOAT, ["N", 3, "H", "W"])}, [value], weights)


def loader(arrays, name="x"):
    """`load` over a list of arrays of one input; sources are sample0.npy and so on, several in a wide batch."""

    def load(index):
        rows = arrays[index].shape[0] if arrays[index].ndim else 1
        return Batch({name: arrays[index]}, tuple(f"sample{index}.{row}.npy" for row in range(rows)), rows)

    return load


def observe(model, tensors, batches, load, **options):
    return runner.observe(model, Watched(tensors), batches, load, **options).histograms


def observe_arrays(model, tensors, arrays, **options):
    return observe(model, tensors, range(len(arrays)), loader(arrays), **options)


def counted(*arrays):
    histogram = Histogram()
    for array in arrays:
        histogram.observe(array)
    return histogram


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def test_observes_inputs_activations_and_outputs_in_the_order_asked_for():
    arrays = [normal(1, 4) for _ in range(7)]
    found = observe_arrays(loaded(relu_model()), ["y", "x", "s", "y"], arrays)
    assert list(found) == ["y", "x", "s"]
    assert found["x"] == counted(*arrays)
    assert found["s"] == counted(*(array + 1 for array in arrays))
    assert found["y"] == counted(*(np.maximum(array + 1, 0) for array in arrays))


def test_only_inputs_need_no_run():
    nodes = [helper.make_node("NoSuchOperator", ["x"], ["y"])]
    model = model_of(nodes, {"x": (FLOAT, ["N", 4])}, ["y"])
    arrays = [normal(2, 4), normal(1, 4)]
    assert observe_arrays(loaded(model), ["x"], arrays) == {"x": counted(*arrays)}


def test_no_batches_give_empty_histograms():
    assert observe_arrays(loaded(relu_model()), ["s"], []) == {"s": Histogram()}


@settings(max_examples=15)
@given(st.permutations(range(6)), st.integers(1, 4), st.integers(1, 3))
def test_order_threads_and_batch_size_change_nothing(order, threads, size):
    generator = np.random.default_rng(3)
    samples = (generator.standard_normal((6, 1, 4)) * 10.0 ** np.arange(-3, 3).reshape(6, 1, 1)).astype(np.float32)
    expected = {"s": counted(*(samples + np.float32(1.0)))}
    arrays = [np.concatenate(samples[list(order[start : start + size])]) for start in range(0, 6, size)]
    assert observe_arrays(loaded(relu_model()), ["s"], arrays, threads=threads) == expected


@pytest.mark.parametrize("channels", [(3, 16, 24, 32), (3, 20, 7, 5), (3, 64, 64), (3, 17, 100, 3)])
def test_blocked_layout_counts_what_the_plain_layout_holds(channels):
    model = conv_model(channels)
    tensors = [f"a{number}" for number in range(len(channels) - 1)] + ["c0"]
    arrays = [normal(1, 3, 12, 10), normal(2, 3, 12, 10), normal(1, 3, 5, 9)]
    plain = onnx.ModelProto.FromString(model.SerializeToString())
    set_outputs(plain, tensors)
    session = make_session(source_of(plain), SessionOptions(threads=1, optimize=True))
    names = [value.name for value in session.get_outputs()]
    runs = [dict(zip(names, session.run(None, {"x": array}), strict=True)) for array in arrays]
    found = observe_arrays(loaded(model), tensors, arrays)
    assert found == {name: counted(*(run[name] for run in runs)) for name in tensors}


def test_whole_blocks_are_handed_out_without_putting_them_in_order():
    with taking_out(loaded(conv_model((3, 16, 24, 32))), ["a0", "a1", "a2"], threads=1) as take_out:
        names = [value.name for value in take_out.session.get_outputs()]
    if names[0] == "a0":
        pytest.skip("ONNX Runtime has no blocked layout on this processor")
    assert take_out.tensors == ("a0", "a1", "a2")
    assert names[1] != "a1", "24 channels are handed out with their padding, which is not counted"
    assert names[2] != "a2"
    assert {number: blocks.channels for number, blocks in take_out.blocked.items()} == {0: 16, 1: 24, 2: 32}


def test_without_room_for_temporary_files_the_plain_layout_serves(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    found = observe_arrays(loaded(conv_model()), ["a0"], [normal(1, 3, 4, 4)])
    assert found["a0"].count == 16 * 16


def test_temporary_files_are_gone_afterwards(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen = []

    def load(_):
        seen.extend(tmp_path.iterdir())
        return Batch({"x": normal(1, 3, 40, 40)}, ("a",), 1)

    observe(loaded(conv_model((3, 64, 64))), ["a0"], range(3), load)
    with pytest.raises(ModelError):
        observe_arrays(loaded(conv_model()), ["a0"], [normal(1, 2, 4, 4)])
    assert list(tmp_path.iterdir()) == []
    assert sys.platform == "win32" or seen == [], "a killed process would leave the files"


def test_shapes_may_change_from_batch_to_batch():
    arrays = [normal(1, rows) for rows in (3, 3, 5, 0, 3, 8, 8)]
    model = relu_model(["N", "M"])
    assert observe_arrays(loaded(model), ["s"], arrays) == {"s": counted(*(array + 1 for array in arrays))}


def test_outputs_lie_in_one_piece_where_the_model_says_how_large_they_are():
    session = make_session(source_of(relu_model()), SessionOptions(threads=1, optimize=True))
    bound, options = BoundSession(session), ort.RunOptions()
    arrays = [normal(rows, 4) for rows in (3, 3, 5, 3)]
    (first,) = bound.run({"x": arrays[0]}, options)
    (second,) = bound.run({"x": arrays[1]}, options)
    assert first.ctypes.data == second.ctypes.data
    assert bound.size_bytes == 48
    for array in arrays[2:]:
        (found,) = bound.run({"x": array}, options)
        np.testing.assert_array_equal(found, np.maximum(array + 1, 0))


@pytest.mark.parametrize("declared", [["N", 3], ["N", "M"], [7, 7]])
def test_a_model_that_says_it_wrong_is_run_all_the_same(declared):
    """An output's shape is a claim of the exporter, and ONNX Runtime only warns where it is none."""
    model = relu_model()
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, declared))
    try:
        session = make_session(source_of(model), SessionOptions(threads=1, optimize=False))
    except ModelError:
        pytest.skip("this release refuses it")
    bound, options = BoundSession(session), ort.RunOptions()
    for rows in (3, 3, 5):
        array = normal(rows, 4)
        (found,) = bound.run({"x": array}, options)
        np.testing.assert_array_equal(found, np.maximum(array + 1, 0))


def test_shapes_may_depend_on_values():
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Cast", ["places"], ["p"], to=FLOAT),
        helper.make_node("Relu", ["p"], ["y"]),
    ]
    model = model_of(nodes, {"x": (FLOAT, [1, 6])}, ["y"])
    arrays = [np.array([row], np.float32) for row in np.eye(6) + np.tri(6)]
    expected = counted(*(np.array(np.nonzero(array), np.float32) for array in arrays))
    assert observe_arrays(loaded(model), ["p"], arrays, threads=1) == {"p": expected}


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.FLOAT16, np.float16),
        (TensorProto.DOUBLE, np.float64),
        (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
    ],
)
def test_other_floating_point_types_are_counted_as_float32(kind, dtype):
    nodes = [helper.make_node("Cast", ["x"], ["c"], to=kind), helper.make_node("Cast", ["c"], ["y"], to=FLOAT)]
    arrays = [normal(1, 9), normal(1, 9)]
    found = observe_arrays(loaded(model_of(nodes, {"x": (FLOAT, [1, 9])}, ["y"])), ["c"], arrays)
    assert found == {"c": counted(*(array.astype(dtype).astype(np.float32) for array in arrays))}


@pytest.mark.parametrize(
    ("kind", "dtype"), [(TensorProto.FLOAT16, np.float16), (TensorProto.BFLOAT16, ml_dtypes.bfloat16)]
)
def test_inputs_of_other_floating_point_types_are_fed_and_counted(kind, dtype):
    nodes = [helper.make_node("Cast", ["x"], ["c"], to=FLOAT), helper.make_node("Relu", ["c"], ["y"])]
    arrays = [normal(1, 9).astype(dtype)]
    found = observe_arrays(loaded(model_of(nodes, {"x": (kind, [1, 9])}, ["y"])), ["x", "c"], arrays)
    assert found["x"] == found["c"] == counted(arrays[0].astype(np.float32))


def test_strings_and_arrays_that_are_not_contiguous_are_fed():
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["words"],
            ["numbers"],
            domain="ai.onnx.ml",
            keys_strings=["ja", "nein"],
            values_floats=[1.5, -2.0],
        ),
        helper.make_node("Add", ["numbers", "x"], ["y"]),
    ]
    model = model_of(nodes, {"words": (TensorProto.STRING, [3]), "x": (FLOAT, [2, 3])}, ["y"])
    words, x = np.array(["ja", "nein", "ja"], object), normal(3, 2).T
    batch = Batch({"words": words, "x": x}, ("a.npz",), 1)
    found = observe(loaded(model), ["y"], [0], lambda _: batch)
    assert found == {"y": counted(x + np.array([1.5, -2.0, 1.5], np.float32))}


def test_a_tensor_that_is_not_floating_point_is_refused():
    nodes = [helper.make_node("Cast", ["x"], ["c"], to=TensorProto.INT32), helper.make_node("Neg", ["c"], ["y"])]
    with pytest.raises(ModelError, match=r"'c' is tensor\(int32\)"):
        observe_arrays(loaded(model_of(nodes, {"x": (FLOAT, [4])}, ["y"])), ["c"], [normal(4)])


def test_a_tensor_that_is_not_there_is_refused():
    with pytest.raises(ModelError, match="No node of the model computes the tensor 'nowhere'"):
        observe_arrays(loaded(relu_model()), ["nowhere", "s"], [normal(1, 4)])


@pytest.mark.parametrize("threads", [1, 4])
def test_not_a_number_stops_with_the_tensor_and_the_file_of_the_earliest_batch(threads):
    nodes = [helper.make_node("Log", ["x"], ["logarithm"]), helper.make_node("Sqrt", ["logarithm"], ["y"])]
    model = model_of(nodes, {"x": (FLOAT, ["N", 4])}, ["y"])
    arrays = [np.full((2, 4), 3.0, np.float32) for _ in range(9)]
    for index in (5, 6, 8):
        arrays[index][1, 2] = -1.0
    with pytest.raises(ModelError) as caught:
        observe_arrays(loaded(model), ["y", "logarithm"], arrays, threads=threads)
    assert "'logarithm' holds 1 values that are NaN or Inf, the first NaN, for sample5.1.npy." in caught.value.message
    assert caught.value.hint


def test_infinity_where_samples_cannot_be_told_apart_names_all_files():
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]), helper.make_node("Reciprocal", ["t"], ["y"])]
    model = model_of(nodes, {"x": (FLOAT, ["N", 3])}, ["y"])
    array = np.ones((5, 3), np.float32)
    array[2] = 0.0
    with pytest.raises(ModelError, match=r"the first Inf, for sample0\.0\.npy, .*, sample0\.2\.npy and 2 more\."):
        observe_arrays(loaded(model), ["y"], [array])


def test_not_a_number_in_an_input_is_the_fault_of_the_data():
    array = normal(1, 4)
    array[0, 1] = np.nan
    with pytest.raises(DataError, match=r"input 'x' holds 1 values .* for sample0\.0\.npy"):
        observe_arrays(loaded(relu_model()), ["x"], [array])


class BrokenSampleError(Exception):
    pass


@pytest.mark.parametrize("threads", [1, 3])
def test_what_load_raises_comes_through_from_the_earliest_batch(threads):
    def load(index):
        if index >= 4:
            raise BrokenSampleError(index)
        return Batch({"x": normal(1, 4)}, (f"{index}",), 1)

    with pytest.raises(BrokenSampleError, match=r"^4$"):
        observe(loaded(relu_model()), ["s"], range(10), load, threads=threads)


def test_a_batch_that_cannot_be_loaded_whole_is_left_out_but_done():
    arrays, told = [normal(1, 4) for _ in range(4)], []
    load = loader(arrays)
    found = observe(
        loaded(relu_model()),
        ["s"],
        range(4),
        lambda index: None if index == 2 else load(index),
        on_batch=lambda done, total: told.append((done, total)),
    )
    assert found == {"s": counted(arrays[0] + 1, arrays[1] + 1, arrays[3] + 1)}
    assert told[-1] == (4, 4)
    assert sorted(told) == told


def test_an_input_without_an_array_is_named():
    with pytest.raises(DataError, match=r"input 'x', only for \['z'\]"):
        observe(loaded(relu_model()), ["s"], [0], lambda _: Batch({"z": normal(1, 4)}, ("a",), 1))


def endless_model():
    """A Loop of hours stands for a large model: the interrupt has to get into the run."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Mul", ["v", "v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, [8]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", FLOAT, [8]),
        ],
    )
    nodes = [helper.make_node("Loop", ["trips", "true", "x"], ["y"], body=body)]
    return model_of(nodes, {"x": (FLOAT, [8])}, ["y"], {"trips": np.int64(1 << 60), "true": np.bool_(True)})


def test_interruption_ends_every_run_and_every_thread():
    started = threading.Event()

    def load(index):
        if index == 1:
            return None
        started.set()
        return Batch({"x": np.ones(8, np.float32)}, ("a",), 1)

    def interrupt(done, total):
        """What Ctrl-C does to the main thread, once a run is under way."""
        started.wait()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        observe(loaded(endless_model()), ["y"], [0, 1], load, threads=2, on_batch=interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("observe")]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_interruption_ends_a_run_of_the_runner():
    found = Runner(source_of(endless_model()))
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        found.run(Batch({"x": np.ones(8, np.float32)}, ("a",), 1))
    timer.join()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("run")]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_interruption_ends_runs_that_are_abreast():
    found = Runner(source_of(endless_model()), threads=1, abreast=2)
    batch = Batch({"x": np.ones(8, np.float32)}, ("a",), 1)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        list(found.run_each([batch, batch, batch]))
    timer.join()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("run")]


@pytest.mark.parametrize("abreast", [1, 2])
def test_batches_that_run_abreast_come_in_their_order(abreast):
    found = Runner(source_of(relu_model()), abreast=abreast)
    batches = [Batch({"x": normal(2, 4) + number, "more": normal(1)}, ("a", "b"), 2) for number in range(7)]
    for batch, outputs in zip(batches, found.run_each(iter(batches)), strict=True):
        np.testing.assert_array_equal(outputs["y"], found.run(batch)["y"])
    begun = found.run_each(batches)
    next(begun)
    begun.close()  # nothing is left running, and the runner serves on
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("run")]
    assert list(found.run_each([])) == []
    with pytest.raises(ModelError, match="cannot run the model on a, b"):
        list(found.run_each([batches[0], Batch({"x": normal(1, 3)}, ("a", "b"), 2)]))


def test_few_workers_start_where_tensors_are_large(monkeypatch):
    monkeypatch.setattr(runner, "_MEMORY_BYTES", 3 * 4 * 8)
    arrays, threads = [normal(1, 4) for _ in range(40)], set()
    load = loader(arrays)

    def noting(index):
        threads.add(threading.get_ident())
        return load(index)

    found = observe(loaded(relu_model()), ["s", "y"], range(40), noting, threads=8)
    assert found["s"].count == 160
    assert len(threads) <= 3


def test_an_operator_nobody_knows_is_a_sentence_and_nothing_is_printed(capfd):
    model = model_of([helper.make_node("NoSuchOperator", ["x"], ["y"])], {"x": (FLOAT, [4])}, ["y"])
    with pytest.raises(ModelError) as caught:
        observe_arrays(loaded(model), ["y"], [normal(4)])
    assert caught.value.message.startswith("ONNX Runtime cannot load the model: ")
    assert "NoSuchOperator" in caught.value.message
    assert "ONNXRuntimeError" not in caught.value.message
    assert capfd.readouterr() == ("", "")


def test_a_run_that_fails_is_a_sentence_with_the_file_and_nothing_is_printed(capfd):
    nodes = [helper.make_node("Gather", ["table", "places"], ["y"], name="look up")]
    model = model_of(nodes, {"places": (TensorProto.INT64, ["N"])}, ["y"], {"table": normal(4, 2)})
    arrays = [np.array([1]), np.array([9])]
    with pytest.raises(ModelError) as caught:
        observe(loaded(model), ["y"], [0, 1], loader(arrays, "places"), threads=1)
    assert "ONNX Runtime cannot run the model on sample1.0.npy: " in caught.value.message
    assert "'look up'" in caught.value.message
    assert "onnxruntime_src" not in caught.value.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("array", [normal(1, 5), normal(4), np.ones((1, 4), np.int32)])
def test_arrays_of_another_shape_or_type_are_refused(array):
    with pytest.raises(ModelError, match="run the model on"):
        observe_arrays(loaded(relu_model()), ["s"], [array])


def test_weights_may_lie_in_a_file(tmp_path):
    model, arrays = conv_model(), [normal(1, 3, 6, 6)]
    path = tmp_path / "a folder with spaces, ümlaut" / "m.onnx"
    path.parent.mkdir()
    written = onnx.ModelProto.FromString(model.SerializeToString())  # saving moves the weights out of what it is given
    onnx.save(written, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert observe_arrays(files.load(path).model, ["a1"], arrays) == observe_arrays(loaded(model), ["a1"], arrays)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_large_weights_of_any_type_arrive(dtype):
    weight = normal(40, 40).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [helper.make_node("Cast", ["w"], ["c"], to=FLOAT), helper.make_node("MatMul", ["x", "c"], ["y"])]
    model = model_of(nodes, {"x": (FLOAT, ["N", 40])}, ["y"])
    raw = weight.view(np.uint16).tobytes() if weight.itemsize == 2 else weight.tobytes()
    model.graph.initializer.append(helper.make_tensor("w", kind, weight.shape, raw, raw=True))
    rows = np.eye(40, dtype=np.float32)[:7]
    assert observe_arrays(loaded(model), ["y"], [rows]) == {"y": counted(weight[:7].astype(np.float32))}


def test_the_model_is_left_as_it_is():
    model = loaded(conv_model())
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    tensors = [value.const_value for value in model.graph.initializers.values()]
    observe_arrays(model, ["a0"], [normal(1, 3, 6, 6)])
    assert [value.const_value for value in model.graph.initializers.values()] == tensors
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_an_initializer_that_is_an_input_may_be_fed_or_not():
    model = relu_model(["N", 400])
    model.graph.initializer.append(numpy_helper.from_array(np.full(400, 2.0, np.float32), "bias"))
    model.graph.input.append(helper.make_tensor_value_info("bias", FLOAT, [400]))
    model.graph.node[0].input[1] = "bias"
    array = normal(1, 400)
    assert observe_arrays(loaded(model), ["s"], [array]) == {"s": counted(array + 2)}


def test_set_outputs_keeps_what_is_needed_and_nothing_else():
    inner = helper.make_graph([helper.make_node("Add", ["a", "w"], ["r"])], "then", [], [onnx.ValueInfoProto(name="r")])
    copy = helper.make_node("Identity", ["a"], ["same"])
    other = helper.make_graph([copy], "else", [], [onnx.ValueInfoProto(name="same")])
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("If", ["flag"], ["b"], then_branch=inner, else_branch=other),
        helper.make_node("Mul", ["b", "unused"], ["y"]),
    ]
    weights = {"w": normal(1), "unused": normal(1)}
    model = model_of(nodes, {"x": (FLOAT, [1]), "flag": (TensorProto.BOOL, [])}, ["y"], weights)
    set_outputs(model, ["b", "a"])
    assert [value.name for value in model.graph.output] == ["a", "b"]
    assert [node.op_type for node in model.graph.node] == ["Relu", "If"]
    assert [tensor.name for tensor in model.graph.initializer] == ["w"]
    assert [value.name for value in model.graph.input] == ["x", "flag"]
    ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def test_runner_gives_the_outputs_of_the_model_as_it_is_written(tmp_path):
    path = tmp_path / "model with spaces.onnx"
    onnx.save(relu_model(), path)
    batch = Batch({"x": normal(2, 4), "more": normal(1)}, ("a", "b"), 2)
    found = Runner(Source(path)).run(batch)
    assert list(found) == ["y"]
    np.testing.assert_array_equal(found["y"], np.maximum(batch.arrays["x"] + 1, 0))


def test_runner_leaves_quantization_in_place():
    """With optimizations on, ONNX Runtime may move or drop Q/DQ; as written, y has the steps of the scale."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    weights = {"scale": np.float32(0.25).reshape(()), "zero": np.int8(0).reshape(())}
    model = model_of(nodes, {"x": (FLOAT, ["N"])}, ["y"], weights)
    x = normal(50)
    found = Runner(source_of(model), threads=1).run(Batch({"x": x}, ("a",), 1))
    np.testing.assert_array_equal(found["y"], np.round(x * 4) / 4)


def test_runner_says_what_it_cannot_load_or_run(tmp_path):
    path = Path(tmp_path / "model.onnx")
    path.write_bytes(b"no model")
    with pytest.raises(ModelError, match="ONNX Runtime cannot load the model: "):
        Runner(Source(path))
    with pytest.raises(ModelError, match=r"ONNX Runtime cannot run the model on a, b: "):
        Runner(source_of(relu_model())).run(Batch({"x": normal(1, 3)}, ("a", "b"), 2))
    with pytest.raises(DataError, match="'x'"):
        Runner(source_of(relu_model())).run(Batch({}, ("a",), 1))
