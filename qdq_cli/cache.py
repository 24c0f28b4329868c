"""The calibration cache of a model: find in it what a plan needs, and write what was observed.

Tensors are matched by the digest of the computation that makes them, not by name, so a cache serves every export of the
same network, and never one with other weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
import onnxruntime

from calibrators import CalibrationTable, Entry, Histogram, Provenance, read_cache, write_cache
from qdq_cli.graph.fingerprint import graph_fingerprint, tensor_digests
from qdq_cli.provenance import tool_version

_DIGEST_LENGTH = 16


@dataclass(frozen=True)
class CacheHit:
    """What a cache holds for a plan.

    Args:
        histograms: Tensor name in this model -> histogram, for the tensors it has.
        missing: The tensors it does not have.
        preprocessing: The preprocessing it was made with, as JSON; "" for arrays.
        samples: How many samples it has seen.
    """

    histograms: Mapping[str, Histogram]
    missing: tuple[str, ...]
    preprocessing: str
    samples: int


def look_up(path: Path, model: ir.Model, tensors: Sequence[str]) -> CacheHit:
    """Read a cache and find the histograms of these tensors of a prepared model.

    Raises:
        CacheFileError: The file cannot be read, is damaged or of a newer format.
    """
    table = read_cache(path)
    digests = tensor_digests(model.graph)
    by_digest = table.by_digest()
    found = {name: table.entries[by_digest[digests[name]]].histogram for name in tensors if digests[name] in by_digest}
    missing = tuple(name for name in tensors if name not in found)
    return CacheHit(found, missing, table.provenance.preprocessing, table.provenance.sample_count)


def save(
    path: Path, model: ir.Model, histograms: Mapping[str, Histogram], preprocessing: str, samples: Iterable[str]
) -> None:
    """Write what was observed of a prepared model; the finished file is there, or nothing new is.

    Args:
        path: The cache file.
        model: The model that was observed.
        histograms: Tensor name -> histogram.
        preprocessing: What was done to pictures, as JSON; "" for arrays.
        samples: Digest of every sample (`sample_key`).

    Raises:
        CacheFileError: The file cannot be written.
    """
    digests = tensor_digests(model.graph)
    values = ir.convenience.create_value_mapping(model.graph)
    entries = {
        name: Entry(histogram, _declared_shape(values[name]), _type_name(values[name]), digests[name])
        for name, histogram in histograms.items()
    }
    versions = (("qdq", tool_version()), ("onnxruntime", onnxruntime.__version__))
    provenance = Provenance(graph_fingerprint(model.graph), preprocessing, versions, frozenset(samples))
    write_cache(CalibrationTable(provenance, entries), path)


def sample_key(content: str, source: str, roots: Sequence[Path]) -> str:
    """Digest of one sample: its content, and its place below the calibration data, so that two equal files count twice.

    Args:
        content: Digest of what is fed.
        source: The file as the report names it.
        roots: The paths given with `--calib`; where they lie on this machine does not matter.
    """
    below = next((source.removeprefix(str(root)) for root in roots if source.startswith(str(root))), source)
    text = f"{content} {below.replace(chr(92), '/').lstrip('/')}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGEST_LENGTH]


def _declared_shape(value: ir.Value) -> tuple[int | str | None, ...]:
    if value.shape is None:
        return ()
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)


def _type_name(value: ir.Value) -> str:
    return str((value.dtype or ir.DataType.FLOAT).numpy())
