"""`qdq inspect` on one page: load, lint, simulate, measure. For a model without Q/DQ: plan first, then the same.

The record that comes out is the `--json` document.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from qdq_cli.config.inspect import Gates, InspectConfig
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.inspecting.given_shapes import given_shapes
from qdq_cli.inspecting.record import Inspection, Summary
from qdq_cli.inspecting.written_for import say_what_it_is_for
from qdq_cli.model import files
from qdq_cli.model.opset import opset_of
from qdq_cli.model.quantized import holds_quantization
from qdq_cli.placement.draft import draft
from qdq_cli.placement.macs_limit import RANKED, unmet_macs
from qdq_cli.placement.plan import Plan
from qdq_cli.preparing.prepare import infer_shapes
from qdq_cli.preparing.reading import make_readable
from qdq_cli.preparing.settle import give_shapes, settle_one_sample, take_one_sample
from qdq_cli.process.collector import collector_paused
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import LimitError, UsageError
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.process.writable import check_apart, check_writable
from qdq_cli.quantizing.destinations import check_outputs
from qdq_cli.quantizing.planning import finish_plan, open_model
from qdq_cli.quantizing.report import Report
from qdq_cli.quantizing.run import Run
from qdq_cli.screen.page_target import check_page_target
from qdq_cli.targets.known import target_for, target_named
from qdq_cli.targets.lints import lint_gpu_of, lint_of
from qdq_cli.targets.tensorrt.cost import measure
from qdq_cli.targets.tensorrt.cost_record import Cost
from qdq_cli.targets.tensorrt.findings import Finding, Severity, check_wanted
from qdq_cli.targets.tensorrt.gpus import needs_of
from qdq_cli.targets.tensorrt.importer.plugins import check_plugins
from qdq_cli.targets.tensorrt.lint import lint_rest, lint_simulation
from qdq_cli.targets.tensorrt.precision import PRECISIONS
from qdq_cli.targets.tensorrt.predict import prediction_of
from qdq_cli.targets.tensorrt.simulation import Simulation
from qdq_cli.targets.tensorrt.verdict import verdict

if TYPE_CHECKING:
    from qdq_cli.inspecting.page import Predicted
    from qdq_cli.screen.page import BoxRow


def inspect_model(config: InspectConfig, listener: Listener = SILENT) -> Inspection:
    """Say what TensorRT would do with a model; for one without Q/DQ, with the result of its plan.

    Args:
        config: The model, and how to look at it.
        listener: Told about notes of the plan; silent by default.

    Raises:
        ModelError: The model cannot be read or is malformed.
        UsageError: An option names something that is not there.
    """
    _require_prediction(config.target)
    writes = _checked_writes(config)
    run = _run_of(config, listener)
    with collector_paused():
        with run.stage("load"):
            source = files.load(config.model)
        say_what_it_is_for(source.model, config.target, listener)
        check_plugins(source.model.graph, config.plugins)
        for option, path in writes.items():
            files.check_not_read(path, (source.path, *source.data_files), option)
        if config.report is None:
            return _inspected(run, source, _subject(run, source, config), config)[0]
        return _with_page(run, source, config, config.report)


def _run_of(config: InspectConfig, listener: Listener) -> Run:
    """Return the dry run that plans a model without Q/DQ; of one with them its stages alone are used."""
    planned = QuantizeConfig(
        model=config.model,
        plan=config.plan,
        trt=config.trt,
        plugins=config.plugins,
        dry_run=True,
        target=config.target,
    )
    return Run(planned, listener, target_for(config.target, config.plan))


def _require_prediction(name: str) -> None:
    """Refuse a target of which nobody knows, kernel by kernel, what it makes of a model.

    Raises:
        UsageError: It is one.
    """
    target = target_named(name)
    if target.fuse is not None:
        raise UsageError(
            f"What {target.title} makes of a model has a record of its own.",
            f'qdq inspect MODEL --target {name}, and in Python qdq_cli.inspect(model, target="{name}").',
        )
    if target.predictor is None:
        raise UsageError(
            f"Nobody predicts what {target.title} makes of a model, so there is nothing to inspect for it.",
            f"qdq quantize MODEL --target {name} --dry-run -v shows the plan.",
        )


def _checked_writes(config: InspectConfig) -> dict[str, Path]:
    """Return what will be written by option, after making sure that it can be.

    Raises:
        UsageError: It cannot, or a model is to stand beside the other, and there is no page.
    """
    for option, path in config.writes.items():
        check_writable(path, option, option, streams=True)
        check_apart(path, option, (other for other in config.writes.values() if other is not path))
    if config.report is None:
        if config.against is not None:
            raise UsageError(
                "--against shows two models on one page, and none is asked for.", "Add --report page.html."
            )
        return dict(config.writes)
    models = (config.model, *(() if config.against is None else (config.against,)))
    page = check_page_target(config.report, (*models, *config.writes.values()))
    return {**config.writes, "--report": page}


def _with_page(run: Run, source: files.ModelFile, config: InspectConfig, path: Path) -> Inspection:
    """Inspect a model, and the other one beside it where there is one, and write the page about them."""
    from qdq_cli.inspecting.page import inspection_page  # most inspections draw no page, and do not wait for it
    from qdq_cli.screen.render import write_page

    inspection, predicted = _pictured(run, source, config)
    beside = None
    if config.against is not None:
        other = replace(config, model=config.against)
        run = _run_of(other, run.listener)
        with run.stage("load"):
            against = files.load(config.against)
        beside = _pictured(run, against, other)
    write_page(inspection_page(inspection, predicted, beside), path)
    return inspection


def _pictured(run: Run, source: files.ModelFile, config: InspectConfig) -> tuple[Inspection, Predicted]:
    """Inspect a model, and keep what a page shows of it."""
    from qdq_cli.inspecting.page import Predicted
    from qdq_cli.targets.tensorrt.page_origin import origin_of

    subject = _subject(run, source, config)
    origin = origin_of(subject.model)  # now: simulating takes the model apart
    inspection, simulation, cost = _inspected(run, source, subject, config)
    return inspection, Predicted(simulation, cost, origin, subject.channels)


def _subject(run: Run, source: files.ModelFile, config: InspectConfig) -> _Subject:
    if holds_quantization(source.model):
        return _as_it_is(run, source.model, config)
    return _as_planned(source, config, run)


def inspect_file(config: InspectConfig) -> Inspection:
    """Say what TensorRT would do with a model just as it is: one without Q/DQ runs in float, and is not planned.

    Args:
        config: The model, and how to look at it.

    Raises:
        ModelError: The model cannot be read or is malformed.
        UsageError: An option names something that is not there.
    """
    run = _run_of(config, SILENT)
    with collector_paused():
        source = files.load(config.model)
        return _inspected(run, source, _as_it_is(run, source.model, config), config)[0]


def inspect_plan(config: QuantizeConfig, listener: Listener = SILENT) -> Inspection:
    """Say what `qdq quantize` would do with a model, and TensorRT with the result: a dry run, no model is written.

    Args:
        config: What to do.
        listener: Told about notes; silent by default.

    Raises:
        ModelError: The model cannot be read or prepared.
        UsageError: An option names something that is not there, or the output could not be written.
    """
    look = InspectConfig(
        config.model,
        trt=config.trt,
        plan=config.plan,
        plugins=config.plugins,
        input_shape=config.data.input_shape,
        target=config.target,
    )
    with collector_paused():
        target = check_outputs(config, config.report)
        source = files.load(config.model)
        files.check_data_target(source, target)
        run = Run(config, listener, target_for(config.target, config.plan, config.cpu))
        return _inspected(run, source, _as_planned(source, look, run), look)[0]


@dataclass(frozen=True)
class _Subject:
    """What is simulated: the model itself, or a draft of what its plan would make of it; and what of it is drawn."""

    model: ir.Model
    opset: int
    batched: bool
    plan: Report | None
    channels: tuple[BoxRow, ...] = ()


def _as_it_is(run: Run, model: ir.Model, config: InspectConfig) -> _Subject:
    with run.stage("prepare"):
        if config.input_shape:
            give_shapes(model, given_shapes(model, config.input_shape))
        batched = take_one_sample(model)
        make_readable(model)
    return _Subject(model, opset_of(model), batched, None, () if config.report is None else _channels_of(model))


def _channels_of(model: ir.Model, plan: Plan | None = None) -> tuple[BoxRow, ...]:
    """Return the spread of the channels of each weight, for a page: of those stored, or of those that a plan has."""
    from qdq_cli.quantizing.page_weights import weight_rows  # most inspections draw no page
    from qdq_cli.targets.tensorrt.page_origin import stored_channels

    return stored_channels(model) if plan is None else weight_rows(model, plan)


def _as_planned(source: files.ModelFile, config: InspectConfig, run: Run) -> _Subject:
    opened = open_model(run, source)
    report = finish_plan(run, opened)
    model, plan, opset = opened.prepared.model, opened.plan, opened.prepared.opset_before
    channels = () if config.report is None else _channels_of(model, plan)
    del opened  # a copy would take a fifth of the time; nobody else holds the model, so it is taken apart
    if config.input_shape:
        give_shapes(model, given_shapes(model, config.input_shape))
        infer_shapes(model)
    with run.stage("rewrite"):
        batched = settle_one_sample(model)
        # Now, while its nodes are few; Q and DQ take over the shapes.
        draft(model, plan, form=run.config.form, copy=False)
    return _Subject(model, opset, batched, report, channels)


def _inspected(
    run: Run, source: files.ModelFile, subject: _Subject, config: InspectConfig
) -> tuple[Inspection, Simulation, Cost]:
    model, report, target = subject.model, subject.plan, target_for(config.target, config.plan)
    with run.stage("check"):
        found = lint_of(target.name, model, config.plugins)
    operators = {node.name or "": node.op_type for node in model.graph}
    with run.stage("predict"):
        simulation, cost = measure(model, deconv_absorbs_q=config.deconv_absorbs_q, operators=target.operators)
    predicted = (*lint_simulation(simulation), *lint_gpu_of(target.name, simulation, config.gpu))
    rest = () if report is not None else lint_rest(cost)
    said = verdict((*found, *predicted, *rest), config.trt)
    inspection = Inspection(
        schema_version=SCHEMA_VERSION,
        model=str(config.model),
        opset=subject.opset,
        size_bytes=source.size_bytes,
        trt=None if config.trt is None else config.trt.value,
        gpu=None if config.gpu is None else config.gpu.value,
        types=needs_of(simulation),
        quantized=report is None,
        summary=_summary(simulation, said.findings, cost, batched=subject.batched),
        findings=said.findings,
        advice=said.advice,
        releases=said.releases,
        newer_form=said.newer_form,
        layers=simulation.layers,
        layer_costs=cost.layers,
        standalone=simulation.standalone,
        standalone_costs=cost.standalone,
        other_nodes=_other_nodes(operators, simulation),
        target=target.name,
        activation_type=_stored_as(cost, target.activation_type),
        weight_type=_stored_as(cost, target.weight_type, alone=True),
        plan=None if report is None else replace(report, predicted=prediction_of(simulation, cost)),
    )
    return inspection, simulation, cost


def _stored_as(cost: Cost, written: str, *, alone: bool = False) -> str:
    """Return the stored type of most weighted operators, weights alone included or not; else what qdq would write."""
    counts = {entry.type: entry.weighted_ops for entry in cost.by_type if PRECISIONS[entry.type].is_quantized}
    for entry in cost.by_type if alone else ():
        counts[entry.type] = counts.get(entry.type, 0) + entry.weights_alone
    most = max(counts, key=counts.__getitem__, default="")
    return _STORED.get(most, written) if counts.get(most) else written


_STORED = {"INT8": "int8", "INT4": "int4", "FP8": "float8e4m3fn", "MXFP8": "float8e4m3fn", "NVFP4": "float4e2m1"}
"""Name of a type -> that of what is stored, as ONNX has it."""


def require_gates(inspection: Inspection, gates: Gates) -> None:
    """Hold an inspection against the limits of a pipeline.

    Raises:
        UsageError: They name a finding that is not there.
        LimitError: One is not met; the sentence names the first finding that breaks it.
    """
    check_wanted(gates.fail_on)
    for wanted in gates.fail_on:
        hits = [entry for entry in (*inspection.findings, *inspection.advice) if _matches(entry, wanted)]
        if hits:
            first = hits[0]
            place = f" at '{first.node}'" if first.node else ""
            raise LimitError(
                f"{len(hits)} findings match --fail-on {wanted}; the first is {first.code}{place}: {first.found}.",
                first.fix,
            )
    summary = inspection.summary
    if gates.max_standalone is not None and summary.standalone > gates.max_standalone:
        inside = [found for found in inspection.standalone if not found.reason.is_boundary]
        raise LimitError(
            f"{summary.standalone} stand-alone Q/DQ kernels are predicted, at most {gates.max_standalone} are allowed; "
            f"the first: {inside[0].because}",
            inside[0].remedy,
        )
    unmet = unmet_macs(summary.quantized_macs_percent, gates.min_int8_macs, "in INT8", RANKED)
    if unmet is not None:
        raise unmet


def _matches(entry: Finding, wanted: str) -> bool:
    if wanted == "E":
        return entry.severity is Severity.ERROR
    if wanted == "W":
        return entry.severity is not Severity.ADVICE
    return wanted == entry.code


def _summary(simulation: Simulation, findings: tuple[Finding, ...], cost: Cost, *, batched: bool) -> Summary:
    return Summary(
        weighted_ops=simulation.weighted_total,
        weighted_quantized=simulation.weighted_quantized,
        quantized_to_quantized=simulation.quantized_to_quantized,
        conversions=simulation.conversions,
        standalone=len(simulation.removable),
        boundary=len(simulation.boundaries),
        reasons=dict(simulation.reasons),
        errors=sum(entry.severity is Severity.ERROR for entry in findings),
        warnings=sum(entry.severity is Severity.WARNING for entry in findings),
        macs=cost.macs,
        quantized_macs=cost.quantized_macs,
        quantized_macs_percent=cost.quantized_macs_percent,
        traffic_elements=cost.traffic_elements,
        quantized_traffic_elements=cost.quantized_traffic_elements,
        quantized_traffic_percent=cost.quantized_traffic_percent,
        batch_is_symbolic=batched,
        unknown_costs=cost.unknown,
        unknown_macs=cost.unknown_macs,
        by_type=cost.by_type,
        traffic_bytes=sum(entry.traffic_bytes for entry in cost.by_type),
        weight_bytes=sum(entry.weight_bytes for entry in cost.by_type),
    )


def _other_nodes(operators: Mapping[str, str], simulation: Simulation) -> dict[str, str]:
    """Return the nodes of a model that are in no layer, with the reason."""
    placed = {name for layer in simulation.layers for name in (*layer.nodes, *layer.absorbed)}
    placed.update(name for found in simulation.standalone for name in found.nodes)
    return {name: _why_nowhere(op_type) for name, op_type in operators.items() if name not in placed}


def _why_nowhere(op_type: str) -> str:
    if op_type in ("QuantizeLinear", "DequantizeLinear"):
        return "It is no kernel: it merges with an equal one, cancels, or folds into a constant (R1, R3, S3)."
    if op_type in ("Identity", "Dropout", "Pad", "Reshape"):
        return "It changes nothing and is removed at import (S1)."
    return "It is no layer: it computes shapes or constants, or nothing reads its result (S3)."
