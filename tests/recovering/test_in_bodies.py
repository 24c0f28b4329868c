"""Recovery in the bodies of If, Loop and Scan: as in the main graph, over all rounds and the samples that run them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

import qdq_cli.recovering.recover as recovery
from qdq_cli.config.data import DataConfig
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.config.recovery import DEFAULT_RECOVERY, RECOVERY_STEPS
from qdq_cli.data.batches import Batch
from qdq_cli.judging.candidate import Candidate, RoundedWeights, quantized_model, trial_model, with_constants
from qdq_cli.judging.trials import Trials
from qdq_cli.model.nodes import every_initializer
from qdq_cli.preparing.prepare import prepare
from qdq_cli.recovering.record import LayerGain
from qdq_cli.recovering.recover import Recovered, recover
from qdq_cli.recovering.rows import layers_of, take_rows
from qdq_cli.recovering.start import Start
from qdq_cli.running.tensors import TensorRunner
from tests.bodies import BRANCHES, NESTED, ROUNDS, SCANNED, bodies, in_a_branch, samples
from tests.networks import run
from tests.recovering.channel_networks import Net
from tests.recovering.starts import start_of, start_of_network

COUNT = 48
STATE = """
agraph (float[N,16] x, int64 n) => (float[N,16] y)
<bool yes = {1}>
{
  y = Loop (n, yes, x) <
    body = b (int64 i, bool go, float[N,16] s) => (bool on, float[N,16] t)
    { on = Identity (go)  p = MatMul (s, w0)  r = Relu (p)  q = MatMul (r, w1)  t = Add (s, q) }
  >
}
"""
"""A residual block in a loop."""

CHOSEN = """
agraph (float[N,16] x, bool c) => (float[N,16] y)
{
  z = MatMul (x, w0)
  y = If (c) <
    then_branch = yes () => (float[N,16] a) { h = MatMul (z, w1)  r = Relu (h)  a = MatMul (r, shared) },
    else_branch = no () => (float[N,16] b) { b = Tanh (z) }
  >
}
"""
"""A branch of which one product reads from outside, and one does not."""

MIXING = np.random.default_rng(5).normal(size=(4, 16)).astype(np.float32)
"""Inputs go together, which rounding one by one makes use of."""


def mixed(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    array = rng.normal(size=(*shape, 4)) @ MIXING + 0.1 * rng.normal(size=(*shape, 16))
    return (array / 2).astype(np.float32)


EVERY: dict[str, tuple[str, dict[str, NDArray[np.generic]], set[str]]] = {
    "branches": (BRANCHES, {"c": np.arange(COUNT) % 3 == 0}, {"MatMul_z", "MatMul_h"}),
    "rounds": (ROUNDS, {"n": 1 + np.arange(COUNT) % 4}, {"MatMul_p"}),
    "nested": (NESTED, {"n": 1 + np.arange(COUNT) % 3, "c": np.arange(COUNT) % 3 == 0}, {"MatMul_a"}),
    "scanned": (SCANNED, {"rows": mixed(COUNT, 8, 2, seed=3)}, {"MatMul_t"}),
    "state": (STATE, {"n": 1 + np.arange(COUNT) % 3}, {"MatMul_p", "MatMul_q"}),
}
"""Network, inputs besides `x`, and the products whose weight nothing else reads."""


def start_in(folder: Path, proto: onnx.ModelProto, others: dict[str, NDArray[np.generic]]) -> Start:
    path = folder / "samples.npz"
    np.savez(path, x=mixed(COUNT, 2 if "rows" in others else 32), **others)
    return start_of(ir.from_proto(proto), DataConfig(calib=(path,)))


def start_named(folder: Path, name: str) -> Start:
    text, others, _ = EVERY[name]
    return start_in(folder, bodies(text), others)


def noise(start: Start, candidate: Candidate) -> float:
    return Trials(start.model, start.split.load(start.split.judge)).noise(candidate)


def first(start: Start) -> Candidate:
    return Candidate(start.plan, start.ranges)


def feeds(start: Start) -> list[dict[str, NDArray[np.generic]]]:
    return [dict(batch.arrays) for batch in start.split.load(start.split.judge)]


@pytest.mark.parametrize("name", EVERY)
def test_layers_in_bodies_are_worked_on_and_outputs_gain(tmp_path: Path, name: str):
    start = start_named(tmp_path, name)
    before = ir.to_proto(start.model).SerializeToString()
    assert {layer.node for layer in layers_of(start.model, start.plan)} == EVERY[name][2]
    found = recover(start, DEFAULT_RECOVERY)
    assert {gain.where for gain in found.record.layers if gain.step == "gptq"} == EVERY[name][2]
    assert any(gain.accepted for gain in found.record.layers)
    assert noise(start, found.candidate) < noise(start, first(start))
    assert found.unseen == ()
    assert ir.to_proto(start.model).SerializeToString() == before


@pytest.mark.parametrize("step", RECOVERY_STEPS)
@pytest.mark.parametrize("name", ["branches", "state"])
def test_no_step_alone_makes_outputs_worse(tmp_path: Path, name: str, step: str):
    start = start_named(tmp_path, name)
    assert noise(start, recover(start, [step]).candidate) <= noise(start, first(start))


@pytest.mark.parametrize("name", EVERY)
def test_what_is_written_computes_what_the_judge_ran(tmp_path: Path, name: str):
    start = start_named(tmp_path, name)
    found = recover(start, RECOVERY_STEPS).candidate
    trial = trial_model(start.model, found, RoundedWeights())
    written = quantized_model(start.model, found, weights=WeightForm.INT8, form=Form.PAIRS).model
    onnx.checker.check_model(ir.to_proto(written), full_check=True)
    for feed in feeds(start):
        np.testing.assert_array_equal(run(trial, feed)[0], run(written, feed)[0])


def convnet() -> onnx.ModelProto:
    """Convolutions, a residual Add and a classifier."""
    net = Net()
    a = net.relu(net.conv(net.input("x", (1, 3, 6, 6)), 8, "a", scale=None), "r")
    b = net.relu(net.add(net.conv(a, 8, "b", scale=None), a, "sum"), "s")
    pooled = net.op("Flatten", net.op("GlobalAveragePool", b, name="pool"), name="flat")
    return net.proto(net.gemm(pooled, 8, 5, "y", scale=None))


def constants(found: Recovered) -> dict[str, dict[str, NDArray[np.generic]]]:
    candidate = found.candidate
    return {
        "weights": dict(candidate.weights),
        "biases": dict(candidate.biases),
        "scales": dict(candidate.weight_ranges),
        "base": dict(candidate.base),
    }


def test_a_network_in_a_branch_recovers_to_the_same_as_in_the_main_graph(tmp_path: Path):
    proto = convnet()
    alone, inside = (
        recover(start_of_network(tmp_path, model), RECOVERY_STEPS) for model in (proto, in_a_branch(proto))
    )
    assert sorted(kept.amax for kept in inside.candidate.ranges) == sorted(kept.amax for kept in alone.candidate.ranges)
    for kind, expected in constants(alone).items():
        found = constants(inside)[kind]
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, f"{kind} of {name}")
    assert constants(alone)["weights"] and constants(alone)["base"]
    assert inside.record == alone.record


def test_equalizing_in_a_loop_changes_nothing_but_the_widths(tmp_path: Path):
    proto = bodies(STATE)
    wide = np.exp2(np.arange(16) % 6).astype(np.float32)
    for tensor in proto.graph.initializer:
        if tensor.name in ("w0", "w1"):
            factor = wide if tensor.name == "w0" else 1 / wide[:, None]
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * factor, tensor.name))
    start = start_in(tmp_path, proto, {"n": 1 + np.arange(COUNT) % 3})
    found = recover(start, ["equalize"])
    (verdict,) = found.record.layers
    assert (verdict.where, verdict.accepted) == ("r", True)
    assert found.record.after_db > found.record.before_db + 3
    assert set(found.candidate.base) == {"w0", "w1"}
    equalized = with_constants(start.model, found.candidate.base)
    for feed in feeds(start):
        np.testing.assert_allclose(run(equalized, feed)[0], run(start.model, feed)[0], rtol=1e-4, atol=1e-5)


def test_what_crosses_the_edge_of_a_body_keeps_its_values(tmp_path: Path):
    """z goes into both branches of an If, and nothing is made wider in front of them."""
    start = start_named(tmp_path, "branches")
    found = recover(start, ["equalize"])
    assert {gain.where for gain in found.record.layers} <= {"r"}
    assert "w0" not in found.candidate.base


def of_a_run(text: str, **others: object) -> tuple[ir.Model, Batch]:
    model = prepare(ir.from_proto(bodies(text))).model
    arrays = {"x": samples(1)[0], **{name: np.asarray(value) for name, value in others.items()}}
    return model, Batch(arrays, ("one",), 1)


def in_the_loop(model: ir.Model, batch: Batch) -> list[NDArray[np.float64]]:
    """The state in front of each round, by hand."""
    stored = {name: value.const_value.numpy() for name, value in every_initializer(model.graph).items()}
    states = [batch.arrays["x"].astype(np.float64)]
    for _ in range(int(batch.arrays["n"])):
        states.append(states[-1] + np.maximum(states[-1] @ stored["w0"], 0) @ stored["w1"])
    return states


@pytest.mark.parametrize("number", [0, 1, 5])
def test_every_round_of_a_loop_is_handed_out(number: int):
    model, batch = of_a_run(STATE, n=number)
    (found,) = TensorRunner(model, ["x", "s", "t", "y"]).run_each([batch])
    states = in_the_loop(model, batch)
    assert [len(found[name]) for name in "xsty"] == [1, number, number, 1]
    for name, expected in (("s", states[:-1]), ("t", states[1:]), ("y", states[-1:])):
        for one, other in zip(found[name], expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("count", "rows"), [(100, 10), (10, 10), (5, 5), (3, 3)])
def test_rows_are_taken_evenly_out_of_all_rounds(tmp_path: Path, count: int, rows: int):
    """Five rounds of two rows each: no round gives more than one row more than asked of it."""
    start = start_named(tmp_path, "state")
    model, batch = of_a_run(STATE, n=5)
    layer = next(layer for layer in layers_of(start.model, start.plan) if layer.node == "MatMul_p")
    found = take_rows(model, [layer], [batch], {"MatMul_p": count})["MatMul_p"]
    assert found.shape == (rows, 1, 16)
    states = np.concatenate(in_the_loop(model, batch)[:-1])
    places = [int(np.abs(states - row).sum(axis=1).argmin()) for row in found[:, 0]]
    np.testing.assert_allclose(found[:, 0], states[places], rtol=1e-4, atol=1e-5)
    by_round = np.bincount(np.array(places) // 2, minlength=5)
    assert len(set(places)) == rows
    assert by_round.max() - by_round.min() <= (1 if rows % 5 else 0)


@pytest.mark.parametrize("part", ["learn", "judge"])
def test_a_layer_that_too_few_samples_run_is_left_alone_and_told(tmp_path: Path, part: str):
    every = start_in(tmp_path, bodies(CHOSEN), {"c": np.ones(COUNT, bool)})
    chosen = [index for group in getattr(every.split, part) for index in group]
    start = start_in(tmp_path, bodies(CHOSEN), {"c": np.isin(np.arange(COUNT), chosen)})
    found = recover(start, RECOVERY_STEPS)
    assert found.unseen == ("MatMul_h", "MatMul_a")
    assert {gain.where for gain in found.record.layers if gain.step == "gptq"} == {"MatMul_z"}
    assert set(found.candidate.weights) <= {"w0"}
    assert noise(start, found.candidate) <= noise(start, first(start))


@pytest.mark.parametrize("steps_before", [1, 5, 12])
def test_an_interrupted_run_ends_alike_and_knows_what_it_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps_before: int
):
    """A portion for each of three layers; no sample to learn from takes the branch that two of them are in."""
    monkeypatch.setattr("qdq_cli.recovering.rows._ROWS_BYTES", 1)
    every = start_in(tmp_path, bodies(CHOSEN), {"c": np.ones(COUNT, bool)})
    chosen = [index for group in every.split.judge for index in group]
    start = start_in(tmp_path, bodies(CHOSEN), {"c": np.isin(np.arange(COUNT), chosen)})
    expected = recover(start, RECOVERY_STEPS)
    take_step, taken = recovery._take_step, []

    def interrupted(*arguments: object) -> list[LayerGain]:
        if len(taken) == steps_before:
            raise KeyboardInterrupt
        taken.append(arguments[0])
        return take_step(*arguments)  # type: ignore[arg-type]

    kept = replace(start, journal=tmp_path / "journal")
    monkeypatch.setattr(recovery, "_take_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recover(kept, RECOVERY_STEPS)
    assert (tmp_path / "journal").exists()
    monkeypatch.setattr(recovery, "_take_step", take_step)
    found = recover(kept, RECOVERY_STEPS)
    assert found.record == expected.record
    assert found.candidate.ranges == expected.candidate.ranges
    assert found.unseen == expected.unseen == ("MatMul_h", "MatMul_a")
    assert not (tmp_path / "journal").exists()
