"""Does a calibration cache, or a file of ranges, serve a model: what is there, what is missing, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx_ir as ir

from calibrators import CalibrationTable, Range, read_cache
from qdq_cli.calibrating.calibration import Observation
from qdq_cli.calibrating.feeding import describe_feeding
from qdq_cli.calibrating.magnitudes import extremes_to_watch
from qdq_cli.calibrating.stored import Found, find
from qdq_cli.calibrating.taken_out import wide_depthwise, without_ruined
from qdq_cli.casting.bounds import unbounded
from qdq_cli.casting.formats import FORMATS, limit
from qdq_cli.config.cache import CheckConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.data.ranges import is_cache, read_given, unmatched
from qdq_cli.model import files
from qdq_cli.placement.plan import Plan, make_plan
from qdq_cli.placement.topology import float_tensors
from qdq_cli.preparing.prepare import prepare
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import DataError
from qdq_cli.quantizing.float_form import half_type
from qdq_cli.targets.known import target_for


@dataclass(frozen=True)
class Fit:
    """A file held against a model.

    Args:
        schema_version: Version of this document.
        model: Path of the model.
        file: Path of the file.
        kind: "calibration cache" or "ranges".
        fits: Whether nothing is missing.
        needed: How many tensors the model needs; for ranges, how many scale groups.
        missing: Those that are not in the file.
        renamed: Name in the model -> name in the file, for tensors that are computed alike and called differently.
        spare: How many tensors of the file the model does not need.
        same_model: Whether the model computes what the observed one did, in any spelling; None for ranges.
        samples: Samples observed; None for ranges.
        preprocessing: One line on how samples became inputs; "" for arrays and ranges.
        versions: Tool -> version; empty for ranges.
        by_values: Tensors of another export that were told by the values they take on made-up samples.
        differences: Sentences on why tensors are missing, as far as that is known.
        unbounded: `fp16` and `bf16` -> tensors whose size the file does not tell, for `--float-type` without samples;
            None for ranges, and where the model has such floats already.
    """

    schema_version: int
    model: str
    file: str
    kind: str
    fits: bool
    needed: int
    missing: tuple[str, ...]
    renamed: Mapping[str, str]
    spare: int
    same_model: bool | None = None
    samples: int | None = None
    preprocessing: str = ""
    versions: Mapping[str, str] | None = None
    by_values: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    unbounded: Mapping[str, tuple[str, ...]] | None = None


def check_fit(config: CheckConfig) -> Fit:
    """Hold a calibration cache or a file of ranges against what `qdq quantize` needs for a model.

    Raises:
        ModelError: The model cannot be read or prepared.
        CalibratorError: The file cannot be read, or is damaged.
        UsageError: A placement option matches nothing.
    """
    table = read_cache(config.file) if is_cache(config.file) else None
    ranges, wide = read_given(config.file) if table is None else ({}, frozenset[str]())
    target = target_for(config.target, config.plan)
    source = files.load(config.model)
    model = prepare(source.model, source.proto, lowest=target.lowest_opset, copy=False).model
    plan = make_plan(model, target, config.plan)
    if table is not None:
        return _of_table(config, model, plan, table)
    left = wide_depthwise(model, plan, Observation({}), RangeConfig(imported=ranges, wide=wide))
    plan = make_plan(model, target, replace(config.plan, wide=left)) if left else plan
    return _of_ranges(config, plan, ranges)


def require_fit(fit: Fit) -> None:
    """Refuse a file that does not serve the model.

    Raises:
        DataError: Something is missing.
    """
    if not fit.fits and fit.kind == "ranges" and fit.differences:
        raise DataError(*fit.differences)
    if not fit.fits:
        lacking = (
            f"The {fit.kind} {fit.file} lacks {len(fit.missing)} of the {fit.needed} tensors that {fit.model} needs, "
            f"such as '{fit.missing[0]}'."
        )
        raise DataError(" ".join((lacking, *fit.differences)), _way_out(fit))


def _way_out(fit: Fit) -> str:
    """What helps where something is missing."""
    if fit.same_model:
        return (
            "It was made for another target or other options; calibrate again with these, or with --every-target or "
            "--all-tensors."
        )
    return "It was made for other weights, another network or other placement options; calibrate again."


def _of_table(config: CheckConfig, model: ir.Model, plan: Plan, table: CalibrationTable) -> Fit:
    wanted = float_tensors(model.graph) if config.all_tensors else plan.observed
    watched = (*plan.calibrated, *extremes_to_watch(model, plan.calibrated))
    hit = find(table, model, wanted, watched)
    if not config.all_tensors and not hit.missing:
        again = without_ruined(model, plan, Observation(hit.histograms), config.plan)
        if again is not plan:  # quantize needs that plan's tensors as well
            wanted = tuple(dict.fromkeys((*wanted, *again.observed)))
            hit = find(table, model, wanted, watched)
    origin = table.provenance
    return Fit(
        schema_version=SCHEMA_VERSION,
        model=str(config.model),
        file=str(config.file),
        kind="calibration cache",
        fits=not hit.missing,
        needed=len(wanted),
        missing=hit.missing,
        renamed=hit.renamed,
        spare=len(table.entries) - len(hit.histograms),
        same_model=hit.same_network,
        samples=origin.sample_count,
        preprocessing=describe_feeding(origin.preprocessing),
        versions=dict(origin.versions),
        by_values=hit.by_values,
        differences=hit.differences,
        unbounded=None if half_type(model) else _unbounded(model, hit),
    )


def _unbounded(model: ir.Model, hit: Found) -> dict[str, tuple[str, ...]]:
    """Return, for each 16-bit float type, the tensors whose size neither was observed nor follows from what was."""
    seen = Observation(hit.histograms, extremes=hit.extremes).known_extremes
    return {kind.value: unbounded(model, seen, limit(form)) for kind, form in FORMATS.items()}


def _of_ranges(config: CheckConfig, plan: Plan, ranges: Mapping[str, Range]) -> Fit:
    groups = [group for group in plan.groups if group.known is None]
    missing = tuple(group.tensors[0] for group in groups if not ranges.keys() & set(group.tensors))
    used = {name for group in plan.groups for name in group.tensors if name in ranges}
    return Fit(
        schema_version=SCHEMA_VERSION,
        model=str(config.model),
        file=str(config.file),
        kind="ranges",
        fits=not missing,
        needed=len(groups),
        missing=missing,
        renamed={},
        spare=len(ranges) - len(used),
        differences=tuple(unmatched(ranges, [name for group in plan.groups for name in group.tensors]) or ()),
    )
