"""A calibration table and a model: make the table of what was observed, and find in a table what a plan needs.

Tensors are matched by the digest of the computation that makes them, not by name, so a table serves every export of the
same network, and never one with other weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
import onnxruntime

from calibrators import CalibrationTable, Entry, Histogram, Provenance
from qdq_cli.calibrating.sample_keys import KEY_FORMAT
from qdq_cli.model.fingerprint import fingerprint_of, tensor_digests
from qdq_cli.model.provenance import tool_version


@dataclass(frozen=True)
class Found:
    """What a table holds for a plan.

    Args:
        histograms: Tensor name in this model -> histogram, for the tensors it has.
        missing: The tensors it does not have.
        renamed: Name in this model -> name in the table, where they differ.
    """

    histograms: Mapping[str, Histogram]
    missing: tuple[str, ...]
    renamed: Mapping[str, str]


def find(table: CalibrationTable, model: ir.Model, tensors: Sequence[str]) -> Found:
    """Find the histograms of these tensors of a prepared model, whatever they are called in the table."""
    digests = tensor_digests(model.graph)
    by_digest = table.by_digest()
    places = {name: by_digest[digests[name]] for name in tensors if digests[name] in by_digest}
    return Found(
        histograms={name: table.entries[place].histogram for name, place in places.items()},
        missing=tuple(name for name in tensors if name not in places),
        renamed={name: place for name, place in places.items() if name != place},
    )


def table_of(
    model: ir.Model, histograms: Mapping[str, Histogram], preprocessing: str, samples: Iterable[str]
) -> CalibrationTable:
    """Make the calibration table of what was observed.

    Args:
        model: The prepared model that was observed.
        histograms: Tensor name -> histogram.
        preprocessing: What was done to the samples (`feeding_text`).
        samples: Key of every sample (`sample_key`).
    """
    digests = tensor_digests(model.graph)
    values = ir.convenience.create_value_mapping(model.graph)
    entries = {
        name: Entry(histogram, _declared_shape(values[name]), _type_name(values[name]), digests[name])
        for name, histogram in histograms.items()
    }
    versions = (("qdq", tool_version()), ("onnxruntime", onnxruntime.__version__), ("sample keys", KEY_FORMAT))
    return CalibrationTable(
        Provenance(fingerprint_of(model.graph, digests), preprocessing, versions, frozenset(samples)), entries
    )


def _declared_shape(value: ir.Value) -> tuple[int | str | None, ...]:
    if value.shape is None:
        return ()
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)


def _type_name(value: ir.Value) -> str:
    return str((value.dtype or ir.DataType.FLOAT).numpy())
