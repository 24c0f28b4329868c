"""The parts of a run's report: what was planned, how ranges were found, what was predicted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import onnx_ir as ir

from qdq_cli.calibrating.calibration import Observation, Ranges
from qdq_cli.calibrating.calibration_data import Samples, input_specs
from qdq_cli.config.quantize import QuantizeConfig
from qdq_cli.data.inputs import parse_input_shapes, with_shapes
from qdq_cli.model.integer_io import integer_ends
from qdq_cli.model.opset import opset_of
from qdq_cli.placement.macs_limit import RANKED, unmet_macs
from qdq_cli.placement.plan import Plan
from qdq_cli.placement.prediction import Prediction
from qdq_cli.placement.selection import Skip
from qdq_cli.placement.skips import OPTIMIZER_MADE
from qdq_cli.process.errors import LimitError, UsageError
from qdq_cli.quantizing.float_rest import Finished
from qdq_cli.quantizing.opened import Opened
from qdq_cli.quantizing.planned import WEIGHTED, planned, release_of
from qdq_cli.quantizing.report import Calibration, Report
from qdq_cli.quantizing.run import Run
from qdq_cli.running.few_samples import note_of_few
from qdq_cli.screen.sentences import some_of


def finished(run: Run, opened: Opened, written: Finished) -> Report:
    """The report as far as a model that is about to be written says it.

    Raises:
        ModelError: The release asked for does not read the opset that the float type needs.
    """
    opset = opset_of(written.model)
    release = release_of(run, opened, opset)
    return replace(
        planned(run, replace(opened, trt=release)),
        opset=opset,
        float_rest=written.rest,
        integers=dict(integer_ends(written.model)),
    )


def calibrated(
    config: QuantizeConfig, samples: Samples | None, observed: Observation, plan: Plan, ranges: Ranges
) -> Calibration | None:
    """How the ranges were found; None where nothing needed one."""
    if not ranges.groups or not (observed.histograms or ranges.manual):
        return None
    used = config.ranges.method == "percentile"
    preprocessing = samples.every.preprocessing if samples else None
    return Calibration(
        method=config.ranges.method,
        percentile=config.ranges.percentile if used else None,
        samples=observed.samples,
        batch_size=samples.batches.batch_size if samples and not observed.from_cache else 0,
        tensors=len(observed.histograms),
        cache=str(config.ranges.cache) if config.ranges.cache else None,
        from_cache=observed.from_cache,
        preprocessing=observed.preprocessing,
        assumed=preprocessing is not None and preprocessing.assumed,
        manual_ranges=ranges.manual,
        judged=sum(len(group.tensors) for group in plan.groups if group.judged),
        provider=observed.provider,
        few=note_of_few(observed.samples),
    )


def sample_shapes(opened: Opened, config: QuantizeConfig, samples: Samples | None) -> dict[str, tuple[int, ...]]:
    """Return input -> shape of one sample, for the inputs whose shape the model leaves open.

    Sizes come from the model, from `--input-shape`, then from the first sample; an input with a size that none of them
    says is left out.
    """
    declared = input_specs(opened.prepared.model)
    specs = with_shapes(declared, parse_input_shapes(config.data.input_shape, declared))
    first = samples.every.shapes(0) if samples is not None and len(samples.every) else [None] * len(specs)
    found: dict[str, tuple[int, ...]] = {}
    for before, spec, shape in zip(declared, specs, first, strict=True):
        known = shape if shape is not None and len(shape) == spec.rank else (1, *spec.shape[1:])[: len(spec.shape)]
        dims = [dim if isinstance(dim, int) else size for dim, size in zip(spec.shape, known, strict=True)]
        if not all(isinstance(dim, int) for dim in before.shape) and all(isinstance(dim, int) for dim in dims):
            found[spec.name] = tuple(dim for dim in dims if isinstance(dim, int))
    return found


def predicted(run: Run, opened: Opened, model: ir.Model, samples: Samples | None) -> Prediction | None:
    """Say what the target is predicted to make of a result; None where nobody knows."""
    predictor = run.target.predictor
    return None if predictor is None else predictor.predict(model, sample_shapes(opened, run.config, samples))


def macs_missed(prediction: Prediction | None, least: float | None, title: str) -> LimitError | None:
    """Hold the share of the multiply-accumulates that are predicted in a type against `--min-int8-macs`."""
    share = None if prediction is None else prediction.quantized_macs_percent
    return unmet_macs(share, least, f"in {title}", f"The model was not written. {RANKED}")


def why_nothing(report: Report) -> str:
    """Say why nothing of a model is quantized, in a part of a sentence."""
    if not report.weighted_ops.total:
        return "it has no Conv, ConvTranspose, Gemm or MatMul"
    reasons = Counter(f"{skip.op_type}: {skip.reason}" for skip in report.skips if _is_weighted(skip))
    return some_of([f"{number} x {reason}" for reason, number in reasons.most_common()], most=2)


def _is_weighted(skip: Skip) -> bool:
    return skip.op_type in WEIGHTED or skip.code == OPTIMIZER_MADE


def require_something_to_judge(config: QuantizeConfig, report: Report) -> None:
    """Refuse limits on accuracy alone where nothing is quantized: a float model meets every one of them.

    Raises:
        UsageError: That is so.
    """
    asked = (config.verify.gates or config.min_speedup is not None) and config.min_int8_macs is None
    if asked and not report.weighted_ops.quantized:
        raise UsageError(
            f"Nothing of {config.model} is quantized, so --min-sqnr, --min-agreement and --min-speedup have nothing to "
            "judge: "
            f"{why_nothing(report)}.",
            "Say with --min-int8-macs how much has to be in INT8; qdq quantize --dry-run -v lists every reason.",
        )
