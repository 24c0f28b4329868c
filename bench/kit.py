"""The models whose accuracy is measured: the sample models, and those of a folder given on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import Evaluation
from bench.readme_table import Row, inside, model_rows
from qdq_cli import DataConfig
from sample_models import catalog

_ARRAYS = (".npy", ".npz")
_RESIZE = {
    "letterbox_tl": {"resize": "pad", "position": "topleft"},
    "shorter_center": {"resize": "crop"},
}
"""Resize modes of other programs -> fields of a preprocessing."""


class KitError(Exception):
    """The folder of models is not laid out as it should be; the message says where."""


@dataclass(frozen=True)
class Subject:
    """A float model with its calibration data and its test.

    Args:
        name: Short and unique; also the start of file names.
        task: For people: what is measured; "" where nothing is known.
        model: The ONNX file.
        data: Calibration data.
        evaluation: Measures any variant of the model.
    """

    name: str
    task: str
    model: Path
    data: DataConfig
    evaluation: Evaluation


def sample_subjects() -> list[Subject]:
    """The models of `sample_models`."""
    source = catalog.FOLDER / "evaluate.py"
    return [
        Subject(
            record.name,
            record.metric,
            record.model_path,
            DataConfig(calib=(record.calibration_path,), preprocess=record.preset),
            Evaluation(("-m", "bench.sample", record.name), (source, record.test_path)),
        )
        for record in catalog.CATALOG
    ]


def folder_subjects(folder: Path, work: Path) -> list[Subject]:
    """The models of a folder: NAME/model.onnx and NAME/eval.py each, in the order of their names.

    Calibration data is what the folder's README.md names in the row of the model, else NAME/calib.npz, else NAME/calib.
    NAME/preproc.json says what pictures go through.

    Args:
        folder: The folder of models.
        work: Where translated preprocessing files are written.

    Raises:
        KitError: There is no such model, or one without calibration data.
    """
    names = sorted(path.parent.name for path in folder.glob("*/model.onnx") if (path.parent / "eval.py").is_file())
    if not names:
        raise KitError(f"{folder} holds no NAME/model.onnx with a NAME/eval.py beside it.")
    readme = folder / "README.md"
    rows = model_rows(readme.read_text(encoding="utf-8"), names) if readme.is_file() else {}
    return [_subject(folder, name, rows.get(name, Row()), work) for name in names]


def _subject(folder: Path, name: str, row: Row, work: Path) -> Subject:
    calibration = inside(folder, row.calibration) or inside(folder / name, ("calib.npz", "calib"))
    if calibration is None:
        raise KitError(
            f"{name} has no calibration data: neither a path in the folder's README.md nor {name}/calib.npz."
        )
    return Subject(
        name,
        row.task,
        folder / name / "model.onnx",
        DataConfig(calib=(calibration,), preprocess=_preprocessing(folder / name / "preproc.json", calibration, work)),
        Evaluation((str(folder / name / "eval.py"),), (folder / name / "eval.py",)),
    )


def _preprocessing(described: Path, calibration: Path, work: Path) -> str | None:
    """Write a preprocessing file that `qdq` reads; None for arrays, which are ready to feed."""
    if calibration.suffix.lower() in _ARRAYS or not described.is_file():
        return None
    work.mkdir(parents=True, exist_ok=True)
    target = work / f"{described.parent.name}.preproc.json"
    target.write_text(json.dumps(translated(json.loads(described.read_text(encoding="utf-8")))), encoding="utf-8")
    return str(target)


def translated(document: Mapping[str, Any]) -> dict[str, Any]:
    """Turn an evaluation kit's preprocessing into `qdq`'s: the size and the input's name come from the model."""
    fields = {key: value for key, value in document.items() if key not in ("input", "size", "resize")}
    resize = str(document.get("resize", "stretch"))
    fields.update(_RESIZE.get(resize, {"resize": resize}))
    if fields["resize"] != "pad":
        fields.pop("fill", None)
    return fields


def only(subjects: Sequence[Subject], names: Sequence[str]) -> list[Subject]:
    """Keep the subjects of these names, all when there are none.

    Raises:
        KitError: A name is not there.
    """
    known = {subject.name for subject in subjects}
    if unknown := [name for name in names if name not in known]:
        raise KitError(f"There is no model '{unknown[0]}'; there are: {', '.join(sorted(known))}.")
    return [subject for subject in subjects if not names or subject.name in names]
