"""What `--layers` says of operators in the bodies of If, Loop and Scan: what it says of them in the main graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from calibrators import sqnr_db
from qdq_cli.comparing.compare import compare_models
from qdq_cli.comparing.record import Comparison
from qdq_cli.config.compare import CompareConfig
from qdq_cli.config.data import DataConfig
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.data.batches import Batch
from qdq_cli.process.errors import ModelError
from qdq_cli.quantizing.pipeline import quantize_model
from qdq_cli.running.tensors import TensorRunner
from tests.bodies import BRANCHES, NESTED, ROUNDS, SCANNED, bodies, in_a_branch, samples
from tests.comparing.models import chain, comparable, compare, write_samples

COUNT = 8
EVERY = {
    "branches": (BRANCHES, {"c": np.arange(COUNT) % 2 == 0}, {"z", "h", "a", "h_1"}),
    "rounds": (ROUNDS, {"n": np.arange(COUNT) % 4}, {"p"}),
    "nested": (NESTED, {"n": np.ones(COUNT, np.int64), "c": np.arange(COUNT) % 2 == 0}, {"p", "a", "b"}),
    "scanned": (SCANNED, {"rows": np.random.default_rng(3).normal(size=(COUNT, 4, 2, 16)).astype("f4")}, {"t"}),
}
"""Network, inputs besides `x`, and the results of its quantized products."""


def compared(folder: Path, text: str, others: dict[str, np.ndarray]) -> Comparison:
    """The float model and what `qdq quantize` makes of it."""
    onnx.save(bodies(text), folder / "float.onnx")
    np.savez(folder / "data.npz", x=samples(COUNT), **others)
    data = DataConfig(calib=(folder / "data.npz",))
    quantize_model(QuantizeConfig(folder / "float.onnx", folder / "quantized.onnx", data))
    return compare_models(CompareConfig(folder / "float.onnx", folder / "quantized.onnx", data, layers=True))


@pytest.mark.parametrize(
    "broken",
    [{}, {"weight_scales": {"b": 2.0**-4}}, {"scales": {"a": 2.0**-9}}, {"scales": {"c": 0.5}}],
    ids=["as it is", "coarse weights", "cut activation", "coarse activation"],
)
def test_a_network_in_a_branch_is_told_of_as_in_the_main_graph(tmp_path: Path, broken: dict[str, dict[str, float]]):
    alone = compare(tmp_path, chain(**broken)).layers
    onnx.save(in_a_branch(chain(quantized=False)), tmp_path / "float.onnx")
    onnx.save(in_a_branch(chain(**broken)), tmp_path / "quantized.onnx")
    images = np.load(write_samples(tmp_path / "images.npz"))["images"]
    np.savez(tmp_path / "data.npz", images=images, taken=np.ones(len(images), bool))
    data = DataConfig(calib=(tmp_path / "data.npz",))
    inside = compare_models(
        CompareConfig(tmp_path / "float.onnx", tmp_path / "quantized.onnx", data, layers=True)
    ).layers
    assert alone is not None and inside is not None
    assert inside.ranked == alone.ranked
    assert inside.start == alone.start


@pytest.mark.parametrize("name", EVERY)
def test_every_quantized_product_has_its_numbers(tmp_path: Path, name: str):
    text, others, products = EVERY[name]
    layers = compared(tmp_path, text, others).layers
    assert layers is not None
    assert {layer.tensor for layer in layers.ranked if layer.local is not None} == products
    assert all(layer.node.startswith("MatMul") for layer in layers.ranked if layer.local is not None)
    assert sorted(layer.order for layer in layers.ranked) == list(range(len(layers.ranked)))


def test_numbers_are_of_all_rounds_and_of_what_each_model_hands_on(tmp_path: Path):
    found = compared(tmp_path, ROUNDS, {"n": np.arange(COUNT) % 4}).layers
    assert found is not None
    models = comparable(*(onnx.load(tmp_path / f"{name}.onnx") for name in ("float", "quantized")))
    held: list[dict[str, list[np.ndarray]]] = [{"s": [], "p": [], "t": []} for _ in models]
    arrays = np.load(tmp_path / "data.npz")
    for sample in range(COUNT):
        batch = Batch({name: np.asarray(arrays[name][sample]) for name in ("x", "n")}, ("one",), 1)
        for model, kept in zip(models, held, strict=True):
            for name, rounds in next(TensorRunner(model, list(kept)).run_each([batch])).items():
                kept[name] += rounds
    one, other = ({name: np.concatenate(rounds) for name, rounds in kept.items()} for kept in held)
    assert len(one["p"]) == 2 * (np.arange(COUNT) % 4).sum()
    for layer in found.ranked:
        assert layer.accumulated.sqnr_db == pytest.approx(sqnr_db(one[layer.tensor], other[layer.tensor]), abs=1e-3)
    (product,) = (layer for layer in found.ranked if layer.tensor == "p")
    assert product.local is not None and product.local.sqnr_db > product.accumulated.sqnr_db


def test_a_branch_that_no_sample_takes_is_said_to_be_left_out(tmp_path: Path):
    compared(tmp_path, BRANCHES, {"c": np.arange(COUNT) % 2 == 0})
    np.savez(tmp_path / "data.npz", x=samples(COUNT), c=np.zeros(COUNT, bool))
    data = DataConfig(calib=(tmp_path / "data.npz",))
    layers = compare_models(
        CompareConfig(tmp_path / "float.onnx", tmp_path / "quantized.onnx", data, layers=True)
    ).layers
    assert layers is not None
    assert {layer.tensor for layer in layers.ranked if layer.local is not None} == {"z", "h_1"}
    assert {"h", "r", "a"} <= set(layers.not_compared)


def test_rounds_of_a_branch_in_a_loop_that_it_is_not_always_taken_in_are_left_out(tmp_path: Path):
    """What the loop handed to which round of the branch is not known; the loop itself is measured."""
    text = NESTED.replace("t = If (c)", "zero = Constant <value_int = 0> ()  f = Equal (i, zero)  t = If (f)")
    text = text.replace(", bool c)", ")")
    layers = compared(tmp_path, text, {"n": 1 + np.arange(COUNT) % 3}).layers
    assert layers is not None
    assert "p" in {layer.tensor for layer in layers.ranked if layer.local is not None}


LOOPS = """
agraph (float[N,16] x, int64 n) => (float[N,16] y)
<bool yes = {1}>
{
  y = Loop (n, yes, x) <
    body = outer (int64 i, bool go, float[N,16] s) => (bool on, float[N,16] t) {
      on = Identity (go)
      p = MatMul (s, w0)
      q = Tanh (p)
      more = Add (i, i)
      t = Loop (more, go, q) <
        body = inner (int64 j, bool gone, float[N,16] u) => (bool still, float[N,16] v)
        { still = Identity (gone)  k = MatMul (q, w1)  v = Add (u, k) }
      >
    }
  >
}
"""
"""Two rounds have none and two of the loop inside: what q was in each of them cannot be told by counting."""


def test_a_loop_in_a_loop_is_measured_where_one_value_of_the_outer_one_serves_all_rounds(tmp_path: Path):
    layers = compared(tmp_path, LOOPS, {"n": np.full(COUNT, 2)}).layers
    assert layers is not None
    assert {layer.tensor for layer in layers.ranked if layer.local is not None} == {"p"}
    assert {"k", "v"} <= set(layers.not_compared)


def test_models_that_quantize_nothing_inside_and_share_nothing_else_are_refused(tmp_path: Path):
    onnx.save(bodies(ROUNDS), tmp_path / "float.onnx")
    onnx.save(bodies(ROUNDS), tmp_path / "same.onnx")
    np.savez(tmp_path / "data.npz", x=samples(COUNT), n=np.ones(COUNT, np.int64))
    config = CompareConfig(
        tmp_path / "float.onnx", tmp_path / "same.onnx", DataConfig(calib=(tmp_path / "data.npz",)), layers=True
    )
    with pytest.raises(ModelError, match="share no tensor besides their inputs and outputs"):
        compare_models(config)
