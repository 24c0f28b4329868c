"""Tensors in the bodies of If, Loop and Scan are observed over every round, and where a branch is taken alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from calibrators import Extremes, Histogram
from qdq_cli.data.batches import Batch
from qdq_cli.running.inside import rounds
from qdq_cli.running.outputs import part_for
from qdq_cli.running.runner import Runner, observe
from qdq_cli.running.watched import Watched
from tests.running.test_runner import loaded

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'


def observed(text: str, tensors: list[str], feeds: list[dict[str, np.ndarray]], threads: int = 1):
    """The histograms of tensors of a model that is written in ONNX's own language."""
    model = onnx.parser.parse_model(f"{HEAD}\n{text}")
    onnx.checker.check_model(model, full_check=True)
    model = onnx.shape_inference.infer_shapes(model)

    def load(index: int) -> Batch:
        return Batch(feeds[index], (f"sample{index}.npy",), 1)

    return observe(loaded(model), Watched(tensors), range(len(feeds)), load, threads=threads).histograms


def counting(*arrays: np.ndarray) -> Histogram:
    histogram = Histogram()
    for array in arrays:
        histogram.observe(array.astype(np.float32))
    return histogram


def rows(count: int, seed: int = 0) -> list[np.ndarray]:
    return [np.random.default_rng([seed, number]).normal(size=(1, 4)).astype(np.float32) for number in range(count)]


BRANCHES = """
agraph (float[N,4] x, bool c) => (float[N,4] y)
{
  y = If (c) <
    then_branch = yes () => (float[N,4] a) { d = Add (x, x)  a = Relu (d) },
    else_branch = no () => (float[N,4] b) { b = Neg (x) }
  >
}
"""


ROUNDS_WITH_BRANCHES = """
agraph (float[N,4] x, int64 n, bool c, bool no) => (float[N,4] y)
<bool yes = {1}>
{
  y = Loop (n, yes, x) <
    body = b (int64 i, bool go, float[N,4] s) => (bool on, float[N,4] t) {
      on = Identity (go)
      h = Neg (s)
      d = If (c) <
        then_branch = then () => (float[N,4] b) { b = Add (h, h) },
        else_branch = else () => (float[N,4] e) {
          e = If (no) < then_branch = in () => (float[N,4] q) { q = Add (s, s) },
                        else_branch = out () => (float[N,4] r) { r = Identity (s) } >
        }
      >
      t = Sub (d, h)
    }
  >
}
"""


@pytest.mark.parametrize("threads", [1, 3])
def test_a_branch_is_observed_where_it_is_taken(threads: int):
    arrays = rows(7)
    feeds = [{"x": array, "c": np.array(number % 3 == 0)} for number, array in enumerate(arrays)]
    found = observed(BRANCHES, ["d", "x", "b"], feeds, threads)
    assert found["d"] == counting(*(2 * array for array in arrays[::3]))
    assert found["b"] == counting(*(-array for number, array in enumerate(arrays) if number % 3))
    assert found["x"] == counting(*arrays)


def test_a_branch_that_is_never_taken_has_no_values():
    found = observed(BRANCHES, ["d", "b"], [{"x": rows(1)[0], "c": np.array(False)}])
    assert (found["d"].count, found["b"].count) == (0, 4)


def test_a_loop_is_observed_in_every_round_whatever_shape_its_tensors_have():
    text = """
    agraph (float[N,4] x, int64 n) => (float[M,4] y)
    <bool yes = {1}>
    {
      y = Loop (n, yes, x) <
        body = b (int64 i, bool go, float[K,4] s) => (bool on, float[L,4] t)
        { on = Identity (go)  h = Neg (s)  t = Concat <axis = 0> (s, h) }
      >
    }
    """
    (array,) = rows(1)
    found = observed(text, ["s", "h"], [{"x": array, "n": np.array(3)}, {"x": array, "n": np.array(0)}])
    states = [array]
    for _ in range(2):
        states.append(np.concatenate([states[-1], -states[-1]]))
    assert found["s"] == counting(*states)
    assert found["h"] == counting(*(-state for state in states))


