"""Measure a variant and hold it against the target.

SQNR and agreement are those of the samples set aside from the calibration data and of those that verification holds
back, whichever are worse: what is chosen here then passes the verification of what is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from qdq_cli.config.tune import TuneConfig
from qdq_cli.data.batches import load_readable_batch
from qdq_cli.data.unreadable import UnreadableSamples
from qdq_cli.judging.candidate import Candidate
from qdq_cli.judging.trials import Outcome, Trials
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import LimitError
from qdq_cli.quantizing.agreement import Interval, interval_of
from qdq_cli.quantizing.report import Report
from qdq_cli.quantizing.verification import verification_runs
from qdq_cli.sensitivity.metric import Metric
from qdq_cli.sensitivity.stand import Stand
from qdq_cli.tuning.record import Goal, Point, TuneReport

_TOLERANCE = 1e-9  # of a drop or a share, which are differences of rounded numbers


class PointMeter:
    """Measures variants of one model as points of its frontier, each held against the target.

    Args:
        stand: The model and the samples set aside.
        config: The target.
        metric: The user's metric; None where there is none.

    Raises:
        LimitError: Agreement is asked for, and no output holds class scores.
    """

    def __init__(self, stand: Stand, config: TuneConfig, metric: Metric | None) -> None:
        verify = config.quantize.verify
        self.goal = Goal(verify.min_sqnr, verify.min_agreement, config.max_drop, config.min_int8_macs)
        self._config = config
        self._stand = stand
        self._verifying = _verifying(stand, verify.samples)
        self._metric = metric

    @property
    def float_metric(self) -> float | None:
        """Value of the user's metric for the float model."""
        return None if self._metric is None else self._metric.float_value

    @property
    def held_back(self) -> int:
        """How many samples of verification are measured on."""
        return 0 if self._verifying is None else self._verifying.samples

    def report(
        self, frontier: Sequence[Point], chosen: Point, written: Report, seconds: Mapping[str, float], operators: int
    ) -> TuneReport:
        """Tell what was measured and written; whoever searched adds how.

        Args:
            frontier: Every variant measured, cheapest first.
            chosen: The one that was written.
            written: What became of it.
            seconds: Time of each stage.
            operators: How many the search could decide on.
        """
        return TuneReport(
            schema_version=SCHEMA_VERSION,
            model=str(self._config.quantize.model),
            output=written.output or "",
            goal=self.goal,
            mha=self._config.quantize.plan.attention,
            met=chosen.met,
            float_metric=self.float_metric,
            samples=self._stand.trials.samples,
            held_back=self.held_back,
            operators=operators,
            adding_up=None,
            frontier=tuple(frontier),
            chosen=frontier.index(chosen),
            left_float=(),
            quantize=written,
            seconds=seconds,
            target=written.target,
            activation_type=written.activation_type,
            weight_type=written.weight_type,
            notes=written.notes,
        )

    def of(self, left_float: tuple[str, ...], candidate: Candidate) -> Point:
        """Measure a variant. One with nothing in INT8 is equal to FP32, but no answer, so it never meets the target.

        Raises:
            QdqError: It cannot be run, or the user's program gives no number.
        """
        outcomes = [self._stand.trials.measure(candidate)]
        if self._verifying is not None:
            outcomes.append(self._verifying.measure(candidate))
        sqnr_db = min(outcome.worst_sqnr_db for outcome in outcomes)
        agreement, interval = self._agreement(outcomes)
        metric = None if self._metric is None else self._metric.of(candidate)
        drop = None if metric is None or self._metric is None else self._metric.drop(metric)
        work = self._stand.meter.of(candidate.plan)
        missing = self._missing(sqnr_db, agreement, drop, work.macs_percent)
        only_sqnr = self.goal.max_drop is None and self.goal.min_agreement is None
        decides = self.goal.min_sqnr is not None and (only_sqnr or missing[0] > 0)
        return Point(
            left_float=left_float,
            quantized_macs_percent=work.macs_percent,
            quantized_traffic_percent=work.traffic_percent,
            quantized_work_percent=work.percent,
            sqnr_db=sqnr_db,
            agreement=agreement,
            agreement_interval=interval,
            metric=metric,
            drop=drop,
            met=bool(candidate.plan.quantized) and not any(missing),
            excess_db=(self.goal.min_sqnr or 0.0) - sqnr_db if decides else None,
            shortfall=sum(missing) if candidate.plan.quantized else math.inf,
        )

    def _agreement(self, outcomes: list[Outcome]) -> tuple[float | None, Interval | None]:
        found = [(outcome.worst_agreement, outcome.worst_rows) for outcome in outcomes]
        known = [(agreement, rows) for agreement, rows in found if agreement is not None and rows is not None]
        if not known and self.goal.min_agreement is not None:
            raise LimitError(
                "--min-agreement is set, but no output holds class scores (two dimensions, two or more classes).",
                "Use --min-sqnr for this model.",
            )
        if not known:
            return None, None
        agreement, rows = min(known)
        return agreement, interval_of(*rows)

    def _missing(
        self, sqnr_db: float, agreement: float | None, drop: float | None, macs_percent: float
    ) -> tuple[float, float, float, float]:
        """How much of each part of the target is missing: SQNR, agreement, metric, work; 0 for what is met."""
        goal = self.goal
        return (
            0.0 if goal.min_sqnr is None else max(0.0, goal.min_sqnr - sqnr_db),
            0.0 if goal.min_agreement is None or agreement is None else max(0.0, goal.min_agreement - agreement),
            0.0 if goal.max_drop is None or drop is None else _above(drop, goal.max_drop),
            0.0 if goal.min_quantized_macs is None else _above(goal.min_quantized_macs, macs_percent),
        )


def _above(value: float, limit: float) -> float:
    return value - limit if value - limit > _TOLERANCE else 0.0


def _verifying(stand: Stand, count: int) -> Trials | None:
    """Trials on the samples that verification will take; None where there is no verification."""
    samples = stand.work.samples
    if samples is None or count == 0:
        return None
    groups, _ = verification_runs(samples, count)
    unreadable = UnreadableSamples(len(samples.every))
    batches = (load_readable_batch(samples.every, group, unreadable) for group in groups)
    return Trials(stand.work.model, (batch for batch in batches if batch is not None))
