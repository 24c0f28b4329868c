"""A calibration cache and a model: the same table, with what is known only where both are at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from calibrators import CalibrationTable, read_cache, write_cache
from qdq_cli.cache.summary import CacheSummary, summarize
from qdq_cli.calibrating.merging import merge_files
from qdq_cli.calibrating.stored import Found, find, with_groupings
from qdq_cli.config.cache import ExportConfig, MergeConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.ranges import DEFAULT_PERCENTILE
from qdq_cli.model import files
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.process.errors import DataError, UsageError
from qdq_cli.process.writable import check_writable
from qdq_cli.screen.sentences import some_of
from qdq_cli.targets.known import target_for


def table_to_export(config: ExportConfig) -> CalibrationTable:
    """Read the cache; where a model is given, with its names for the tensors, and grouped as it is quantized now.

    Raises:
        CacheFileError: The cache cannot be read.
        DataError: It does not fit the model.
        ModelError: The model cannot be read or prepared.
        UsageError: A placement option is given without a model, or matches nothing.
    """
    table = read_cache(config.file)
    if config.model is None:
        _require_default(config.plan)
        return table
    model, found = _found(table, config, config.model, config.file)
    entries = {name: table.entries[found.renamed.get(name, name)] for name in found.histograms}
    return with_groupings(replace(table, entries=entries), model, target_for(config.target, config.plan), config.plan)


def merge_caches(config: MergeConfig) -> CacheSummary:
    """Merge calibration caches of one model into the cache a single run over all samples would have made.

    With the model, that is also what this run would note of the plan without depthwise convolutions that no range
    serves; where only all shares together show them, none of the shares can know that plan.

    Raises:
        CalibratorError: One cannot be read, does not belong to the first, or holds samples that were merged already; or
            the output cannot be written.
        DataError: They do not fit the model.
        ModelError: The model cannot be read or prepared.
        UsageError: There is no cache, or a placement option is given without a model, or matches nothing.
    """
    check_writable(config.output)
    table = merge_files(config.files)
    if config.model is None:
        _require_default(config.plan)
    else:
        model, found = _found(table, config, config.model, config.files[0])
        named = table.renamed({old: new for new, old in found.renamed.items()})
        table = with_groupings(named, model, target_for(config.target, config.plan), config.plan)
    write_cache(table, config.output)
    return summarize(config.output, table, DEFAULT_PERCENTILE)


def _require_default(plan: PlanConfig) -> None:
    """Refuse placement options where there is no model to place anything in."""
    if plan != PlanConfig():
        raise UsageError(
            "Placement options say what is quantized of a model, and none is given.", "Name it with --model."
        )


def _found(
    table: CalibrationTable, config: ExportConfig | MergeConfig, path: Path, file: Path
) -> tuple[ir.Model, Found]:
    """Prepare the model, and find in the table what its plan observes.

    Args:
        table: Of the calibration cache.
        config: Says what for, and which of the operators.
        path: The model.
        file: The calibration cache, or the first of those that were merged: each holds the same tensors.
    """
    target = target_for(config.target, config.plan)
    source = files.load(path)
    model = prepare(source.model, source.proto, lowest=target.lowest_opset, copy=False).model
    plan = make_plan(model, target, config.plan)
    found = find(table, model, plan.calibrated)
    lacking = [name for name in plan.observed if name in found.missing]
    if lacking:
        raise DataError(
            f"The calibration cache {file} lacks {len(lacking)} of the {len(plan.observed)} tensors that {path} "
            f"needs, such as {some_of(lacking)}.",
            f"qdq cache check {path} {file} says why.",
        )
    return model, found
