"""Which exporter made a model that takes pictures, as far as its metadata and names tell."""

from __future__ import annotations

import re
from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True)
class Exporter:
    """Where a model comes from.

    Args:
        preset: The preprocessing that goes with it (`qdq_cli.config.preprocess.PRESETS`).
        evidence: What in the model says so, in words that end a sentence.
    """

    preset: str
    evidence: str


_FAMILIES = (
    (re.compile(r"RT-?DETR", re.IGNORECASE), "rtdetr"),
    (re.compile(r"YOLOv5", re.IGNORECASE), "yolov5"),
    (re.compile(r"YOLOv8", re.IGNORECASE), "yolov8"),
    (re.compile(r"YOLO-?v?11", re.IGNORECASE), "yolo11"),
)
"""What the description of an Ultralytics export names, and the preset."""


def exporter_of(model: ir.Model) -> Exporter | None:
    """Tell the exporter of a model; None where nothing in it is peculiar to one.

    Sources: ultralytics `engine/exporter.py` (metadata author, description); yolov5 `export.py` (metadata stride and
    names); YOLOX `tools/export_onnx.py` (names images and output); RT-DETR `tools/export_onnx.py` (orig_target_sizes);
    optimum `exporters/onnx/model_configs.py` (pixel_values, logits_per_image); Paddle2ONNX (producer name).
    """
    inputs = {value.name for value in model.graph.inputs}
    outputs = {value.name for value in model.graph.outputs}
    told = model.metadata_props
    if told.get("author", "").startswith("Ultralytics"):
        description = told.get("description", "")
        preset = next((name for family, name in _FAMILIES if family.search(description)), None)
        return None if preset is None else Exporter(preset, "its metadata names Ultralytics and this family")
    if {"orig_target_sizes"} <= inputs:
        return Exporter("rtdetr", "it has an input 'orig_target_sizes'")
    if {"stride", "names"} <= told.keys() and inputs == {"images"}:
        return Exporter("yolov5", "its metadata has 'stride' and 'names', and its input is 'images'")
    if inputs == {"images"} and outputs == {"output"} and model.producer_name == "pytorch" and not told:
        return Exporter("yolox", "PyTorch wrote it with an input 'images' and an output 'output'")
    if "pixel_values" in inputs:
        is_clip = not outputs.isdisjoint({"logits_per_image", "image_embeds"})
        return Exporter("clip" if is_clip else "vit", f"it has an input 'pixel_values' and {_shown(outputs)}")
    if model.producer_name == "PaddlePaddle":
        return Exporter("paddle", "its producer is PaddlePaddle")
    return None


def _shown(outputs: set[str | None]) -> str:
    return "the output " + ", ".join(f"'{name}'" for name in sorted(filter(None, outputs))[:2])