def test_bodies_in_bodies_are_observed():
    """A branch in a loop, whose weight comes from the main graph, in a branch: taken in the odd rounds."""
    text = """
    agraph (float[1,4] x, bool c, int64 n) => (float[1,4] y)
    <bool yes = {1}, float two = {2}, int64 zero = {0}, int64 half = {2}>
    {
      y = If (c) <
        then_branch = outer () => (float[1,4] z) {
          z = Loop (n, yes, x) <
            body = b (int64 i, bool go, float[1,4] s) => (bool on, float[1,4] t) {
              on = Identity (go)
              r = Mod (i, half)
              odd = Greater (r, zero)
              t = If (odd) <
                then_branch = one () => (float[1,4] p) { p = Mul (s, two) },
                else_branch = other () => (float[1,4] q) { q = Neg (s) }
              >
            }
          >
        },
        else_branch = none () => (float[1,4] w) { w = Abs (x) }
      >
    }
    """
    first, second = rows(2)
    feeds = [{"x": array, "c": np.array(array is first), "n": np.array(4)} for array in (first, second)]
    found = observed(text, ["p", "q", "w", "s"], feeds)
    assert found["q"] == counting(-first, 2 * first)
    assert found["p"] == counting(-2 * first, 4 * first)
    assert found["s"] == counting(first, -first, -2 * first, 2 * first)
    assert found["w"] == counting(np.abs(second))


def test_a_scan_is_observed_over_all_it_scans():
    text = """
    agraph (float[1,4] x, float[T,4] rows) => (float[1,4] y, float[T,4] z)
    {
      y, z = Scan <num_scan_inputs = 1, scan_output_axes = [0],
        body = b (float[1,4] s, float[4] row) => (float[1,4] t, float[4] out)
        { d = Mul (s, row)  t = Add (d, s)  out = Identity (row) }
      > (x, rows)
    }
    """
    state, scanned = rows(1)[0], np.concatenate(rows(5, seed=1))
    found = observed(text, ["d", "row"], [{"x": state, "rows": scanned}])
    products = []
    for row in scanned:
        products.append(state * row)
        state = state + products[-1]
    assert found["d"] == counting(*products)
    assert found["row"] == counting(scanned)


def test_half_floats_leave_as_they_are():
    text = BRANCHES.replace("float[", "float16[")
    array = rows(1)[0].astype(np.float16)
    found = observed(text, ["d", "b"], [{"x": array, "c": np.array(True)}])
    assert found["d"] == counting((2 * array).astype(np.float32))
    assert found["b"].count == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_the_extremes_of_a_body_are_those_of_its_histograms(threads: int):
    """Over all rounds, and of a branch that is never taken none."""
    arrays = rows(5)
    feeds = [
        {"x": array, "n": np.array(number), "c": np.array(number > 2), "no": np.array(False)}
        for number, array in enumerate(arrays)
    ]
    names = ["s", "h", "b", "q"]
    counted = observed(ROUNDS_WITH_BRANCHES, names, feeds)
    model = loaded(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(f"{HEAD}\n{ROUNDS_WITH_BRANCHES}")))
    watched = Watched(("h",), ("s", "b", "q"))
    found = observe(model, watched, range(5), lambda i: Batch(feeds[i], (f"{i}.npy",), 1), threads=threads)
    assert found.histograms == {"h": counted["h"]}
    assert {name: each for name, each in found.extremes.items() if not each.is_empty} == {
        name: Extremes.of(counted[name]) for name in ("s", "b")
    }
    assert found.extremes["q"].is_empty


def test_tensors_of_a_body_leave_it_round_by_round():
    """As they are, whatever shape each round gives them; nothing where no round is run."""
    text = """
    agraph (float[N,4] x, int64 n) => (float[M,4] y)
    <bool yes = {1}>
    {
      y = Loop (n, yes, x) <
        body = b (int64 i, bool go, float[K,4] s) => (bool on, float[L,4] t) {
          on = Identity (go)
          h = Neg (s)
          sum = ReduceSum <keepdims = 0> (h)
          t = Concat <axis = 0> (s, h)
        }
      >
    }
    """
    part = part_for(loaded(onnx.parser.parse_model(f"{HEAD}\n{text}")), ["h", "sum", "y"], shaped=["h", "sum"])
    runner, (array,) = Runner(part.source), rows(1)

    def held_by(count: int) -> dict[str, list[np.ndarray]]:
        found = runner.run(Batch({"x": array, "n": np.array(count)}, ("a",), 1))
        holders = {tensor: output for output, tensor in part.tensors.items()}
        return {name: list(rounds(found[holders[name]], found[shapes])) for name, shapes in part.shapes.items()}

    found = held_by(3)
    state = [array, np.concatenate([array, -array])]
    state.append(np.concatenate([state[1], -state[1]]))
    for held, expected in zip(found["h"], state, strict=True):
        np.testing.assert_array_equal(held, -expected)
    assert [held.shape for held in found["sum"]] == [()] * 3
    assert held_by(0) == {"h": [], "sum": []}
