"""Compare the written model with the FP32 model on samples, and hold it against the limits the user set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from calibrators import Histogram
from calibrators.metrics import SQNR_CEILING_DB, Comparison, TopAgreement, are_class_scores
from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.calibrating.sample_keys import sample_key
from qdq_cli.config.quantize import VerifyConfig
from qdq_cli.data.batches import Batch, Group, full_runs, load_readable_batch
from qdq_cli.data.unreadable import UnreadableSamples
from qdq_cli.preparing.paired import paired
from qdq_cli.process.errors import LimitError, UsageError
from qdq_cli.process.progress import Listener
from qdq_cli.quantizing.default_session import DefaultRun, judged
from qdq_cli.quantizing.low import reasons_of
from qdq_cli.quantizing.report import Distance, Rows, Verification
from qdq_cli.quantizing.rows import RowMeter
from qdq_cli.running.runner import Outputs, Runner

NO_ROWS: Mapping[str, Rows] = MappingProxyType({})
"""No output has a number of rows that depends on the data."""


@dataclass(frozen=True)
class Result:
    """What is known of a Q/DQ model besides its file.

    Args:
        opset: Its opset.
        calibrated: Keys of the samples that a cache was calibrated on, wherever that was.
        seen: Tensor -> what calibration saw of it.
        samples: How many samples calibrated.
    """

    opset: int
    calibrated: frozenset[str] = frozenset()
    seen: Mapping[str, Histogram] = field(default_factory=dict)
    samples: int = 0


def require_samples(config: VerifyConfig, samples: Samples | None) -> None:
    """Refuse limits that nothing could be held against.

    Raises:
        UsageError: A limit is set, but there are no samples or verification is off.
    """
    if config.gates and (samples is None or config.samples == 0):
        raise UsageError(
            "--min-sqnr and --min-agreement need samples to run, and there are none.",
            "Give --calib, and --verify above 0.",
        )


def verify(
    models: tuple[Path, Path],
    samples: Samples | None,
    config: VerifyConfig,
    listener: Listener,
    result: Result,
) -> Verification | None:
    """Run both models on the same samples, ONNX Runtime's graph optimisations off; None where that was not asked for.

    Samples that calibration did not see are taken; where too few could be held back for a run, calibrated ones serve.

    Args:
        models: The float model and the Q/DQ model.
        samples: The calibration data; None where there is none.
        config: How many samples.
        listener: Told about progress.
        result: What is known of the Q/DQ model.

    Raises:
        ModelError: One of the models cannot be run.
        LimitError: There is a limit, and no output that ONNX Runtime can compute.
        DataError: A sample cannot be used.
    """
    if samples is None or config.samples == 0:
        return None
    groups, held_back = verification_runs(samples, config.samples)
    unreadable = UnreadableSamples(len(samples.every))
    outputs: dict[str, _Output] = {}
    seen = 0
    if (pair := paired(*models)) is None:
        _require_no_limits(config)
        return None
    runners = pair.reference, pair.candidate
    default = None if pair.cut else DefaultRun(models[1])  # which has to know all operators
    with listener.progress("verifying", len(groups)) as advance:
        for number, group in enumerate(groups, start=1):
            batch = load_readable_batch(samples.every, group, unreadable)
            if batch is not None:
                expected = _compare(runners, batch, outputs)
                if default is not None:
                    default.observe(expected, batch)
                seen += batch.samples
                keys = {sample_key(samples.every.identity(index)) for index in batch.indices}
                held_back = held_back and result.calibrated.isdisjoint(keys)
            advance(number, len(groups))
    rows = {name: found for name, output in outputs.items() if (found := output.rows.found()) is not None}
    distances = {name: output.distance() for name, output in outputs.items() if output.compared and name not in rows}
    at = {name: distance.sqnr_db for name, distance in distances.items()}
    again = partial(_once_more, runners[0], samples, groups)
    return Verification(
        seen,
        held_back,
        distances,
        tuple(name for name in outputs if name not in distances and name not in rows),
        None if default is None else judged(default, at, models[1], result.opset, again),
        {} if pair.cut else reasons_of(distances, models[1], again, result.seen, result.samples),
        rows,
    )


def _once_more(reference: Runner, samples: Samples, groups: Sequence[Group]) -> Iterator[tuple[Outputs, Batch]]:
    """The outputs of the FP32 model on the samples, batch by batch."""
    unreadable = UnreadableSamples(len(samples.every))
    for group in groups:
        batch = load_readable_batch(samples.every, group, unreadable)
        if batch is not None:
            yield reference.run(batch), batch


def _require_no_limits(config: VerifyConfig) -> None:
    """Refuse limits where no output can be computed.

    Raises:
        LimitError: There is one.
    """
    if config.gates:
        raise LimitError(
            "No output can be held against a limit: all of them lie behind operators that ONNX Runtime does not know.",
            "Leave --min-sqnr and --min-agreement out.",
        )


def verification_runs(samples: Samples, count: int) -> tuple[tuple[Group, ...], bool]:
    """Return the runs to compare on, at least one, and whether calibration did not see their samples.

    A model with a fixed batch takes samples of equal shape only, and leaves over some of those that should calibrate;
    they are as good as those that were held back. Where all of these do not fill a run, runs that calibrated serve.
    """
    ran = {index for group in samples.batches.groups for index in group}
    left_over = [index for index in samples.selection.calibration if index not in ran]
    unseen = full_runs(samples.every, (*samples.selection.held_back, *left_over))
    chosen: list[Group] = []
    for group in unseen or full_runs(samples.every, samples.selection.calibration):
        if chosen and sum(map(len, chosen)) + len(group) > count:
            break
        chosen.append(group)
    return tuple(chosen), bool(unseen)


def _compare(runners: tuple[Runner, Runner], batch: Batch, outputs: dict[str, _Output]) -> Outputs:
    """Run both models on a batch and compare what they give; returns the outputs of the first."""
    expected, found = (runner.run(batch) for runner in runners)
    for name, array in expected.items():
        if isinstance(array, np.ndarray) and array.dtype.kind in "fiub":
            outputs.setdefault(name, _Output()).observe(array, found[name])
    return expected


class _Output:
    """The running comparison of one output."""

    def __init__(self) -> None:
        self.compared = False
        self.rows = RowMeter()
        self._comparison = Comparison()
        self._agreement: TopAgreement | None = None

    def observe(self, reference: NDArray[np.generic], other: NDArray[np.generic]) -> None:
        self.rows.observe(reference, other)
        if reference.shape != other.shape or not reference.size:
            return  # the number of results depends on the values (detections after suppression)
        self.compared = True
        self._comparison.observe(reference, other)
        if are_class_scores(reference):
            self._agreement = self._agreement or TopAgreement()
            self._agreement.observe(reference, other)

    def distance(self) -> Distance:
        distances = self._comparison.distances()
        return Distance(
            sqnr_db=round(distances.sqnr_db, 4),
            cosine=round(distances.cosine, 8),
            max_error=distances.max_error,
            equal=distances.sqnr_db == SQNR_CEILING_DB,
            top1_agreement=None if self._agreement is None else round(self._agreement.percent, 4),
        )


def unmet_limit(compared: Verification | None, config: VerifyConfig) -> LimitError | None:
    """Hold every output against the limits; return what is wrong with the first that misses one."""
    if compared is None:
        return None
    try:
        hold_limits(compared.outputs, compared.not_compared, config, _HINT, compared.rows)
    except LimitError as error:
        return error
    return None


def hold_limits(
    outputs: Mapping[str, Distance],
    not_compared: Sequence[str],
    config: VerifyConfig,
    hint: str,
    rows: Mapping[str, Rows] = NO_ROWS,
) -> None:
    """Hold the distances of outputs against the limits.

    Args:
        outputs: Output name -> distance.
        not_compared: Outputs without one.
        config: The limits.
        hint: What to do where one is missed.
        rows: Output name -> its rows, where their number depends on the data: `min_agreement` holds for those matched.

    Raises:
        LimitError: An output misses one, or no output could be held against one.
    """
    if not config.gates:
        return
    _require_comparable(outputs, not_compared, rows, config)
    for name, distance in outputs.items():
        if config.min_sqnr is not None and distance.sqnr_db < config.min_sqnr:
            raise LimitError(
                f"Output '{name}' reaches an SQNR of {distance.sqnr_db:.2f} dB; --min-sqnr is {config.min_sqnr:g} dB.",
                hint,
            )
        agreement = distance.top1_agreement
        if config.min_agreement is not None and agreement is not None and agreement < config.min_agreement:
            raise LimitError(
                f"Output '{name}' agrees with FP32 in {agreement:.2f} % of the rows; "
                f"--min-agreement is {config.min_agreement:g} %.",
                hint,
            )
    _hold_rows(rows, config, hint)
    scores = bool(rows) or any(distance.top1_agreement is not None for distance in outputs.values())
    if config.min_agreement is not None and not scores:
        raise LimitError(
            "--min-agreement is set, but no output holds class scores (two dimensions, two or more classes).",
            "Use --min-sqnr for this model.",
        )


def _require_comparable(
    outputs: Mapping[str, Distance], not_compared: Sequence[str], rows: Mapping[str, Rows], config: VerifyConfig
) -> None:
    """Refuse limits that an output could not miss.

    Raises:
        LimitError: There is no distance of it, or there are rows alone where an SQNR is asked for.
    """
    counted = [name for name, found in rows.items() if found.agreement is None]
    alone = [] if outputs or config.min_sqnr is None else list(rows)
    blind = (*not_compared, *counted, *alone)
    if not outputs and not rows and not blind:
        raise LimitError(
            "No output can be held against a limit: none holds numbers.",
            "Compare a model that returns scores too, or leave --min-sqnr and --min-agreement out.",
        )
    if blind:
        raise LimitError(
            f"Output '{blind[0]}' cannot be held against a limit: its shape differs between the models.",
            "Its size depends on the values, as behind NonMaxSuppression; compare a model without that part.",
        )


def _hold_rows(rows: Mapping[str, Rows], config: VerifyConfig, hint: str) -> None:
    """Hold the share of rows that both models give against `min_agreement`.

    Raises:
        LimitError: An output misses it.
    """
    for name, found in rows.items():
        share = found.agreement
        if config.min_agreement is not None and share is not None and share < config.min_agreement:
            raise LimitError(
                f"Output '{name}' has {share:.2f} % of its rows in common with FP32; --min-agreement is "
                f"{config.min_agreement:g} %.",
                hint,
            )


_HINT = (
    "The model was not written. Try --recover, another --method, or --tune, which leaves as little float as the limit "
    "takes."
)
