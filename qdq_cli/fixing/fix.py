"""`qdq fix` on one page: load, repair what the importer refuses, repair placement, compare, save."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx_ir as ir

from calibrators import Range
from qdq_cli.config.fix import FixConfig
from qdq_cli.data.ranges import unmatched
from qdq_cli.fixing import legality, placement
from qdq_cli.fixing.clips import carry_out_clips
from qdq_cli.fixing.constants import inline_operands, restore_constants
from qdq_cli.fixing.importing import repair_import
from qdq_cli.fixing.inputs import random_batches
from qdq_cli.fixing.record import Left, Outcome, Repair, RepairReport, State
from qdq_cli.fixing.scalars import write_scalars
from qdq_cli.fixing.scales import mend_scales
from qdq_cli.model import files
from qdq_cli.model.check import check_written
from qdq_cli.model.codes import code_range, set_code_range
from qdq_cli.model.names import Names
from qdq_cli.model.opset import MIN_OPSET, normalize_imports, opset_of, raise_opset
from qdq_cli.model.scales import is_pair_half
from qdq_cli.placement.propagate import merge_quantizes
from qdq_cli.preparing.paired import paired
from qdq_cli.preparing.prepare import infer_shapes, lift_constants, name_everything
from qdq_cli.preparing.reading import make_readable
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import DataError, ModelError
from qdq_cli.process.progress import SILENT, Listener, each
from qdq_cli.quantizing.meter import OutputMeter
from qdq_cli.quantizing.report import Distance
from qdq_cli.quantizing.run import PlainRun
from qdq_cli.running.execution import executing
from qdq_cli.targets.tensorrt.findings import Finding, Severity
from qdq_cli.targets.tensorrt.importer.plugins import check_plugins
from qdq_cli.targets.tensorrt.importer.refusals import OLDEST_BROADCASTING
from qdq_cli.targets.tensorrt.lint import lint
from qdq_cli.targets.tensorrt.lint_scales import default_axis
from qdq_cli.targets.tensorrt.simulate import simulate
from qdq_cli.targets.tensorrt.simulation import Reason, Simulation
from qdq_cli.targets.tensorrt.table import TENSORRT
from qdq_cli.targets.tensorrt.verdict import verdict

SIGNED = (legality.make_signed, legality.add_zero_points, legality.size_zero_points)
"""Repairs of zero points, in order; behind them Q and DQ say what they store."""

MAX_ROUNDS = 8
"""Rounds of placement repairs; chained pairs go one by one."""

MAX_TRIED = 32
"""Residual branches that are tried alone, each at the price of a simulation; more of them are tried together."""


def fix_model(config: FixConfig, listener: Listener = SILENT) -> RepairReport:
    """Repair a Q/DQ model and write the result.

    Args:
        config: The model, the output, and what is known about ranges.
        listener: Told about progress; silent by default.

    Raises:
        ModelError: The model cannot be read, is malformed, or the result cannot be written.
        UsageError: The output is the input, or nothing in the model goes by the name of a plugin.
        DataError: The ranges are those of another model.
    """
    target = files.check_target(config.model, config.destination)
    run = PlainRun(listener)
    with run.stage("load"):
        source = files.load(config.model)
        files.check_data_target(source, target)
    model, interface = source.model, _interface(source.model)
    with run.stage("check"):
        check_plugins(model.graph, config.plugins)
        make_readable(model)
        _check_names(model.graph, config.ranges)
        before = lint(model, config.plugins), simulate(model)
    with run.stage("repair"):
        model, repairs, left = repaired(model, config.ranges)
    _restore(model, interface)
    with run.stage("check"):
        after = lint(model, config.plugins), simulate(model)
    outputs, notes = _written(run, config, source, (model, target))
    return RepairReport(
        schema_version=SCHEMA_VERSION,
        model=str(config.model),
        output=str(config.destination),
        repairs=tuple(repairs),
        left=tuple(dict.fromkeys(left)),
        before=_state(*before),
        after=_state(*after),
        findings=tuple(entry for entry in verdict(after[0]).findings if entry.severity is Severity.ERROR),
        outputs=outputs,
        target=TENSORRT.name,
        notes=(*notes, *_unused_ranges(config.ranges, repairs, left)),
    )


def _written(
    run: PlainRun, config: FixConfig, source: files.ModelFile, to: tuple[ir.Model, Path]
) -> tuple[dict[str, Distance], tuple[str, ...]]:
    """Write a repaired model, check it, and compare its outputs with those of the model it was.

    Args:
        run: The run.
        config: How many samples are run.
        source: The model it was.
        to: The repaired model, and its path.

    Returns:
        How far the outputs are apart, and notes.
    """
    model, target = to
    with contextlib.ExitStack() as stack:
        with run.stage("save"):
            staged = stack.enter_context(files.staged(model, target, external=source.external))
            notes = check_written(staged.path, source.path)
        with run.stage("verify"), executing(config.execution):
            outputs, note = compare_on_random(source.path, staged.path, config.samples)
        with run.stage("save"):
            staged.commit()
    return outputs, (*notes, *note)


def _check_names(graph: ir.Graph, ranges: Mapping[str, Range]) -> None:
    """Refuse ranges of another model.

    Raises:
        DataError: No tensor of the graph has a name that is among them.
    """
    values = (*graph.inputs, *(value for node in graph for value in node.outputs))
    if (problem := unmatched(ranges, [value.name for value in values if value.name])) is not None:
        raise DataError(*problem)


def _unused_ranges(ranges: Mapping[str, Range], repairs: list[Repair], left: list[Left]) -> tuple[str, ...]:
    """Tell a user whose ranges served no branch although some branch lacks one: its name is another one."""
    if not ranges or any(entry.tensor in ranges for entry in repairs) or all(entry.rule != "P8" for entry in left):
        return ()
    return ("None of the ranges given is of a residual branch without Q; the tensors are listed below.",)


def repaired(
    model: ir.Model, ranges: Mapping[str, Range], *, placement: bool = True
) -> tuple[ir.Model, list[Repair], list[Left]]:
    """Repair legality once, then placement until nothing changes: one repair can make room for the next.

    Args:
        model: A readable model; it is changed.
        ranges: Tensor name -> range, for residual branches without a Q on their tensor.
        placement: False repairs only what is refused, and moves no pair.

    Returns:
        The model, which is another one where its opset was raised; what was done, what was left.
    """
    used = {name for name, value in model.graph.initializers.items() if value.uses()}
    model, repairs, left = _repair_legality(model)
    placed: list[Left] = []
    for _ in range(MAX_ROUNDS if placement else 0):
        done, placed = _repair_placement(model, ranges)
        repairs += done
        if not done:
            break
    beyond = [*legality.off_zero(model.graph), *legality.along_summed_axes(model.graph)]  # of what is still there
    _drop_unused(model.graph, used)
    return model, repairs, left + beyond + placed


def _repair_legality(model: ir.Model) -> tuple[ir.Model, list[Repair], list[Left]]:
    repairs: list[Repair] = []
    left: list[Left] = []

    def take(outcome: Outcome) -> None:
        repairs.extend(outcome[0])
        left.extend(outcome[1])

    take(legality.move_to_onnx_domain(model.graph))
    take(inline_operands(model))
    take(repair_import(model))
    default = default_axis(opset_of(model))
    model, raised = _raised_for_axes(model)
    take(raised)
    if opset_of(model) >= MIN_OPSET:
        take(legality.write_axes(model.graph, default))
    take(carry_out_clips(model))
    for step in SIGNED:
        take(step(model.graph, Names(model.graph)))
    take(restore_constants(model))
    take(mend_scales(model.graph, Names(model.graph)))
    take(write_scalars(model.graph, Names(model.graph)))
    return model, repairs, left


def _raised_for_axes(model: ir.Model) -> tuple[ir.Model, Outcome]:
    """Raise a model below opset 13 to it, which has the axis of Q and DQ, if one of them lacks it (A20).

    One of opset 6 and below is raised too: its elementwise operators broadcast as no importer reads it.
    """
    opset = opset_of(model)
    lacking = [node.name or "" for node in model.graph if is_pair_half(node) and legality.lacks_axis(node)]
    outdated = [] if opset >= OLDEST_BROADCASTING else [node.name or "" for node in model.graph]
    if opset >= MIN_OPSET or not (lacking or outdated):
        return model, ([], [])
    rule, what, reason = ("1.9", "broadcasting", "broadcasts as TensorRT does")
    if lacking:
        rule, what, reason = ("A20", "axis", "has the axis of Q and DQ")
    ranges = {node.name: code_range(node) for node in model.graph}
    try:
        normalize_imports(model)
        model = raise_opset(model, MIN_OPSET)
    except ModelError as error:
        return model, (
            [],
            [Left(rule, name, f"its {what} takes opset {MIN_OPSET}. {error.message}") for name in lacking or outdated],
        )
    for node in model.graph:
        set_code_range(node, ranges.get(node.name))
    lift_constants(model)
    name_everything(model)
    infer_shapes(model)
    text = f"the model was raised from opset {opset} to {MIN_OPSET}, which {reason}"
    return model, ([Repair(rule, "", "", text, True)], [])


def _repair_placement(model: ir.Model, ranges: Mapping[str, Range]) -> Outcome:
    steps: tuple[Callable[[], Outcome], ...] = (
        lambda: _merged(model),
        lambda: _if_better(model, lambda copy: placement.move_behind_clips(copy.graph)),
        lambda: placement.move_before_pads(model.graph),
        lambda: _if_better(model, lambda copy: placement.free_absorbing_branches(copy.graph)),
        lambda: _residuals(model, ranges),
        lambda: _if_better(model, lambda copy: placement.drop_float_ends(copy.graph, simulate(copy))),
    )
    done: list[Repair] = []
    left: list[Left] = []
    for step in each(steps):
        made, kept = step()
        done += made
        left += kept
    return done, left


def _merged(model: ir.Model) -> Outcome:
    merged = merge_quantizes(model)
    return [
        Repair("R1", kept, "", f"it stands for {len(origin)} equal Qs on its tensor: {', '.join(origin)}", True)
        for kept, origin in merged.items()
    ], []


def _if_better(model: ir.Model, change: Callable[[ir.Model], Outcome]) -> Outcome:
    """Carry out a change that costs or saves roundings, if the simulator sees no more stand-alone kernels with it."""
    copy = model.clone()
    done, left = change(copy)
    if not done or _cost(simulate(copy)) > _cost(simulate(model)):
        return [], left
    return change(model)


def _cost(simulation: Simulation) -> tuple[int, int, int]:
    """Order simulations: stand-alone kernels, then weighted operators that do not write INT8, then layers."""
    return len(simulation.standalone), -simulation.quantized_to_quantized, len(simulation.layers)


def _residuals(model: ir.Model, ranges: Mapping[str, Range]) -> Outcome:
    """Quantize residual branches, but not where that only trades a stand-alone Q for a DQ (P8; 4.4, case 5).

    The last block before a float reader is such a case by itself. With more blocks before it, its pair lets all their
    Adds fuse; so each one is tried alone.
    """

    before = simulate(model)  # of its clones too: it knows nodes by name

    def change(copy: ir.Model, skip: frozenset[str]) -> Outcome:
        return placement.quantize_residuals(copy.graph, Names(copy.graph), before, ranges, skip)

    def tried(skip: frozenset[str]) -> Simulation:
        copy = model.clone()
        change(copy, skip)
        return simulate(copy)

    known = _not_requantized(before)
    skip: frozenset[str] = frozenset()
    found, judged = tried(skip), known
    while doubtful := sorted(_not_requantized(found) - judged):
        alone = doubtful[:1] if len(judged - known) < MAX_TRIED else doubtful
        judged |= frozenset(alone)
        without = tried(skip | frozenset(alone))
        if len(without.standalone) <= len(found.standalone):
            skip |= frozenset(alone)
            found = without
    return _if_better(model, lambda copy: change(copy, skip))


def _not_requantized(simulation: Simulation) -> frozenset[str]:
    reason = Reason.RESIDUAL_NOT_REQUANTIZED
    return frozenset(found.consumer for found in simulation.standalone if found.reason is reason)


def _state(findings: tuple[Finding, ...], simulation: Simulation) -> State:
    findings = verdict(findings).findings
    return State(
        errors=sum(entry.severity is Severity.ERROR for entry in findings),
        warnings=sum(entry.severity is Severity.WARNING for entry in findings),
        standalone=len(simulation.standalone),
        quantized_to_quantized=simulation.quantized_to_quantized,
    )


def _drop_unused(graph: ir.Graph, used: set[str]) -> None:
    """Remove the initializers that were read before the repairs and are not any more."""
    for name in used:
        value = graph.initializers.get(name)
        if value is not None:
            legality.drop_unread(graph, value)


_Interface = dict[str, tuple[ir.TypeProtocol | None, ir.Shape | None]]


def _interface(model: ir.Model) -> _Interface:
    ends = (*model.graph.inputs, *model.graph.outputs)
    return {value.name or "": (value.type, None if value.shape is None else value.shape.copy()) for value in ends}


def _restore(model: ir.Model, interface: _Interface) -> None:
    """Graph inputs and outputs keep the types and shapes they were declared with."""
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.type, value.shape = interface[value.name or ""]


_MOST_SECONDS = 120.0
"""How long a model may take for one random sample: on such data a Loop may never end."""


def compare_on_random(original: Path, result: Path, samples: int) -> tuple[dict[str, Distance], tuple[str, ...]]:
    """Run both models on seeded random data, ONNX Runtime's optimizations off; a note says why where that fails."""
    if samples == 0:
        return {}, ()
    outputs = OutputMeter()
    try:
        if (pair := paired(original, result)) is None:
            return {}, ("The outputs were not compared: all lie behind operators that ONNX Runtime does not know.",)
        for batch in each(list(random_batches(files.load(original).model, samples))):
            outputs.observe(pair.reference.run(batch, _MOST_SECONDS), pair.candidate.run(batch, _MOST_SECONDS))
    except ModelError as error:
        return {}, (f"The outputs were not compared: {error.message}",)
    return outputs.distances(), ()
