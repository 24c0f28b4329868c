"""Shapes of one sample: those that full inference finds, by name where names say enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from qdq_cli.model import files
from qdq_cli.preparing import settle
from qdq_cli.preparing.prepare import infer_shapes, prepare
from qdq_cli.preparing.settle import settle_one_sample, take_one_sample
from tests.networks import Network

MODELS = sorted((Path(__file__).parents[2] / "sample_models").glob("*.onnx"))


def shapes_of(model: ir.Model) -> dict[str | None, list[str] | None]:
    values = (*model.graph.inputs, *(value for node in model.graph for value in node.outputs))
    return {
        value.name: None if value.shape is None else [str(dim) for dim in value.shape] for value in values if value.name
    }


def named(*shapes: tuple[int | str, ...]) -> ir.Model:
    """A product of two inputs behind Relus."""
    net = Network()
    first, second = (net.relu(net.input(f"x{number}", shape)) for number, shape in enumerate(shapes))
    return net.model(net.op("MatMul", first, second, name="y"))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_shapes_are_those_of_a_second_inference(path: Path):
    inferred, settled = (prepare(files.load(path).model).model for _ in range(2))
    assert take_one_sample(inferred) == settle_one_sample(settled)
    infer_shapes(inferred)
    assert shapes_of(settled) == shapes_of(inferred)


def test_names_that_say_enough_take_no_inference(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settle, "infer_shapes", lambda model: pytest.fail("inferred again"))
    model = named(("batch", 2, 3), ("batch", 3, 4))
    assert settle_one_sample(model)
    assert shapes_of(model)["y"] == ["1", "2", "4"]


@pytest.mark.parametrize(
    ("shapes", "result"),
    [
        ((("n", 2, "n"), ("n", "n", 4)), ["1", "2", "4"]),  # the batch and another dimension
        (((None, 2, 3), (None, 3, 4)), ["1", "2", "4"]),  # without a name
        ((("n", 2, "k"), ("n", "k", "m")), ["1", "2", "m"]),  # others stay open
    ],
)
def test_names_that_say_too_little(shapes, result):
    model = named(*shapes)
    assert settle_one_sample(model)
    assert shapes_of(model)["y"] == result


def test_a_name_of_another_dimension_keeps_it_open():
    model = named(("n", 2, "n"), ("n", "n", 4))
    settle_one_sample(model)
    assert shapes_of(model)["relu_1"] == ["1", "2", "n"]


def test_a_fixed_batch_is_left_alone():
    model = named((5, 2, 3), (5, 3, 4))
    before = shapes_of(model)
    assert not settle_one_sample(model)
    assert shapes_of(model) == before
    assert np.prod(model.graph.outputs[0].shape.numpy()) == 40
