"""`python -m bench.by_type [FOLDER]`: what each type keeps of the accuracy, and what tensors decide about it.

The models are those of `bench.accuracy`, evaluated in the same way: on full test sets, in child processes, ONNX
Runtime's graph optimisations off, which computes FP8 as it is written; FP16 is the twin that rounds every result. One
calibration serves all types. SQNR is that of the worst output on the samples that calibration did not see.

What is done is kept in the folder of `--work`; started again, a run evaluates only models that differ from those it
has figures of.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from bench.by_type_table import COLUMNS, FLOAT, HALF, INT8, MIX, markdown
from bench.figures import Effort, MeasureError, fingerprint, measure
from bench.kit import KitError, Subject, folder_subjects, only, sample_subjects
from bench.ledger import Entry, Ledger, versions
from calibrators import CalibratorError, Histogram, Scheme, dequantize, qparams_of, quantize, read_cache, weight_ranges
from calibrators.methods.mse import sqnr_db_at
from calibrators.metrics import Comparison
from calibrators.qtypes import FP8_E4M3
from calibrators.qtypes import INT8 as INT8_CODES
from calibrators.scheme import PerChannel, PerTensor
from qdq_cli import PlanConfig, QdqError, QuantizeConfig, RangeConfig, quantize_model
from qdq_cli.casting.twin import twin
from qdq_cli.config.convert import ConvertConfig
from qdq_cli.config.forms import QuantType
from qdq_cli.config.quantize import VerifyConfig
from qdq_cli.config.tune import TuneConfig
from qdq_cli.converting.convert import convert_model
from qdq_cli.model import files
from qdq_cli.quantizing.report import Report, Verification
from qdq_cli.tuning.tune import tune_model

GAIN_DB = 3.0
"""What the mix is asked for above the SQNR of INT8: half of its noise."""

_OWN = {
    INT8: (QuantType.INT8, "auto"),
    "int8-minmax": (QuantType.INT8, "minmax"),
    "fp8": (QuantType.FP8, "auto"),
    "fp8-minmax": (QuantType.FP8, "minmax"),
}
"""Column -> type and method."""


@dataclass
class Bench:
    """One run: where it works, how much it may use, what it knows, and the GPU of the mix."""

    work: Path
    effort: Effort
    ledger: Ledger
    gpu: str

    def fill(self, subject: Subject, columns: list[str]) -> None:
        """Measure these columns of a model, as far as they are not known."""
        for column in columns:
            try:
                model, details = self._written(subject, column)
            except (QdqError, CalibratorError) as error:
                self._record(subject, column, Entry("", failure=str(error)))
                continue
            self._evaluate(subject, column, model, details)

    def _written(self, subject: Subject, column: str) -> tuple[Path, dict[str, Any]]:
        """Write the model of a column; what is known of it besides goes into the details."""
        output = self.work / f"{subject.name}.{column}.onnx"
        if column == FLOAT:
            return subject.model, {}
        if column == HALF:
            return self._half(subject, output)
        if column == MIX:
            return self._mix(subject, output)
        kind, method = _OWN[column]
        report = quantize_model(self._config(subject, output, kind, method))
        return output, {
            **_about(report),
            "tensors": self._tensors(subject, report),
            "weights": _weights(output, report),
        }

    def _config(self, subject: Subject, output: Path, kind: QuantType, method: str) -> QuantizeConfig:
        cache = self.work / f"{subject.name}.qcal"
        ranges = RangeConfig(method, cache=cache, cache_missing="calibrate")
        return QuantizeConfig(subject.model, output, subject.data, PlanConfig(type=kind), ranges)

    def _half(self, subject: Subject, output: Path) -> tuple[Path, dict[str, Any]]:
        """Convert to FP16, and write the twin that ONNX Runtime's CPU computes as it is."""
        written = output.with_suffix(".half.onnx")
        report = convert_model(ConvertConfig(subject.model, output=written, data=subject.data))
        with files.staged(twin(files.load(written).model), output, external=False) as staged:
            staged.commit()
        return output, {"sqnr_db": _worst_db(report.verification)}

    def _mix(self, subject: Subject, output: Path) -> tuple[Path, dict[str, Any]]:
        """Tune to more SQNR than INT8 has."""
        known = self.ledger.entries[subject.name][INT8].details["sqnr_db"]
        config = self._config(subject, output, QuantType.INT8, "auto")
        config = replace(config, verify=VerifyConfig(min_sqnr=known + GAIN_DB))
        found = tune_model(TuneConfig(config, gpu=self.gpu))
        chosen = found.frontier[found.chosen]
        return Path(found.output), {
            "sqnr_db": _worst_db(found.quantize.verification),
            "asked_db": known + GAIN_DB,
            "met": found.met,
            "types": dict(chosen.types),
            "time_percent": chosen.time_percent,
            "recovered": found.quantize.recovery is not None,
            "frontier": [[dict(point.types), point.time_percent, point.sqnr_db] for point in found.frontier],
        }

    def _tensors(self, subject: Subject, report: Report) -> list[list[float]]:
        """Return what is known of each activation that has Q/DQ."""
        entries = read_cache(self.work / f"{subject.name}.qcal").entries
        names = {target.tensor for target in report.targets} & entries.keys()
        histograms = [entries[name].histogram for name in sorted(names)]
        return [tensor_facts(histogram) for histogram in histograms if histogram.amax > 0]

    def _evaluate(self, subject: Subject, column: str, model: Path, details: dict[str, Any]) -> None:
        key = fingerprint(model, subject.evaluation, self.effort.limit, versions()["onnxruntime"])
        known = self.ledger.find(subject.name, key)
        if known is None:
            try:
                known = Entry(key, measure(model, subject.evaluation, self.effort))
            except MeasureError as error:
                known = Entry(key, failure=str(error))
        self._record(subject, column, replace(known, details=details))

    def _record(self, subject: Subject, column: str, entry: Entry) -> None:
        self.ledger.record(subject.name, subject.task, column, entry)
        found = f"{entry.figure.value:g}" if entry.figure else entry.failure
        print(f"{subject.name}, {column}: {found}", file=sys.stderr, flush=True)


