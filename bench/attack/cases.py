"""What a case is: a damaged file among sound ones, and the command that reads it; two numbers say all of it."""

from __future__ import annotations

import hashlib
import io
import shutil
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.attack.corpus import FLOAT, Corpus
from bench.attack.mutations import damaged, mutated_json, mutated_model, mutated_toml, pick

_CHECKSUM = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Case:
    """One attack, laid out in a folder.

    Args:
        kind: What was damaged.
        arguments: The command line, without the program; paths are relative to the folder.
        writes: Names of what the command may write.
    """

    kind: str
    arguments: tuple[str, ...]
    writes: tuple[str, ...] = ()


def lay_out(corpus: Corpus, seed: int, number: int, folder: Path) -> Case:
    """Write the files of a case into an empty folder."""
    rng = np.random.default_rng((seed, number))
    return pick(rng, _KINDS)(rng, corpus, folder)


def _model(rng: np.random.Generator, corpus: Corpus, folder: Path) -> Case:
    source = pick(rng, [path for path in corpus.find("*.onnx") if ".external." not in path.name])
    change = mutated_model if rng.integers(4) else damaged
    (folder / "model.onnx").write_bytes(change(rng, source.read_bytes()))
    return _on_model(rng, corpus, folder, source.name.partition(".")[0], "model")


def _external(rng: np.random.Generator, corpus: Corpus, folder: Path) -> Case:
    """Damage the model or its data file; names of the data file are in the model."""
    source = pick(rng, corpus.find("*.external.onnx"))
    data = Path(f"{source}.data")
    whole = rng.integers(2)
    (folder / data.name).write_bytes(data.read_bytes() if whole else damaged(rng, data.read_bytes()))
    (folder / "model.onnx").write_bytes(mutated_model(rng, source.read_bytes()) if whole else source.read_bytes())
    return _on_model(rng, corpus, folder, source.name.partition(".")[0], "external data")


def _on_model(rng: np.random.Generator, corpus: Corpus, folder: Path, name: str, kind: str) -> Case:
    for ending, owner in (("npz", name), ("onnx", name), ("qcal", name if name in FLOAT else FLOAT[0])):
        shutil.copy(corpus.folder / f"{owner}.{ending}", folder / f"sound.{ending}")
    shutil.copy(corpus.folder / "ranges.json", folder / "ranges.json")
    data, out = ("--calib", "sound.npz"), ("-o", "out.onnx")
    lines: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        (("inspect", "model.onnx"), ()),
        (("inspect", "model.onnx", "--json"), ()),
        (("inspect", "model.onnx", "--layers", "--dot", "out.dot"), ("out.dot",)),
        (("inspect", "model.onnx", "--format", "junit", "out.xml"), ("out.xml",)),
        (("quantize", "model.onnx", *data, *out), ("out.onnx",)),
        (("quantize", "model.onnx", *data, *out, "--json"), ("out.onnx",)),
        (("quantize", "model.onnx", "--cache", "sound.qcal", *out, "--weights", "int8"), ("out.onnx",)),
        (("quantize", "model.onnx", "--dry-run", "-v"), ()),
        (("quantize", "model.onnx", *data, *out, "--report", "out.html", "--recover"), ("out.onnx", "out.html")),
        (("calibrate", "model.onnx", *data, "-o", "out.qcal"), ("out.qcal",)),
        (("fix", "model.onnx", *out, "--ranges", "ranges.json"), ("out.onnx",)),
        (("fix", "model.onnx", *out), ("out.onnx",)),
        (("compare", "sound.onnx", "model.onnx", "--data", "sound.npz", "--layers"), ()),
        (("compare", "model.onnx", "sound.onnx", "--data", "sound.npz"), ()),
        (("cache", "check", "model.onnx", "sound.qcal"), ()),
        (("sensitivity", "model.onnx", *data), ()),
    ]
    arguments, writes = pick(rng, lines)
    return Case(kind, arguments, writes)


def _cache(rng: np.random.Generator, corpus: Corpus, folder: Path) -> Case:
    """Damage a calibration cache; in most cases its checksum is mended, so that what it holds is read."""
    source = pick(rng, corpus.find("*.qcal"))
    data = source.read_bytes()
    body = damaged(rng, data[:-_CHECKSUM], most=2)
    whole = body + hashlib.sha256(body).digest()
    (folder / "bad.qcal").write_bytes(whole if rng.integers(4) else damaged(rng, data))
    shutil.copy(source, folder / "sound.qcal")
    shutil.copy(source.with_suffix(".onnx"), folder / "sound.onnx")
    export = pick(rng, ("tensorrt", "ort", "ort-json", "ort-text", "json", "torch-json"))
    lines: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        (("cache", "show", "bad.qcal"), ()),
        (("cache", "show", "bad.qcal", "--json", "--plot", "out.svg"), ("out.svg",)),
        (("cache", "diff", "sound.qcal", "bad.qcal"), ()),
        (("cache", "merge", "sound.qcal", "bad.qcal", "-o", "out.qcal"), ("out.qcal",)),
        (("cache", "export", "bad.qcal", "--format", export, "-o", "out.ranges"), ("out.ranges",)),
        (("cache", "check", "sound.onnx", "bad.qcal"), ()),
        (("quantize", "sound.onnx", "--cache", "bad.qcal", "-o", "out.onnx"), ("out.onnx",)),
        (("fix", "sound.onnx", "--ranges", "bad.qcal", "-o", "out.onnx"), ("out.onnx",)),
    ]
    arguments, writes = pick(rng, lines)
    return Case("cache", arguments, writes)


