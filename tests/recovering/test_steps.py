"""Steps on one layer: what they propose lowers its error on samples that nothing was fitted to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from qdq_cli.judging.candidate import Candidate, RoundedWeights, trial_model
from qdq_cli.recovering.bench import Bench
from qdq_cli.recovering.changes import changed
from qdq_cli.recovering.rows import layers_of, take_rows
from qdq_cli.recovering.start import Start
from qdq_cli.recovering.steps import STEPS
from tests.networks import run
from tests.recovering.channel_networks import Net
from tests.recovering.starts import start_of_network


def conv(net: Net) -> str:
    return net.op(
        "Conv", net.input("x", (1, 8, 6, 6)), net.constant(net._rng.standard_normal((6, 8, 3, 3)).astype(np.float32)),
        net.constant(net.weight(6)), name="layer", pads=[1] * 4,
    )  # fmt: skip


def gemm(net: Net) -> str:
    weight = net.constant(net._rng.standard_normal((16, 6)).astype(np.float32))
    return net.op("Gemm", net.input("x", ("N", 16)), weight, net.constant(net.weight(6)), name="layer", alpha=0.25)


def matmul(net: Net) -> str:
    weight = net.constant(net._rng.standard_normal((16, 6)).astype(np.float32))
    product = net.op("MatMul", net.input("x", (1, 5, 16)), weight, name="layer")
    return net.add(product, net.constant(net.weight(6)), "y")


def deconv(net: Net) -> str:
    weight = net.constant(net._rng.standard_normal((8, 3, 2, 2)).astype(np.float32))
    return net.op("ConvTranspose", net.input("x", (1, 8, 6, 6)), weight, name="layer", strides=[2, 2], group=2)


LAYERS = {build.__name__: build for build in (conv, gemm, matmul, deconv)}


def held_error(bench: Bench, candidate: Candidate) -> float:
    return bench.held_errors(candidate, candidate)[0]


def stand(folder: Path, build: Callable[[Net], str], share: float = 1.0) -> tuple[Start, Bench, Candidate]:
    """One layer on its bench, its input's range cut to a share, the input not centred on zero."""
    net = Net()
    start = start_of_network(folder, net.proto(build(net)), samples=64)
    layer = layers_of(start.model, start.plan)[0]
    node = next(node for node in start.model.graph if node.name == "layer")
    rows, held = (
        take_rows(start.model, [layer], start.split.load(part), {"layer": 200})["layer"]
        for part in (start.split.learn, start.split.judge)
    )
    return start, Bench(layer, node, rows, held), Candidate(start.plan, (start.ranges[0].scaled(share),))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("step", ["adaround", "scales", "weight-ranges"])
def test_what_a_step_proposes_loses_less_on_the_rows_it_saw(tmp_path: Path, name: str, step: str):
    _, bench, candidate = stand(tmp_path, LAYERS[name], 0.5)
    seen = Bench(bench.layer, bench.node, bench.rows, bench.rows)
    for change in STEPS[step]([seen], candidate):
        new = changed(candidate, [change])
        assert held_error(seen, new) <= held_error(seen, candidate) * (1 + 1e-9)
        assert change.where == "layer"


@pytest.mark.parametrize("name", LAYERS)
def test_a_range_that_cuts_grows_and_the_layer_gains_on_held_samples(tmp_path: Path, name: str):
    _, bench, candidate = stand(tmp_path, LAYERS[name], 0.4)
    (change,) = STEPS["ranges"]([bench], candidate)
    assert change.ranges[0].amax > candidate.ranges[0].amax
    assert held_error(bench, changed(candidate, [change])) < held_error(bench, candidate)


@pytest.mark.parametrize("name", ["conv", "gemm", "matmul"])
def test_a_corrected_bias_makes_up_for_what_a_range_cuts(tmp_path: Path, name: str):
    _, bench, candidate = stand(tmp_path, LAYERS[name], 0.3)
    bench.rows[:] = np.abs(bench.rows)  # cut at one end: the errors do not cancel
    seen = Bench(bench.layer, bench.node, bench.rows, bench.rows)
    (change,) = STEPS["bias"]([seen], candidate)
    new = changed(candidate, [change])
    assert held_error(seen, new) < 0.95 * held_error(seen, candidate)
    (again,) = STEPS["bias"]([seen], new)
    np.testing.assert_array_equal(again.biases["layer"], change.biases["layer"])


@pytest.mark.parametrize("name", LAYERS)
def test_the_error_of_a_bench_is_that_of_the_trial_model(tmp_path: Path, name: str):
    """Error by signal of the rows is what the model's output shows, where each output element is one row's."""
    start, _, candidate = stand(tmp_path, LAYERS[name], 0.5)
    layer = layers_of(start.model, start.plan)[0]
    node = next(node for node in start.model.graph if node.name == "layer")
    batch = next(iter(start.split.load(start.split.judge)))
    rows = take_rows(start.model, [layer], [batch], {"layer": 10**6})["layer"]
    bench = Bench(layer, node, rows, rows)
    changes = [change for step in ("gptq", "bias") for change in STEPS[step]([bench], candidate)]
    new = changed(candidate, changes)
    feeds = {"x": np.asarray(batch.arrays["x"])}
    plain = run(start.model, dict(feeds))[0].astype(np.float64)
    found = run(trial_model(start.model, new, RoundedWeights()), dict(feeds))[0]
    without_bias = run(without_constant_part(start), dict(feeds))[0].astype(np.float64)
    ratio = ((plain - found) ** 2).sum() / (without_bias**2).sum()
    assert held_error(bench, new) == pytest.approx(ratio, rel=1e-3)


def without_constant_part(start: Start):
    """The model with a bias of zeros: the signal of a bench is that of the product alone."""
    clone = start.model.clone()
    for name, value in clone.graph.initializers.items():
        array = value.const_value.numpy()
        if array.ndim == 1:
            value.const_value = ir.Tensor(np.zeros_like(array), name=name)
    return clone


def test_codes_of_a_proposal_are_what_the_model_computes_with(tmp_path: Path):
    _, bench, candidate = stand(tmp_path, conv)
    for step in ("adaround", "gptq"):
        (change,) = STEPS[step]([bench], candidate)
        new = changed(candidate, [change])
        scale = bench.scale(new)
        codes = bench.quantized_weight(new) / scale
        np.testing.assert_allclose(codes, np.rint(codes), atol=1e-4)
        weight = bench.layer.linear.matrices(change.weights[bench.layer.weight])
        np.testing.assert_allclose(bench.quantized_weight(new), weight, rtol=1e-5)
        np.testing.assert_allclose(scale, bench.scale(candidate), rtol=1e-6)
