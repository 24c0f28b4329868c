"""`qdq inspect --target onnxruntime` and `openvino`: what a runtime on the CPU makes of a model.

For a model without Q/DQ: plan first, then the same. The record that comes out is the `--json` document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import onnx_ir as ir

from qdq_cli.config.inspect import Gates, InspectConfig
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.inspecting.given_shapes import given_shapes
from qdq_cli.inspecting.record_on_cpu import CpuInspection
from qdq_cli.inspecting.written_for import say_what_it_is_for
from qdq_cli.model import files
from qdq_cli.model.nodes import every_node
from qdq_cli.model.opset import opset_of
from qdq_cli.model.quantized import holds_quantization
from qdq_cli.placement.draft import draft
from qdq_cli.placement.macs_limit import unmet_macs
from qdq_cli.placement.operators import is_weighted
from qdq_cli.preparing.prepare import infer_shapes
from qdq_cli.preparing.reading import make_readable
from qdq_cli.preparing.settle import give_shapes
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import LimitError, UsageError
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.quantizing.plan_text import work_text
from qdq_cli.quantizing.report import Report
from qdq_cli.quantizing.run import Course, PlainRun, Run
from qdq_cli.screen.lines import row
from qdq_cli.screen.page_target import check_page_target
from qdq_cli.screen.sentences import count_text, some_of
from qdq_cli.targets.fused_work import because_text, fused_everywhere
from qdq_cli.targets.known import TARGETS, target_for

_MOST = 8
"""Rows of a list that are shown without -v."""


def inspect_on_cpu(config: InspectConfig, listener: Listener = SILENT) -> CpuInspection:
    """Say what becomes of a model on the CPU; nothing is run.

    Args:
        config: The model, and how to look at it.
        listener: Told about notes of the plan; silent by default.

    Raises:
        ModelError: The model cannot be read or is malformed.
        UsageError: An option names something that is not there, or only says something about TensorRT.
    """
    _refuse_views(config)
    page = None if config.report is None else check_page_target(config.report, (config.model,))
    run = PlainRun(listener)
    with run.stage("load"):
        source = files.load(config.model)
    say_what_it_is_for(source.model, config.target, listener)
    if page is not None:
        files.check_not_read(page, (source.path, *source.data_files), "--report")
    if holds_quantization(source.model):
        make_readable(source.model)
        return _found(run, source, source.model, (config, None))
    return _planned(source, config, listener)


def _refuse_views(config: InspectConfig) -> None:
    asked = {"--against": config.against, "--gpu": config.gpu, **config.writes}
    given = [option for option, value in asked.items() if value is not None]
    if given:
        raise UsageError(
            f"{given[0]} shows what TensorRT would do, and --target is {config.target}.", f"Leave {given[0]} out."
        )


def inspect_plan_on_cpu(config: QuantizeConfig, listener: Listener = SILENT) -> CpuInspection:
    """Say what `qdq quantize` would do with a model, and the runtime with the result: a dry run, no model is written.

    Args:
        config: What to do; its target has a `fuse`.
        listener: Told about notes; silent by default.

    Raises:
        ModelError: The model cannot be read or prepared.
        UsageError: An option names something that is not there, or the output could not be written.
    """
    from qdq_cli.quantizing.destinations import check_outputs

    target = check_outputs(config, config.report)
    source = files.load(config.model)
    files.check_data_target(source, target)
    if holds_quantization(source.model):
        make_readable(source.model)
        look = InspectConfig(config.model, target=config.target)
        return _found(PlainRun(listener), source, source.model, (look, None))
    return _of_plan(source, config, listener)


def _planned(source: files.ModelFile, config: InspectConfig, listener: Listener) -> CpuInspection:
    planned = QuantizeConfig(model=config.model, plan=config.plan, dry_run=True, target=config.target)
    return _of_plan(source, planned, listener, config)


def _of_plan(
    source: files.ModelFile, planned: QuantizeConfig, listener: Listener, look: InspectConfig | None = None
) -> CpuInspection:
    from qdq_cli.quantizing.planning import finish_plan, open_model  # a Q/DQ model does not wait for it

    run = Run(planned, listener, target_for(planned.target, planned.plan, planned.cpu))
    opened = open_model(run, source)
    report = finish_plan(run, opened)
    look = look or InspectConfig(planned.model, target=planned.target, input_shape=planned.data.input_shape)
    return _found(run, source, draft(opened.prepared.model, opened.plan), (look, report))


def _found(
    run: Course, source: files.ModelFile, model: ir.Model, asked: tuple[InspectConfig, Report | None]
) -> CpuInspection:
    """Say what becomes of a model: as it was read, or the draft of the plan that a report tells."""
    config, plan = asked
    target = TARGETS[config.target]
    fuse, predictor = target.fuse, target.predictor
    assert fuse is not None and predictor is not None
    if config.input_shape:
        give_shapes(model, given_shapes(model, config.input_shape))
        infer_shapes(model)
    with run.stage("predict"):
        fusions = fused_everywhere(model, fuse, bodies=target.bodies)
    weighted = {node.name for node in every_node(model.graph) if is_weighted(node)}
    found = CpuInspection(
        schema_version=SCHEMA_VERSION,
        model=str(config.model),
        target=config.target,
        opset=opset_of(model),
        size_bytes=source.size_bytes,
        quantized=plan is None,
        weighted_ops=len(weighted),
        weighted_on_codes=sum(entry.node in weighted for entry in fusions.fused),
        fused=fusions.fused,
        left=fusions.left,
        alone=fusions.alone,
        dropped=fusions.dropped,
        merged=fusions.merged,
        predicted=predictor.predict(model, {}),
        plan=plan,
    )
    if config.report is not None:
        from qdq_cli.inspecting.page_on_cpu import write_cpu_page  # most inspections draw no page

        write_cpu_page(found, predictor.sections(model), config.report)
    return found


def refuse_gates(gates: Gates) -> None:
    """Refuse limits that this target has no prediction for.

    Raises:
        UsageError: One is set.
    """
    if gates.fail_on:
        raise UsageError(
            "--fail-on names what TensorRT refuses or cannot fuse.",
            "--max-standalone and --min-int8-macs hold here too.",
        )


def require_cpu_gates(found: CpuInspection, gates: Gates) -> None:
    """Hold an inspection against the limits of a pipeline.

    Raises:
        LimitError: One is not met.
    """
    inside = [entry for entry in found.alone if not entry.boundary]
    if gates.max_standalone is not None and len(inside) > gates.max_standalone:
        raise LimitError(
            f"{len(inside)} Q and DQ are predicted to stay operators of their own inside the network, at most "
            f"{gates.max_standalone} are allowed; the first: {inside[0].node}, beside {inside[0].neighbour}.",
            "qdq inspect -v lists them with what keeps them.",
        )
    hint = "qdq inspect -v lists what stays float; qdq quantize --dry-run -v says why."
    unmet = unmet_macs(found.predicted.quantized_macs_percent, gates.min_int8_macs, "on integers", hint)
    if unmet is not None:
        raise unmet


def cpu_lines(found: CpuInspection, *, full: bool = False) -> list[str]:
    """Return what was found as lines of text for people.

    Args:
        found: What was found.
        full: Show every operator.
    """
    planned = "" if found.quantized else ", planned; the rest is predicted for its result"
    return row("model", f"{found.model}  (opset {found.opset}{planned})") + fused_lines(found, full=full)


def fused_lines(found: CpuInspection, *, full: bool = False) -> list[str]:
    """Return what becomes of the operators as lines of text for people.

    Args:
        found: What was found.
        full: Show every operator.
    """
    most = 10**9 if full else _MOST
    return [line for label, text in _rows(found) for line in row(label, text)] + [
        *_listed("float although it reads DQ", found.left, most),
        *_listed("Q and DQ that stay", {entry.node: because_text(entry) for entry in found.alone}, most),
    ]


def _rows(found: CpuInspection) -> Iterator[tuple[str, str]]:
    yield "integers", f"{found.weighted_on_codes} of {count_text(found.weighted_ops, 'weighted operator')}"
    counts = Counter(entry.becomes for entry in found.fused)
    yield "operators", ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none on integers"
    if found.dropped:
        yield "superfluous", f"{count_text(len(found.dropped), 'clipping')}: {some_of(list(found.dropped))}"
    inside, ends = (sum(entry.boundary is at_end for entry in found.alone) for at_end in (False, True))
    if found.merged:
        yield "in kernels", f"{count_text(len(found.merged), 'operator')} computed with the one before"
    yield "work", work_text(found.predicted, "codes", way="; --input-shape")
    yield "Q/DQ that stay", f"{inside} inside, {ends} at inputs and outputs"


def _listed(title: str, reasons: Mapping[str, str], most: int) -> list[str]:
    if not reasons:
        return []
    lines = [f"  {name}: {why}" for name, why in list(reasons.items())[:most]]
    more = [f"  and {len(reasons) - most} more (-v)"] if len(reasons) > most else []
    return ["", title, *lines, *more]
