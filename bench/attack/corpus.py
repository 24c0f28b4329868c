"""The sound files that the attack starts from, made by the commands themselves where they make such files."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from bench.attack.models import models, samples, save_external
from qdq_cli.main import run

FLOAT = ("convolutions", "attention", "control", "functions", "maps")
"""Those of the models that can be quantized."""

_PICTURES = ("png", "jpg", "bmp", "webp", "tiff")
_RANGES = ("tensorrt", "ort", "ort-json", "ort-text", "json", "torch-json")

_PREPROCESS = {
    "scale": [0.02, 0.02, 0.02], "mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2], "color": "bgr", "resize": "pad",
    "fill": 114, "position": "center", "layout": "nchw",
}  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """Where the sound files are.

    Args:
        folder: For each model of `models` a file of it, with Q/DQ and with its weights outside, its samples in two
            forms and its calibration cache; ranges of every format; pictures; preprocessing in JSON and TOML.
    """

    folder: Path

    def find(self, pattern: str) -> list[Path]:
        """The files whose names fit, in the order of the names."""
        return sorted(self.folder.glob(pattern))


def make_corpus(folder: Path) -> Corpus:
    """Write the corpus; the same bytes every time.

    Raises:
        RuntimeError: A command fails on a sound file.
    """
    for name, model in models().items():
        onnx.save(model, folder / f"{name}.onnx")
        save_external(model, folder / f"{name}.external.onnx")
        arrays = samples()[name]
        np.savez(folder / f"{name}.npz", **arrays)
        np.savez_compressed(folder / f"{name}.packed.npz", **arrays)
        np.save(folder / f"{name}.npy", arrays["x"])
    for name in FLOAT:
        data = ("--calib", f"{name}.npz", "--preprocess", "unit")
        _made(folder, "quantize", f"{name}.onnx", *data)
        _made(folder, "quantize", f"{name}.onnx", *data, "--weights", "int8", "-o", f"{name}.int8.qdq.onnx")
        _made(folder, "calibrate", f"{name}.onnx", *data)
    for form in _RANGES:
        _made(folder, "cache", "export", "convolutions.qcal", "--format", form, "-o", f"ranges.{form}")
    _write_data(folder)
    return Corpus(folder)


def _write_data(folder: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (12, 12, 3)).astype(np.uint8)
    for kind in _PICTURES:
        Image.fromarray(pixels).save(folder / f"picture.{kind}")
    (folder / "preprocess.json").write_text(json.dumps(_PREPROCESS), encoding="utf-8")
    lines = [f"{key} = {json.dumps(value)}" for key, value in _PREPROCESS.items()]
    (folder / "preprocess.toml").write_text("\n".join(lines), encoding="utf-8")


def _made(folder: Path, *arguments: str) -> None:
    said = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = run(arguments)
    if code:
        raise RuntimeError(f"qdq {' '.join(arguments)} ended with {code}: {said.getvalue()}")