def _weights(model: Path, report: Report) -> list[list[float]]:
    """Return the SQNR of each weight at amax, in INT8 with a scale an output channel and in FP8 with one scale."""
    held = {item.name: item for item in _initializers(onnx.load(model).graph)}
    there = {target.tensor: target.axis for target in report.weights if target.tensor in held}
    return [weight_facts(numpy_helper.to_array(held[name]), axis) for name, axis in there.items()]


def _initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield the initializers of a graph and of its bodies."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute if attribute.HasField("g")):
        yield from _initializers(attribute.g)


def weight_facts(weight: NDArray[np.float32], axis: int | None) -> list[float]:
    """Return the SQNR in dB of a weight at amax, in INT8 with a scale along an axis and in FP8 with one scale."""
    along = PerTensor() if axis is None else PerChannel(axis)
    schemes = (Scheme(INT8_CODES, granularity=along), Scheme(FP8_E4M3))
    return [_kept_db(weight, scheme) for scheme in schemes]


def _kept_db(weight: NDArray[np.float32], scheme: Scheme) -> float:
    qparams = qparams_of(weight_ranges(weight, scheme.granularity), scheme)
    compared = Comparison()
    compared.observe(weight, dequantize(quantize(weight, qparams), qparams))
    return compared.distances().sqnr_db


def tensor_facts(histogram: Histogram) -> list[float]:
    """Return amax over root mean square of a tensor, and its SQNR in dB at amax in INT8 and in FP8."""
    counts = histogram.magnitudes()
    middles = [0.0, *(number + 0.5 for number in range(1, counts.size))]  # bin 0 holds the zeros behind a Relu
    square = float(counts @ [middle * middle for middle in middles]) / histogram.count
    crest = histogram.amax / (histogram.bin_width * square**0.5) if square else 0.0
    return [crest, sqnr_db_at(histogram, histogram.amax), sqnr_db_at(histogram, histogram.amax, FP8_E4M3)]


def _about(report: Report) -> dict[str, Any]:
    operators = report.weighted_ops
    return {
        "sqnr_db": _worst_db(report.verification),
        "operators": [operators.quantized, operators.total],
        "samples": report.calibration.samples if report.calibration else 0,
    }


def _worst_db(verification: Verification | None) -> float | None:
    return min((one.sqnr_db for one in verification.outputs.values()), default=None) if verification else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.by_type", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="folder with more models")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this model; repeatable")
    parser.add_argument("--columns", nargs="+", choices=tuple(COLUMNS), default=list(COLUMNS), metavar="COLUMN")
    parser.add_argument("--gpu", default="sm89", metavar="smNN", help="what the mix is for")
    parser.add_argument("--limit", type=int, metavar="N", help="so many test samples only: a quick look")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of each evaluation")
    parser.add_argument("--timeout", type=float, default=7200.0, metavar="SECONDS", help="of each child process")
    parser.add_argument("--work", type=Path, default=Path("build/by_type"), metavar="FOLDER", help="what is kept")
    parser.add_argument("--show", action="store_true", help="print the tables of what is kept, and measure nothing")
    return parser


def _main() -> None:
    parser = _parser()
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(chosen.work / "results.json", chosen.limit)
    bench = Bench(chosen.work, Effort(chosen.limit, chosen.threads, chosen.timeout), ledger, chosen.gpu)
    try:
        extra = folder_subjects(chosen.folder, chosen.work) if chosen.folder else []
        subjects = only([*sample_subjects(), *extra], chosen.only)
    except KitError as error:
        parser.error(str(error))
    for subject in () if chosen.show else subjects:
        bench.fill(subject, chosen.columns)
    print(markdown(ledger.select([subject.name for subject in subjects], list(COLUMNS))))


if __name__ == "__main__":
    _main()
