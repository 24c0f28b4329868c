"""`python -m bench.remembered FOLDER EVAL MODEL`: run an evaluation, and compute no output twice.

What a model gives for an input is kept in FOLDER, by the model's file and the input. Evaluating once more on part of
the same files then costs what stands around the model, such as an AP.
"""

from __future__ import annotations

import hashlib
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort


class Remembered:
    """Stands in for an ONNX Runtime session of a model file, which is made when it is asked for anything unknown."""

    folder: Path
    """Where outputs are kept."""

    def __init__(self, model: str, *arguments: Any, **options: Any) -> None:
        self._make: Callable[[], Any] = partial(_SESSION, model, *arguments, **options)
        self._session: Any = None
        self._model = hashlib.sha256(Path(model).read_bytes()).digest()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made(), name)

    def run(self, names: Sequence[str] | None, feed: Mapping[str, Any], *options: Any) -> list[Any]:
        """The outputs of these names, of all where there is None, as the session gives them."""
        path = self.folder / f"{self._key(names, feed)}.npz"
        if not path.is_file():
            np.savez(path, *self._made().run(names, feed, *options))
        with np.load(path) as kept:
            return [kept[name] for name in kept.files]

    def _made(self) -> Any:
        self._session = self._session or self._make()
        return self._session

    def _key(self, names: Sequence[str] | None, feed: Mapping[str, Any]) -> str:
        digest = hashlib.sha256(self._model + repr(names).encode())
        for name in sorted(feed):
            array = np.ascontiguousarray(feed[name])
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


_SESSION: Any = ort.InferenceSession


def _main() -> None:
    Remembered.folder = Path(sys.argv[1])
    sys.argv = sys.argv[2:]
    ort.InferenceSession = Remembered
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    _main()
