"""The running comparison of outputs, each by what it holds: numbers, or scores of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrators.contrast import ContrastNoise, has_places
from calibrators.loudness import Loudness
from calibrators.metrics import SQNR_CEILING_DB, ClassDivergence, Comparison, TopAgreement, are_class_scores
from calibrators.pictures import PictureNoise, is_picture
from calibrators.separation import ScoreNoise, class_axis, map_axis, some_places
from qdq_cli.data.batches import Batch
from qdq_cli.quantizing.agreement import interval_of
from qdq_cli.quantizing.report import Distance, Rows
from qdq_cli.quantizing.rows import RowMeter

TOP = 5
"""How many of the best classes count besides the best one; told for more classes than that."""


class OutputMeter:
    """Compares the outputs of two models, batch by batch, for every command that does; keeps sums alone."""

    def __init__(self) -> None:
        self._outputs: dict[str, _Output] = {}

    def observe(self, reference: Mapping[str, Any], other: Mapping[str, Any], batch: Batch | None = None) -> None:
        """Add what both models gave for a batch; outputs that are no tensors of numbers are left out.

        Args:
            reference: What FP32 gave.
            other: What the other model gave.
            batch: What both were fed; without it samples are not told apart, and no output is taken for a picture.
        """
        for name, array in reference.items():
            if isinstance(array, np.ndarray) and array.dtype.kind in "fiub":
                self._outputs.setdefault(name, _Output()).observe(array, other[name], batch)

    def distances(self) -> dict[str, Distance]:
        """Output name -> distance, for those that had the same shape in both models."""
        return {name: output.distance() for name, output in self._outputs.items() if output.elementwise}

    def not_compared(self) -> tuple[str, ...]:
        """Outputs that are neither compared element by element nor by their rows."""
        return tuple(name for name, output in self._outputs.items() if not output.compared and not output.rows.differ)

    def rows(self) -> dict[str, Rows]:
        """Output name -> its rows, where their number depends on the data and differs between the models."""
        found = ((name, output.rows.found()) for name, output in self._outputs.items())
        return {name: rows for name, rows in found if rows is not None}


class _Output:
    def __init__(self) -> None:
        self.compared = False
        self.rows = RowMeter()
        self._comparison = Comparison()
        self._best, self._among_best, self._divergence = TopAgreement(), TopAgreement(TOP), ClassDivergence()
        self._noise, self._picture, self._loudness = ScoreNoise(), PictureNoise(), Loudness()
        self._contrast, self._sequence, self._map = ContrastNoise(), ScoreNoise(), ScoreNoise()
        self._class_axis: int | None = None

    @property
    def elementwise(self) -> bool:
        """Whether elements at one place have to do with each other."""
        return self.compared and not self.rows.differ

    def observe(self, reference: NDArray[Any], other: NDArray[Any], batch: Batch | None) -> None:
        self.rows.observe(reference, other)
        if reference.shape != other.shape or not reference.size:
            return  # the number of results depends on the values (detections after suppression)
        self.compared = True
        self._comparison.observe(reference, other)
        if batch is not None:
            self._loudness.observe(reference, other, batch.samples)
        if batch is not None and is_picture(reference, batch.arrays.values()):
            self._picture.observe(reference, other)
        elif has_places(reference):
            self._contrast.observe(reference, other)
        else:
            self._observe_decisions(reference, other)
        if are_class_scores(reference):
            self._best.observe(reference, other)
            self._noise.observe(reference, other)
            self._divergence.observe(reference, other)
            if reference.shape[1] > TOP:
                self._among_best.observe(reference, other)

    def _observe_decisions(self, reference: NDArray[Any], other: NDArray[Any]) -> None:
        """Count decisions step by step, or place by place of a map of classes.

        The first batch whose decisions are plain says where the classes are.
        """
        if self._class_axis is None:
            self._class_axis = class_axis(reference) if reference.ndim == 3 else map_axis(reference)
        if self._class_axis is None or self._class_axis >= reference.ndim or reference.shape[self._class_axis] < 2:
            return
        if reference.ndim > 3:
            self._map.observe(*(some_places(array, self._class_axis) for array in (reference, other)))
        elif reference.ndim == 3:
            self._sequence.observe(*(np.moveaxis(array, self._class_axis, -1) for array in (reference, other)))

    def distance(self) -> Distance:
        found, loud = self._comparison.distances(), self._loudness.sqnr_db
        whole = found.sqnr_db if loud is None or found.non_finite else loud
        return Distance(
            sqnr_db=round(whole, 4),
            cosine=round(found.cosine, 8),
            max_error=found.max_error,
            equal=found.sqnr_db == SQNR_CEILING_DB,
            top1_agreement=round(self._best.percent, 4) if self._best.count else None,
            top5_agreement=round(self._among_best.percent, 4) if self._among_best.count else None,
            softmax_kl=round(self._divergence.nats, 8) if self._divergence.count else None,
            top1_interval=interval_of(self._best.agreed, self._best.count) if self._best.count else None,
            rows=self._best.count or None,
            margin_noise=round(self._noise.ratio, 6) if self._noise.count else None,
            sequence_noise=round(self._sequence.ratio, 6) if self._sequence.count else None,
            psnr_db=self._picture.psnr_db,
            map_noise=round(self._map.ratio, 6) if self._map.count else None,
            contrast_db=self._contrast.sqnr_db,
            samples=self._loudness.samples,
            silent=self._loudness.silent,
        )
