"""The smallest and the largest value of tensors: exact, whatever the order, the threads and the layout in memory."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from calibrators import Extremes
from qdq_cli.running.outputs import taking_out
from qdq_cli.running.runner import observe
from qdq_cli.running.watched import Watched
from tests.networks import Network
from tests.running.test_runner import conv_model, loaded, loader, relu_model

RANDOM = np.random.default_rng(3)
EVERY = ["x", "c0", "a0", "c1", "a1", "c2", "a2"]


def extremes_of(model: onnx.ModelProto, tensors: list[str], arrays: list[np.ndarray], **options: int) -> dict:
    return observe(loaded(model), Watched((), tensors), range(len(arrays)), loader(arrays), **options).extremes


def test_extremes_are_those_of_the_histograms():
    """Convolutions in blocks of channels, or not: the widths are whole blocks, and one is not."""
    model = conv_model((3, 16, 24, 32))
    arrays = [RANDOM.normal(size=(1, 3, 9, 9)).astype(np.float32) for _ in range(7)]
    counted = observe(loaded(model), Watched(EVERY), range(7), loader(arrays)).histograms
    found = extremes_of(model, EVERY, arrays)
    assert list(found) == EVERY
    for name, histogram in counted.items():
        assert found[name].amax == pytest.approx(histogram.amax, rel=1e-6), name  # fused operators round elsewhere
        assert found[name].minimum == pytest.approx(histogram.minimum, rel=1e-6, abs=1e-6), name
    assert extremes_of(model, EVERY, arrays[::-1], threads=3) == found


def test_a_tensor_that_is_counted_is_not_looked_at_twice():
    arrays = [RANDOM.normal(size=(2, 4)).astype(np.float32)]
    found = observe(loaded(relu_model()), Watched(["y"], ["s", "y", "x"]), [0], loader(arrays))
    assert list(found.histograms) == ["y"]
    assert found.extremes == {
        "s": Extremes(float((arrays[0] + 1).min()), float((arrays[0] + 1).max())),
        "x": Extremes(float(arrays[0].min()), float(arrays[0].max())),
    }


def test_no_tensor_leaves_the_graph_for_its_extremes():
    with taking_out(loaded(conv_model((3, 16, 32))), ["a0"], 1, ["c0", "c1"]) as take_out:
        assert take_out.session is not None
        shapes = [value.shape for value in take_out.session.get_outputs()]
        assert take_out.tensors == ("a0",)
        assert take_out.extremes == ("c0", "c1")
        assert shapes[1:] == [[]] * 4


def test_infinite_values_and_empty_tensors_have_extremes_too():
    """A mask of -Inf is no fault of a model, and a batch can leave nothing over."""
    net = Network()
    x = net.input("x", ("N", 4))
    logs = net.op("Log", net.relu(x, "r"), name="logs")
    flat, low = net.op("Flatten", x, axis=0), net.op("Less", x, net.constant(np.float32(-9.0)))
    net.op("Compress", flat, net.op("Reshape", low, net.constant(np.int64([-1]))), axis=1, name="left")
    arrays = [np.float32([[-1.0, 1.0, 2.0, 0.5]])]
    found = extremes_of(net.proto("logs", "left"), [logs, "left"], arrays)
    assert found == {"logs": Extremes(-np.inf, float(np.log(np.float32(2.0)))), "left": Extremes()}
    assert found["left"].is_empty


def test_zero_has_one_sign():
    """A histogram knows one zero too; which one a maximum gives depends on the order."""
    net = Network()
    net.op("Neg", net.input("x", ("N", 4)), name="negated")
    found = extremes_of(net.proto("negated"), ["negated", "x"], [np.zeros((1, 4), np.float32)])
    assert {str(end) for seen in found.values() for end in (seen.minimum, seen.maximum)} == {"0.0"}


def test_names_like_those_of_the_extremes_do_no_harm():
    net = Network()
    net.relu(net.relu(net.input("x", ("N", 4)), "extremes_ReduceMin_0"), "extremes_")
    found = extremes_of(net.proto("extremes_"), ["extremes_ReduceMin_0"], [np.float32([[-1.0, 0.5, 2.0, 3.0]])])
    assert found["extremes_ReduceMin_0"] == Extremes(0.0, 3.0)
