"""Run quantized variants of one model on fixed samples, and say how much of their outputs is noise.

This is the judge of everything that changes a model: a change stays only where the measured error of the model's own
outputs, on samples that had no part in the change, does not grow.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from calibrators.metrics import Comparison, TopAgreement, are_class_scores
from calibrators.noise import ChannelNoise
from qdq_cli.data.batches import Batch
from qdq_cli.judging.candidate import Candidate, RoundedWeights, trial_model
from qdq_cli.judging.race import Race, is_hopeless, spread
from qdq_cli.model.nodes import input_at, int_attribute, is_op, name_of
from qdq_cli.process.errors import DataError
from qdq_cli.running.outputs import set_outputs, without_weights
from qdq_cli.running.runner import Runner
from qdq_cli.running.session import Source
from qdq_cli.running.unknown import compared_tensors

_KEPT_BYTES = 512 << 20
"""Most memory for the float outputs and the inputs of the samples; what does not fit is not used."""

ABREAST = 2
"""Batches that run at a time: the tensors of so many are in memory together."""

_TINY = float(np.finfo(np.float64).tiny)

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Outcome:
    """How far a candidate's outputs are from FP32.

    Args:
        noise: Mean over the float outputs of `ChannelNoise.ratio`: 0 equal to FP32, 1 nothing but noise. Contributions
            of layers add up in it. Of an output that Softmax or Sigmoid makes, it is that of the scores before: behind
            them a few undecided samples hold nearly all of the noise.
        sqnr_db: Output -> SQNR in dB.
        agreement: Output of class scores -> top-1 agreement in percent.
        rows: Output of class scores -> rows that agree, and all of them.
    """

    noise: float
    sqnr_db: Mapping[str, float]
    agreement: Mapping[str, float]
    rows: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def worst_sqnr_db(self) -> float:
        """The lowest SQNR of all outputs."""
        return min(self.sqnr_db.values())

    @property
    def worst_agreement(self) -> float | None:
        """The lowest top-1 agreement of all outputs of class scores; None where there is none."""
        return min(self.agreement.values(), default=None)

    @property
    def worst_rows(self) -> tuple[int, int] | None:
        """Rows that agree and all of them, of the output with the lowest top-1 agreement; None where there is none."""
        name = min(self.agreement, key=self.agreement.__getitem__, default=None)
        return None if name is None else self.rows[name]


class Trials:
    """Measures candidates on fixed samples.

    Args:
        model: The prepared float model; not changed, and to stay as it is.
        batches: The samples; as many as fit in memory are used, at least one.

    Raises:
        ModelError: The model cannot be run.
        DataError: There are no samples, or the model has no float output that keeps its shape.
    """

    def __init__(self, model: ir.Model, batches: Iterable[Batch]) -> None:
        self._model = model
        self._rounded = RoundedWeights()
        self._scores = _scores(model)
        self._kept: list[tuple[Batch, Arrays]] = []
        runner, size_bytes = self._runner(model), 0
        first, second = itertools.tee(batches)
        for batch, found in zip(first, runner.run_each(second), strict=True):
            outputs = {name: array for name, array in found.items() if _is_float(array)}
            size_bytes += sum(array.nbytes for array in (*outputs.values(), *batch.arrays.values()))
            if self._kept and size_bytes > _KEPT_BYTES:
                break
            self._kept.append((batch, outputs))
        self._axes = self._channel_axes()
        if not any(outputs for _, outputs in self._kept):
            raise DataError(
                "There is nothing to compare quantized models on: no sample, or no output that holds floats.",
                "Give more samples with --calib, and a model that returns scores rather than decisions.",
            )

    @property
    def samples(self) -> int:
        """How many samples are used."""
        return sum(batch.samples for batch, _ in self._kept)

    def samples_of(self, numbers: Iterable[int]) -> int:
        """How many samples the batches with these numbers hold."""
        return sum(self._kept[number][0].samples for number in numbers)

    @property
    def batches(self) -> int:
        """How many batches are used."""
        return len(self._kept)

    @property
    def values(self) -> int:
        """How many float values the outputs of all samples hold."""
        return sum(array.size for _, arrays in self._kept for _, array in self._outputs(arrays))

    @property
    def example(self) -> Batch:
        """The first batch."""
        return self._kept[0][0]

    def measure(self, candidate: Candidate, *, limit: int | None = None, only: Sequence[int] | None = None) -> Outcome:
        """Run a candidate and compare its outputs with FP32.

        Args:
            candidate: What to run.
            limit: Use so many batches only.
            only: Use the batches with these numbers only, counted from 0.

        Raises:
            ModelError: It cannot be run.
        """
        numbers = range(self.batches)[:limit] if only is None else only
        outputs: dict[str, _Output] = {}
        for pair in self._pairs(candidate, numbers):
            outputs.setdefault(pair.output, _Output(pair)).observe(pair)
        return _outcome(outputs)

    def noise(self, candidate: Candidate, only: Sequence[int] | None = None) -> float:
        """Run a candidate and return `Outcome.noise` alone.

        Args:
            candidate: What to run.
            only: Use the batches with these numbers only, counted from 0.

        Raises:
            ModelError: It cannot be run.
        """
        noises: dict[str, ChannelNoise] = {}
        for pair in self._pairs(candidate, range(self.batches) if only is None else only):
            noises.setdefault(pair.output, pair.no_noise()).observe(*pair.scores)
        return _mean_ratio(list(noises.values()))

    def race(self, candidate: Candidate, rival: Sequence[float], gain: float) -> Race:
        """Run a candidate batch after batch, and give it up where it is plain that it does not gain on another one.

        That is so where its mean distance to the other, on the batches so far, is above what was asked by more than
        twice its standard error; batches still to come are evenly spread among them.

        Args:
            candidate: What to run.
            rival: What each batch contributes to the noise of the other (`noise_by_batch`).
            gain: The share of that noise that the candidate has to save.

        Raises:
            ModelError: It cannot be run.
        """
        noises: dict[str, ChannelNoise] = {}
        parts: dict[int, float] = {}
        for pair in self._pairs(candidate, spread(self.batches)):
            if pair.batch not in parts and is_hopeless(parts, rival, gain):
                return Race(sum(parts.values()) / (sum(rival[number] for number in parts) or 1.0))
            parts[pair.batch] = parts.get(pair.batch, 0.0) + self._part(pair)
            noises.setdefault(pair.output, pair.no_noise()).observe(*pair.scores)
        found = tuple(parts.get(number, 0.0) for number in range(self.batches))
        return Race(sum(found) / (sum(rival) or 1.0), found, _mean_ratio(list(noises.values())))

    def noise_by_batch(self, candidate: Candidate) -> tuple[float, ...]:
        """Run a candidate and return what each batch contributes to its noise, up to a factor all have in common.

        Raises:
            ModelError: It cannot be run.
        """
        parts = [0.0] * self.batches
        for pair in self._pairs(candidate, range(self.batches)):
            parts[pair.batch] += self._part(pair)
        return tuple(parts)

    def _part(self, pair: _Pair) -> float:
        """What an output of a batch contributes to the noise of a candidate, by the signal of all batches."""
        sums = pair.no_noise()
        sums.observe(*pair.scores)
        return float(np.mean(sums.noise / np.maximum(self._signal[pair.output], _TINY)))

    @cached_property
    def _signal(self) -> Mapping[str, NDArray[np.float64]]:
        """Output -> its signal in all batches, channel by channel."""
        found: dict[str, NDArray[np.float64]] = {}
        for _, arrays in self._kept:
            for name, _ in self._outputs(arrays):
                sums, scores = ChannelNoise(self._axes.get(name)), self._scores.get(name, Scores(name)).of(arrays)
                sums.observe(scores, scores)
                found[name] = found.get(name, 0.0) + sums.signal
        return found

    def _pairs(self, candidate: Candidate, numbers: Sequence[int]) -> Iterator[_Pair]:
        """Yield every output of the batches with these numbers, in FP32 and of the candidate, of one shape in both."""
        runner = self._runner(trial_model(self._model, candidate, self._rounded))
        runs = runner.run_each(self._kept[number][0] for number in numbers)
        for number, found in zip(numbers, runs, strict=True):
            expected = self._kept[number][1]
            for name, array in self._outputs(expected):
                if array.shape == found[name].shape:
                    scores = self._scores.get(name, Scores(name))
                    pair = (scores.of(expected), scores.of(found))
                    yield _Pair(number, name, (array, found[name]), pair, self._axes.get(name))

    def _runner(self, model: ir.Model) -> Runner:
        return Runner(source_of(model, [scores.tensor for scores in self._scores.values()]), abreast=ABREAST)

    def _channel_axes(self) -> dict[str, int | None]:
        """Output -> its channel axis, the same for all samples."""
        shapes: dict[str, list[tuple[int, ...]]] = {}
        for _, arrays in self._kept:
            for name, _ in self._outputs(arrays):
                shapes.setdefault(name, []).append(self._scores.get(name, Scores(name)).of(arrays).shape)
        return {name: channel_axis(found) for name, found in shapes.items()}

    def _outputs(self, arrays: Arrays) -> Iterator[tuple[str, NDArray[np.generic]]]:
        """What the model itself is compared by."""
        names = set(compared_tensors(self._model))
        return ((name, array) for name, array in arrays.items() if name in names)


@dataclass(frozen=True)
class _Pair:
    """One output of one batch, in FP32 and of a candidate.

    Args:
        batch: Its number.
        output: Name of the output.
        arrays: The output, in FP32 and of the candidate.
        scores: Where its noise is measured (`Scores`), in FP32 and of the candidate.
        axis: Its channel axis; None for none.
    """

    batch: int
    output: str
    arrays: tuple[NDArray[np.generic], NDArray[np.generic]]
    scores: tuple[NDArray[np.generic], NDArray[np.generic]]
    axis: int | None

    def no_noise(self) -> ChannelNoise:
        """Sums for the noise of this output, still empty."""
        return ChannelNoise(self.axis)


@dataclass(frozen=True)
class Scores:
    """Where the noise of an output is measured.

    Args:
        tensor: The tensor: the output itself, or what its Softmax or Sigmoid reads.
        axis: Axis of a Softmax, along which a common shift says nothing; None elsewhere.
    """

    tensor: str
    axis: int | None = None

    def of(self, arrays: Arrays) -> NDArray[np.generic]:
        """The scores among the tensors of a run."""
        array = arrays[self.tensor]
        return array if self.axis is None else array - array.mean(axis=self.axis, keepdims=True, dtype=np.float64)


def _scores(model: ir.Model) -> dict[str, Scores]:
    """Output -> its scores, for outputs that Softmax or Sigmoid makes."""
    fed = set(model.graph.inputs)
    found = {}
    for value in model.graph.outputs:
        maker = value.producer()
        read = input_at(maker, 0) if maker is not None and is_op(maker, "Softmax", "Sigmoid") else None
        if maker is not None and read is not None and read not in fed:
            axis = int_attribute(maker, "axis", -1) if is_op(maker, "Softmax") else None
            found[name_of(value)] = Scores(name_of(read), axis)
    return found


def source_of(model: ir.Model, also: Iterable[str] = ()) -> Source:
    """A model in memory as a session takes it; its weights are not copied and have to stay as they are.

    Args:
        model: The model.
        also: Tensors to hand out besides its outputs.
    """
    proto, weights = without_weights(model)
    compared = compared_tensors(model)
    if set(compared) != {value.name for value in proto.graph.output}:
        set_outputs(proto, compared)
        kept = {tensor.name for tensor in proto.graph.initializer}
        weights = {name: array for name, array in weights.items() if name in kept}
    outputs = set(compared)
    further = (name for name in dict.fromkeys(also) if name not in outputs)
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in further)
    return Source(proto.SerializeToString(), weights)


def channel_axis(shapes: Sequence[tuple[int, ...]]) -> int | None:
    """The axis of an output along which noise is told apart: the shortest one behind the batch, from rank 3 on.

    Boxes and scores of a detector [N, anchors, 85], classes of a segmentation [N, C, H, W]. None for class scores
    [N, C], whose elements are measured with the same rule.

    Args:
        shapes: The output's shape in every sample; an axis whose length changes between them holds no channels.
    """
    rank = len(shapes[0])
    if rank < 3 or any(len(shape) != rank for shape in shapes):
        return None
    fixed = [axis for axis in range(1, rank) if len({shape[axis] for shape in shapes}) == 1]
    return min(fixed, key=lambda axis: (shapes[0][axis], axis), default=None)


def _is_float(array: object) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.size > 0


def _mean_ratio(noises: Sequence[ChannelNoise]) -> float:
    if not noises:
        raise DataError(
            "No output of the quantized model has the shape it has in FP32.",
            "Its size depends on the values, as behind NonMaxSuppression; use a model without that part.",
        )
    return float(np.mean([noise.ratio for noise in noises]))


def _outcome(outputs: Mapping[str, _Output]) -> Outcome:
    return Outcome(
        noise=_mean_ratio([output.noise for output in outputs.values()]),
        sqnr_db={name: output.comparison.distances().sqnr_db for name, output in outputs.items()},
        agreement={name: output.agreement.percent for name, output in outputs.items() if output.agreement},
        rows={
            name: (output.agreement.agreed, output.agreement.count)
            for name, output in outputs.items()
            if output.agreement
        },
    )


class _Output:
    """The running comparison of one output."""

    def __init__(self, example: _Pair) -> None:
        self.noise = example.no_noise()
        self.comparison = Comparison()
        self.agreement = TopAgreement() if are_class_scores(example.arrays[0]) else None

    def observe(self, pair: _Pair) -> None:
        self.noise.observe(*pair.scores)
        self.comparison.observe(*pair.arrays)
        if self.agreement is not None:
            self.agreement.observe(*pair.arrays)
