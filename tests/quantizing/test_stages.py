"""Stages return new values: called twice they give equal results, and what they were given is as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from calibrators import Range
from qdq_cli import DataConfig, QuantizeConfig
from qdq_cli.config.forms import Form, WeightForm
from qdq_cli.judging.candidate import Candidate, RoundedWeights, quantized_model, trial_model, with_constants
from qdq_cli.model import files
from qdq_cli.placement.draft import draft
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.placement.rewrite import rewrite
from qdq_cli.preparing.prepare import prepare
from qdq_cli.process.progress import SILENT
from qdq_cli.quantizing.pipeline import lay_groundwork, open_samples, rewrite_model, write_model
from qdq_cli.quantizing.planning import open_model
from qdq_cli.quantizing.run import Run
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.workspace import SAMPLES, Workspace, make_workspace


@pytest.fixture(scope="module")
def model() -> ir.Model:
    return files.load(SAMPLES / "digits_resnet.onnx").model


@pytest.fixture(scope="module")
def planned(model: ir.Model) -> tuple[ir.Model, Plan]:
    prepared = prepare(model).model
    return prepared, make_plan(prepared, TENSORRT)


def content(model: ir.Model) -> bytes:
    return ir.to_proto(model).SerializeToString(deterministic=True)


def ranges_of(plan: Plan) -> tuple[Range, ...]:
    return tuple(Range.symmetric(1.0 + number) for number in range(len(plan.groups)))


def test_preparing(model: ir.Model):
    before = content(model)
    once, again = prepare(model), prepare(model)
    assert content(once.model) == content(again.model) != before
    assert content(model) == before
    assert replace(once, model=model) == replace(again, model=model)


def test_planning(planned: tuple[ir.Model, Plan]):
    before = content(planned[0])
    assert make_plan(planned[0], TENSORRT) == planned[1]
    assert content(planned[0]) == before


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("weights", WeightForm)
def test_rewriting(planned: tuple[ir.Model, Plan], form: Form, weights: WeightForm):
    prepared, plan = planned
    before = content(prepared)
    once, again = (rewrite(prepared, plan, ranges_of(plan), weights=weights, form=form) for _ in range(2))
    assert content(once.model) == content(again.model)
    assert (once.notes, once.int8_nodes) == (again.notes, again.int8_nodes)
    assert sum(node.op_type == "QuantizeLinear" for node in once.model.graph) > 0
    assert content(prepared) == before


def test_drafting_trying_and_writing(planned: tuple[ir.Model, Plan]):
    prepared, plan = planned
    weight, node = plan.weights[0].tensor, plan.weights[-1].use.node
    candidate = Candidate(
        plan,
        ranges_of(plan),
        weights={weight: np.zeros(prepared.graph.initializers[weight].shape.numpy(), np.float32)},
        biases={node: np.ones(10)},
    )
    before = content(prepared)
    for stage in (
        lambda: draft(prepared, plan),
        lambda: with_constants(prepared, candidate.weights, candidate.biases),
        lambda: trial_model(prepared, candidate, RoundedWeights()),
        lambda: quantized_model(prepared, candidate, weights=WeightForm.INT8, form=Form.INT8_REGIONS).model,
    ):
        assert content(stage()) == content(stage()) != before
        assert content(prepared) == before


@pytest.mark.parametrize("recover", [(), ("equalize", "gptq", "bias")])
def test_writing_twice_writes_the_same(tmp_path: Path, recover: tuple[str, ...]):
    space: Workspace = make_workspace(tmp_path)
    config = QuantizeConfig(space.model, output=space.output, data=DataConfig(calib=(space.arrays,)), recover=recover)
    run = Run(config, SILENT, TENSORRT)
    opened = open_model(run)
    before = content(opened.prepared.model)
    work = lay_groundwork(run, opened, open_samples(run, opened))
    written = []
    for _ in range(2):
        report = write_model(run, work, space.output, rewrite_model(run, work))
        written.append((space.output.read_bytes(), replace(report, seconds=None)))
    assert written[0] == written[1]
    assert sum(node.op_type == "QuantizeLinear" for node in onnx.load(space.output).graph.node) == 10
    assert content(work.model) == before
