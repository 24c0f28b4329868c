"""What recovery has done so far, on disk while it works, so that an interrupted run goes on where it was.

A NumPy archive beside the output: the candidate's ranges and constants, and one JSON text with the rest. It is read
back only for the same model, plan, samples and steps, and removed when recovery is through.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibrators import Range
from calibrators.cache_file import write_atomically
from calibrators.errors import CacheFileError, CalibratorError
from calibrators.regular_file import open_regular
from qdq_cli.judging.candidate import Candidate
from qdq_cli.process.version import tool_version
from qdq_cli.recovering.record import LayerGain

Array = NDArray[Any]

_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    CalibratorError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What a damaged archive makes NumPy raise."""


@dataclass(frozen=True)
class Progress:
    """How far recovery is.

    Args:
        candidate: The best so far.
        noise: Its noise.
        choice: What equalization chose (`equalize.Choice`).
        portions: Portions of layers that are done.
        layers: Gains of layers so far.
        gains: Step -> (tried, accepted, gain in dB).
        unseen: Layers that were left alone because too few samples run them.
    """

    candidate: Candidate
    noise: float
    choice: tuple[int, ...] = ()
    portions: int = 0
    layers: tuple[LayerGain, ...] = ()
    gains: Mapping[str, tuple[int, int, float]] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()


class Journal:
    """The file of one run.

    Args:
        path: Where it is; None keeps nothing.
        parts: What the run depends on: a file of a run with other parts is not read.
    """

    def __init__(self, path: Path | None, *parts: str) -> None:
        self.path = path
        self._key = hashlib.sha256("\0".join((tool_version(), *parts)).encode()).hexdigest()

    def read(self, start: Candidate) -> Progress | None:
        """Return what a former run left, or None where there is nothing that fits or can be read.

        Args:
            start: The candidate that run started from too.
        """
        if self.path is None or not self.path.exists():
            return None
        try:
            with open_regular(self.path) as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            state = json.loads(str(arrays["state"]))
            return _progress(state, start, arrays) if state["key"] == self._key else None
        except _UNREADABLE:
            return None

    def write(self, progress: Progress) -> None:
        """Put the progress on disk, whole or not at all. A full disk is no reason to stop: nothing is kept then."""
        if self.path is None:
            return
        state = {"key": self._key, **_state(progress)}
        buffer = io.BytesIO()
        arrays = {"state": np.array(json.dumps(state)), **_arrays(progress.candidate)}
        np.savez(buffer, allow_pickle=False, **arrays)
        with contextlib.suppress(CacheFileError):
            write_atomically(self.path, buffer.getvalue())

    def remove(self) -> None:
        """Forget everything."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)


def _state(progress: Progress) -> dict[str, Any]:
    return {
        "noise": progress.noise,
        "choice": progress.choice,
        "portions": progress.portions,
        "layers": [dataclasses.asdict(gain) for gain in progress.layers],
        "gains": progress.gains,
        "unseen": progress.unseen,
    }


def _arrays(candidate: Candidate) -> dict[str, Array]:
    """The candidate's arrays; names stand in a list of their own, since they may hold any character."""
    found: dict[str, Array] = {
        "ranges": np.array([(kept.minimum, kept.maximum) for kept in candidate.ranges], np.float64)
    }
    for kind in ("weight_ranges", "weights", "biases"):
        arrays: Mapping[str, Array] = getattr(candidate, kind)
        found[kind] = np.array(json.dumps(list(arrays)))
        found.update({f"{kind}{number}": array for number, array in enumerate(arrays.values())})
    return found


def _progress(state: dict[str, Any], start: Candidate, arrays: Mapping[str, Array]) -> Progress:
    def named(kind: str) -> dict[str, Array]:
        return {name: arrays[f"{kind}{number}"] for number, name in enumerate(json.loads(str(arrays[kind])))}

    candidate = Candidate(
        start.plan,
        tuple(Range(*ends) for ends in arrays["ranges"].tolist()),
        named("weight_ranges"),
        named("weights"),
        named("biases"),
    )
    return Progress(
        candidate,
        float(state["noise"]),
        tuple(state["choice"]),
        int(state["portions"]),
        tuple(LayerGain(**gain) for gain in state["layers"]),
        {step: (int(tried), int(accepted), float(gain)) for step, (tried, accepted, gain) in state["gains"].items()},
        tuple(state["unseen"]),
    )