def _ranges(rng: np.random.Generator, corpus: Corpus, folder: Path) -> Case:
    source = pick(rng, corpus.find("ranges.*"))
    change = mutated_json if "json" in source.name and rng.integers(3) else damaged
    (folder / "bad.ranges").write_bytes(change(rng, source.read_bytes()))
    for name in ("convolutions.onnx", "convolutions.qcal", "convolutions.npz"):
        shutil.copy(corpus.folder / name, folder / name)
    model = "convolutions.onnx"
    quantize = ("quantize", model, "--ranges", "bad.ranges", "--cache", "convolutions.qcal", "-o", "out.onnx")
    lines: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        (("cache", "import", "bad.ranges", "-o", "out.json"), ("out.json",)),
        (("cache", "check", model, "bad.ranges"), ()),
        (quantize, ("out.onnx",)),
        (("fix", model, "--ranges", "bad.ranges", "-o", "out.onnx"), ("out.onnx",)),
    ]
    arguments, writes = pick(rng, lines)
    return Case("ranges", arguments, writes)


def _arrays(rng: np.random.Generator, corpus: Corpus, folder: Path) -> Case:
    source = pick(rng, [*corpus.find("*.npz"), *corpus.find("*.npy")])
    data, name = source.read_bytes(), source.name.partition(".")[0]
    change = _repacked if source.suffix == ".npz" and rng.integers(2) else damaged
    (folder / f"bad{source.suffix}").write_bytes(change(rng, data))
    shutil.copy(corpus.folder / f"{name}.onnx", folder / "sound.onnx")
    return _on_data(rng, f"bad{source.suffix}", "arrays")


def _repacked(rng: np.random.Generator, data: bytes) -> bytes:
    """Damage the members of an archive, and pack them again so that the archive itself is sound."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as packed:
        for member in archive.infolist():
            name = member.filename if rng.integers(4) else pick(rng, ("x.npy", "c.npy", "arr_0.npy", "../x.npy", "x"))
            info = zipfile.ZipInfo(name)  # without the time of day
            with warnings.catch_warnings(action="ignore"):  # of a name that is there twice
                packed.writestr(info, damaged(rng, archive.read(member)), zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _pictures(rng: np.random.Generator, corpus: Corpus, folder: Path) -> Case:
    (folder / "pictures").mkdir()
    for source in corpus.find("picture.*"):
        data = source.read_bytes()
        (folder / "pictures" / source.name).write_bytes(damaged(rng, data) if rng.integers(2) else data)
    shutil.copy(corpus.folder / "convolutions.onnx", folder / "sound.onnx")
    return _on_data(rng, "pictures", "pictures")


def _preprocess(rng: np.random.Generator, corpus: Corpus, folder: Path) -> Case:
    source = pick(rng, corpus.find("preprocess.*"))
    change = mutated_json if source.suffix == ".json" else mutated_toml
    (folder / f"bad{source.suffix}").write_bytes(change(rng, source.read_bytes()))
    (folder / "pictures").mkdir()
    shutil.copy(corpus.folder / "picture.png", folder / "pictures")
    shutil.copy(corpus.folder / "convolutions.onnx", folder / "sound.onnx")
    return _on_data(rng, "pictures", "preprocessing", "--preprocess", f"bad{source.suffix}")


def _on_data(rng: np.random.Generator, data: str, kind: str, *more: str) -> Case:
    lines: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        (("quantize", "sound.onnx", "--calib", data, "-o", "out.onnx", *more), ("out.onnx",)),
        (("calibrate", "sound.onnx", "--calib", data, "-o", "out.qcal", *more), ("out.qcal",)),
        (("compare", "sound.onnx", "sound.onnx", "--data", data, *more), ()),
    ]
    arguments, writes = pick(rng, lines)
    return Case(kind, arguments, writes)


_KINDS: tuple[Callable[[np.random.Generator, Corpus, Path], Case], ...] = (
    *[_model] * 9, _external, *[_cache] * 3, *[_ranges] * 2, *[_arrays] * 2, _pictures, *[_preprocess] * 2,
)  # fmt: skip
"""Each as often as it stands here; models most."""
