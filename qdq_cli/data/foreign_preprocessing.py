"""Preprocessing as other libraries write it down, read as the keys of our own file.

Sources: huggingface.co/docs/transformers, "Image Processor" (`preprocessor_config.json`); timm `data/config.py`
(`resolve_data_config`) and `pretrained_cfg`; torchvision `transforms/_presets.py` (`ImageClassification`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qdq_cli.process.errors import UsageError

Document = Mapping[str, Any]

_RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}
"""Pillow's numbers."""

_CROP_MODES = {"center": "crop", "squash": "stretch", "border": "pad"}


def translated(document: Document) -> dict[str, Any] | None:
    """Return the keys of our own file; None for a document that is none of another library.

    Raises:
        UsageError: It says something that no key of ours can say.
    """
    kept = document.get("pretrained_cfg", document)
    if isinstance(kept, Mapping) and {"crop_pct", "input_size", "mean"} <= kept.keys():
        return _of_timm(kept)
    if {"crop_size", "resize_size"} <= document.keys():
        return _of_torchvision(document)
    named = {"image_processor_type", "feature_extractor_type"} & document.keys()
    if named or any(key.startswith("do_") for key in document):
        return _of_transformers(document)
    return None


def _of_timm(document: Document) -> dict[str, Any]:
    mode = document.get("crop_mode", "center")
    if mode not in _CROP_MODES:
        raise UsageError(f"The crop_mode is {mode!r}; expected {', '.join(_CROP_MODES)}.")
    found = {"scale": "1/255", "mean": document["mean"], "std": document.get("std", 1.0), "resize": _CROP_MODES[mode]}
    if mode == "center":
        found["crop"] = document["crop_pct"]
    return found | _interpolation(document.get("interpolation", "bilinear"))


def _of_torchvision(document: Document) -> dict[str, Any]:
    return {
        "scale": "1/255",
        "mean": document.get("mean", 0.0),
        "std": document.get("std", 1.0),
        "resize": "crop",
        "shorter": _one(document["resize_size"]),
    } | _interpolation(document.get("interpolation", "bilinear"))


def _of_transformers(document: Document) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if document.get("do_rescale", True):
        found["scale"] = document.get("rescale_factor", "1/255")
    if document.get("do_normalize", "image_mean" in document):
        found |= {"mean": document.get("image_mean", 0.0), "std": document.get("image_std", 1.0)}
    if not document.get("do_resize", True):
        return found
    return found | _sized(document) | _interpolation(document.get("resample", 2))


def _sized(document: Document) -> dict[str, Any]:
    """How a picture gets its size: the shorter side and a cut, or both sides as they are."""
    size = document.get("size")
    shorter = size.get("shortest_edge") if isinstance(size, Mapping) else size
    if document.get("do_center_crop", False):
        return {"resize": "crop"} | ({} if shorter is None else {"shorter": _one(shorter)})
    return {"resize": "stretch"}


def _interpolation(value: object) -> dict[str, str]:
    if isinstance(value, int) and not isinstance(value, bool):
        if value not in _RESAMPLING:
            raise UsageError(f"The resampling is number {value}; expected {', '.join(map(str, _RESAMPLING))}.")
        return {"interpolation": _RESAMPLING[value]}
    word = str(value).rpartition(".")[2].lower()  # InterpolationMode.BILINEAR
    return {"interpolation": "bilinear" if word == "random" else word}


def _one(value: object) -> object:
    return value[0] if isinstance(value, list) and value else value
