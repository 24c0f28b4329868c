"""`python -m bench.accuracy [FOLDER]`: what every method of `qdq quantize` keeps of the accuracy, beside the peer's.

The sample models are always measured; FOLDER adds the models NAME/model.onnx in it, each with a program NAME/eval.py
that is called with a model (and a limit) and prints one JSON line with "value". Evaluations run in child processes,
with ONNX Runtime's graph optimisations off, on the full test sets.

What is done is kept in the folder of `--work`; started again, a run evaluates only models that differ from those it
has figures of.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.accuracy_table import TITLES, markdown
from bench.figures import Effort, Evaluation, Figure, MeasureError, fingerprint, measure
from bench.kit import KitError, Subject, folder_subjects, only, sample_subjects
from bench.ledger import Entry, Ledger, versions
from bench.peer_models import PEER_METHODS, quantize_peer, write_samples
from calibrators import CalibratorError
from qdq_cli import PlanConfig, QdqError, QuantizeConfig, RangeConfig, VerifyConfig, quantize_model
from qdq_cli.config.recovery import DEFAULT_RECOVERY
from qdq_cli.config.tune import TuneConfig
from qdq_cli.process.errors import DataError, LimitError
from qdq_cli.tuning.tune import tune_model

FLOAT = "fp32"
_EVERY = PlanConfig(mha=True, group_rules=False, channel_rules=False, gemv_rules=False)
"""Quantize also the operators that TensorRT would not run faster in INT8."""

OWN = {
    "auto": (RangeConfig(), PlanConfig()),
    "mse": (RangeConfig("mse"), PlanConfig()),
    "entropy": (RangeConfig("entropy"), PlanConfig()),
    "minmax": (RangeConfig("minmax"), PlanConfig()),
    "percentile-99.99": (RangeConfig("percentile", 99.99), PlanConfig()),
    "percentile-99.999": (RangeConfig("percentile", 99.999), PlanConfig()),
    "mse-no-range-rules": (RangeConfig("mse"), PlanConfig(range_rules=False)),
    "mse-every-operator": (RangeConfig("mse"), _EVERY),
    "minmax-inputs-only": (
        RangeConfig("minmax"),
        dataclasses.replace(_EVERY, residuals=False, pooling=False, range_rules=False),
    ),
}
"""Column -> what `qdq quantize` is told. The last three take placement apart: no rule on wide depthwise inputs, every
weighted operator, and the yardstick of any placement: weighted inputs only, with the largest value as amax."""

AS_GIVEN = ("default", "recover", "tune")
"""Columns of what the commands give by themselves, samples held back for verification included: `qdq quantize`, with
`--recover`, and `qdq tune`. The others are calibrated with every sample."""

_AGREEMENT = 99.0
_SQNR_DB = 20.0
_INT8_MACS = 80.0
"""What `tune` is asked for, the same for every model and without a look at a test set: so much top-1 agreement with
FP32 on calibration samples that are held back where the outputs are class scores, else so much SQNR; and so many
percent of the multiply-accumulates in INT8, where everything that is quantized has as many."""

PEERS = {"none": (), "minmax": ("ort-minmax",), "all": tuple(PEER_METHODS)}
"""What `--peers` is told -> columns."""


@dataclass(frozen=True)
class Bench:
    """One run: where it works, how much it may use, and what it knows."""

    work: Path
    effort: Effort
    ledger: Ledger

    def fill(self, subject: Subject, columns: list[str]) -> None:
        """Measure these columns of a model, as far as they are not known."""
        calibrated = False
        for column in columns:
            if column == FLOAT:
                self._evaluate(subject, column, subject.model, {})
            elif column in OWN:
                calibrated = self._own(subject, column, again=not calibrated) or calibrated
            elif column in AS_GIVEN:
                self._as_given(subject, column)
        self._peers(subject, [column for column in columns if column in PEER_METHODS])

    def _own(self, subject: Subject, column: str, *, again: bool) -> bool:
        """Quantize with `qdq`, calibrating anew in the first column of a run, and evaluate; returns if that worked."""
        ranges, plan = OWN[column]
        cache = self.work / f"{subject.name}.qcal"
        config = QuantizeConfig(
            subject.model,
            self.work / f"{subject.name}.{column}.qdq.onnx",
            subject.data,
            plan,
            dataclasses.replace(ranges, cache=cache, recalibrate=again),
            VerifyConfig(samples=0),
        )
        try:
            report = quantize_model(config)
        except (QdqError, CalibratorError) as error:
            self._record(subject, column, Entry("", failure=str(error)))
            return False
        samples = {"samples": report.calibration.samples} if report.calibration else {}
        operators = {"int8_operators": f"{report.weighted_ops.quantized} of {report.weighted_ops.total}"}
        self._evaluate(subject, column, config.destination, {**samples, **operators})
        return True

    def _as_given(self, subject: Subject, column: str) -> None:
        """Run one of the commands, and evaluate; what it took is kept with the figure."""
        output = self.work / f"{subject.name}.{column}.qdq.onnx"
        recover = () if column == "default" else DEFAULT_RECOVERY
        config = QuantizeConfig(subject.model, output, subject.data, recover=recover)
        start, used = time.perf_counter(), time.process_time()
        try:
            details = _tuned(config) if column == "tune" else _quantized(config)
        except (QdqError, CalibratorError) as error:
            self._record(subject, column, Entry("", failure=str(error)))
            return
        took = {
            "seconds": round(time.perf_counter() - start, 1),
            "cpu_seconds": round(time.process_time() - used, 1),
        }
        self._evaluate(subject, column, Path(details["output"]), {**details, "output": output.name, **took})

    def _peers(self, subject: Subject, columns: Sequence[str]) -> None:
        """Let the peer quantize with the samples `qdq` had, and evaluate."""
        if not columns:
            return
        samples = self.work / f"{subject.name}.samples.npz"
        try:
            write_samples(subject.model, subject.data, samples)
            for column in columns:
                self._peer(subject, column, samples)
        except QdqError as error:
            for column in columns:
                self._record(subject, column, Entry("", failure=str(error)))
        finally:
            samples.unlink(missing_ok=True)

    def _peer(self, subject: Subject, column: str, samples: Path) -> None:
        sources = Evaluation((), (*subject.evaluation.sources, samples))
        key = fingerprint(subject.model, sources, column, *self._facts())
        entry = self.ledger.find(subject.name, key)
        output = self.work / f"{subject.name}.{column}.qdq.onnx"
        if entry is None:
            try:
                details = quantize_peer(column, subject.model, samples, output, self.effort)
                entry = Entry(key, measure(output, subject.evaluation, self.effort), details=details)
            except MeasureError as error:
                entry = Entry(key, failure=str(error))
        self._record(subject, column, entry)

    def _evaluate(self, subject: Subject, column: str, model: Path, details: Mapping[str, Any]) -> None:
        key = fingerprint(model, subject.evaluation, *self._facts())
        known = self.ledger.find(subject.name, key)
        if known is None:
            known = _entry(key, lambda: measure(model, subject.evaluation, self.effort))
        self._record(subject, column, dataclasses.replace(known, details=details))

    def _facts(self) -> tuple[object, ...]:
        return self.effort.limit, versions()["onnxruntime"]

    def _record(self, subject: Subject, column: str, entry: Entry) -> None:
        self.ledger.record(subject.name, subject.task, column, entry)
        found = f"{entry.figure.value:g}" if entry.figure else entry.failure
        print(f"{subject.name}, {TITLES[column]}: {found}", file=sys.stderr, flush=True)


def _quantized(config: QuantizeConfig) -> dict[str, Any]:
    found = quantize_model(config)
    gains = {} if found.recovery is None else {"judged_db": [found.recovery.before_db, found.recovery.after_db]}
    operators = {"int8_operators": f"{found.weighted_ops.quantized} of {found.weighted_ops.total}"}
    return {"output": str(config.destination), **operators, **gains}


def _tuned(config: QuantizeConfig) -> dict[str, Any]:
    """Tune to the agreement, or to the SQNR where the model has no class scores; without a share where none reaches it.

    A model with nothing to quantize is its own best: it is written as it is.
    """
    targets = (VerifyConfig(min_agreement=_AGREEMENT), VerifyConfig(min_sqnr=_SQNR_DB))
    for least, asked in itertools.product((_INT8_MACS, None), targets):
        try:
            found = tune_model(TuneConfig(replace(config, verify=asked), min_int8_macs=least))
            break
        except LimitError as error:
            refused = error
        except DataError:
            quantize_model(config)
            return {"output": str(config.destination), "left_float": 0}
    else:
        raise refused
    chosen = found.frontier[found.chosen]
    target = {"min_agreement": asked.min_agreement, "min_sqnr": asked.min_sqnr, "min_int8_macs": least}
    return {
        "output": found.output,
        "target": {name: value for name, value in target.items() if value is not None},
        "met": found.met,
        "left_float": len(chosen.left_float),
        "int8_macs_percent": round(chosen.quantized_macs_percent, 2),
        "recovered": found.quantize.recovery is not None,
    }


def _entry(key: str, work: Callable[[], Figure]) -> Entry:
    try:
        return Entry(key, work())
    except MeasureError as error:
        return Entry(key, failure=str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="folder with more models")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this model; repeatable")
    parser.add_argument(
        "--methods", nargs="+", choices=(*OWN, *AS_GIVEN), default=[*OWN, *AS_GIVEN], metavar="METHOD", help="of qdq"
    )
    parser.add_argument("--peers", choices=PEERS, default="minmax", help="which methods of the peer")
    parser.add_argument("--limit", type=int, metavar="N", help="so many test samples only: a quick look")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, metavar="N", help="of each evaluation")
    parser.add_argument("--timeout", type=float, default=7200.0, metavar="SECONDS", help="of each child process")
    parser.add_argument("--work", type=Path, default=Path("build/accuracy"), metavar="FOLDER", help="what is kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    return parser


def _main() -> None:
    parser = _parser()
    chosen = parser.parse_args()
    effort = Effort(chosen.limit, chosen.threads, chosen.timeout)
    chosen.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(chosen.work, effort, Ledger(chosen.work / "results.json", chosen.limit))
    try:
        extra = folder_subjects(chosen.folder, chosen.work) if chosen.folder else []
        subjects = only([*sample_subjects(), *extra], chosen.only)
    except KitError as error:
        parser.error(str(error))
    columns = [FLOAT, *chosen.methods, *PEERS[chosen.peers]]
    for subject in subjects:
        bench.fill(subject, columns)
    found = bench.ledger.select([subject.name for subject in subjects], columns)
    print(markdown(found))
    if chosen.json:
        chosen.json.write_text(bench.ledger.text(found), encoding="utf-8")


if __name__ == "__main__":
    _main()
