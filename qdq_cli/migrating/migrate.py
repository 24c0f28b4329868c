"""`qdq migrate` on one page: load, get the Q/DQ by a table or repair those that came, give the rest its type, save."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from qdq_cli.config.forms import FloatType, TensorRT, WeightForm
from qdq_cli.config.migrate import MigrateConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.migrating.compared import compared
from qdq_cli.migrating.draft import Draft
from qdq_cli.migrating.from_pairs import draft_from_pairs
from qdq_cli.migrating.from_table import draft_from_table
from qdq_cli.migrating.record import MigrationReport
from qdq_cli.migrating.table import Table, read_table
from qdq_cli.model import files
from qdq_cli.model.check import check_written
from qdq_cli.model.nodes import input_at, is_constant
from qdq_cli.model.opset import opset_of
from qdq_cli.model.quantized import holds_quantization
from qdq_cli.model.scales import is_dequantize
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import UsageError
from qdq_cli.process.progress import SILENT, Listener
from qdq_cli.quantizing.float_form import half_type, wanted_form
from qdq_cli.quantizing.float_rest import Finished, completed, in_float_type
from qdq_cli.quantizing.report import SizeBytes
from qdq_cli.running.execution import runs_as_told
from qdq_cli.targets.tensorrt.findings import Finding, Severity
from qdq_cli.targets.tensorrt.lint import lint
from qdq_cli.targets.tensorrt.releases import oldest_release
from qdq_cli.targets.tensorrt.table import TENSORRT
from qdq_cli.targets.tensorrt.trtexec import builds
from qdq_cli.targets.tensorrt.verdict import verdict


@runs_as_told
def migrate_model(config: MigrateConfig, listener: Listener = SILENT) -> MigrationReport:
    """Write a model for TensorRT 11 from what its old build was made of, which ran in INT8 by a table or by flags.

    Args:
        config: The model, and the calibration table where it holds no Q/DQ.
        listener: Told about progress and notes; silent by default.

    Returns:
        The report. The model is at `report.output` then, complete and checked.

    Raises:
        UsageError: The model and the table do not go together, or the output is one of the inputs.
        DataError: The table is of another model, or it or the samples cannot be used.
        ModelError: The model cannot be read, migrated or written.
    """
    table = None if config.cache is None else read_table(config.cache)
    target = files.check_target(config.model, config.destination, config.reads)
    source = files.load(config.model)
    files.check_data_target(source, target)
    _require_way(config, quantized=holds_quantization(source.model))
    draft = _draft(source, config, table, listener)
    made = _finished(draft, config, listener)
    with files.staged(made.model, target, external=source.external) as staged:
        checked = check_written(staged.path, source.path)
        found, why_not = compared(draft, source.path, staged, made, listener)
        staged.commit()
    notes = tuple(dict.fromkeys((*made.notes, *checked, *_unseen(draft, made), *why_not)))
    for note in notes:
        listener.note(note)
    if not draft.weighted_ops.quantized:
        listener.warning(f"Nothing of {config.model} is quantized; {config.destination} is a float model.")
    report = _report(config, draft, made, SizeBytes(source.size_bytes, staged.size_bytes))
    return replace(report, compared=found, notes=(*draft.notes, *notes))


def _unseen(draft: Draft, made: Finished) -> tuple[str, ...]:
    """Say what the float types were chosen by, where no sample was run."""
    if draft.samples is not None or made.rest is None:
        return ()
    known = (
        "the Q/DQ and the weights say"
        if draft.table is None
        else "the table says, whose ranges may cut the largest values off"
    )
    return (f"How large float tensors get is taken from what {known}; --calib FOLDER checks it on samples.",)


def _require_way(config: MigrateConfig, *, quantized: bool) -> None:
    """Refuse a table beside Q/DQ, and a float model without a table.

    Raises:
        UsageError: It is one of these.
    """
    if quantized and (config.weights is not WeightForm.FP32 or config.plan != PlanConfig()):
        raise UsageError(
            f"{config.model} holds Q/DQ, which stay where they are: --weights and the options about placement are for "
            "float models.",
            "Leave them out, or quantize the float model.",
        )
    if quantized and config.cache is not None:
        raise UsageError(
            f"{config.model} holds Q/DQ, and where these are, no TensorRT ever read a calibration table.",
            "Leave --cache out, or give the float model that the table was made for.",
        )
    if not quantized and config.cache is None:
        raise UsageError(
            f"{config.model} is a float model, and there is no calibration table to quantize it by.",
            f"Give the one of the old build with --cache, or calibrate: qdq quantize {config.model} --calib FOLDER "
            "--trt 11.",
        )


def _draft(source: files.ModelFile, config: MigrateConfig, table: Table | None, listener: Listener) -> Draft:
    if table is not None:
        return draft_from_table(source, config, table, listener)
    return draft_from_pairs(source, config, listener)


def _finished(draft: Draft, config: MigrateConfig, listener: Listener) -> Finished:
    """Give what is not quantized its type; what is FP16 or BF16 already stays so.

    Raises:
        ModelError: Another type was asked for than the 16-bit one that the model has.
    """
    forms = (config.scale_type, config.keep_io_types)
    form = wanted_form(draft.model, config.model, config.float_type, FloatType.FP16, forms)
    if form is None:
        return Finished(draft.model, ())
    observed = completed(draft.floats, form, draft.observed, draft.samples, listener)
    return in_float_type(draft.model, form, observed)


def _report(config: MigrateConfig, draft: Draft, made: Finished, sizes: SizeBytes) -> MigrationReport:
    opset = opset_of(made.model)
    half = half_type(made.model) is not None
    oldest = oldest_release(opset, half=half, weights=_weight_form(made.model), asked=None)
    return MigrationReport(
        schema_version=SCHEMA_VERSION,
        model=str(config.model),
        output=str(config.destination),
        opset=opset,
        target=TENSORRT.name,
        trt=oldest.value,
        table=draft.table,
        weighted_ops=draft.weighted_ops,
        repairs=draft.repairs,
        left=draft.left,
        rest=made.rest,
        changes=draft.changes,
        findings=_errors(made.model),
        compared=None,
        size_bytes=sizes,
        builds=builds(oldest, half=half),
    )


def _weight_form(model: ir.Model) -> WeightForm:
    """How the weights of a model are stored, as far as releases differ in it."""
    stored = (input_at(node, 0) for node in model.graph if is_dequantize(node))
    return WeightForm.INT8 if any(is_constant(value) for value in stored) else WeightForm.FP32


def _errors(model: ir.Model) -> tuple[Finding, ...]:
    """What TensorRT 11 refuses about a model."""
    found = verdict(lint(model), TensorRT.V11).findings
    return tuple(entry for entry in found if entry.severity is Severity.ERROR)
