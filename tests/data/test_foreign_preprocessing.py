"""Preprocessing written down by transformers, timm and torchvision, and recognised exporters."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import onnx
import pytest

from qdq_cli.config.preprocess import PRESETS
from qdq_cli.data.preprocess_text import load_preprocessing
from qdq_cli.process.errors import UsageError
from tests.networks import Network
from tests.workspace import SIDE, qdq, small_convnet, write_images

TRANSFORMERS = {
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "image_processor_type": "CLIPImageProcessor",
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 224},
}
TIMM = {
    "architecture": "convnext_tiny",
    "pretrained_cfg": {
        "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    },
}  # fmt: skip
TORCHVISION = {
    "crop_size": [224], "resize_size": [232], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    "interpolation": "InterpolationMode.BILINEAR",
}  # fmt: skip


def loaded(tmp_path: Path, document: object):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(document))
    return load_preprocessing(path)


def test_transformers(tmp_path: Path):
    found = loaded(tmp_path, TRANSFORMERS)
    clip = PRESETS["clip"]
    assert (found.mean, found.std, found.resize, found.shorter) == (clip.mean, clip.std, "crop", 224)
    assert found.interpolation == "bicubic"
    assert found.scale == pytest.approx(clip.scale)
    vit = {"image_processor_type": "ViTImageProcessor", "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 224}
    assert loaded(tmp_path, vit) == dataclasses.replace(
        PRESETS["vit"], name="preprocessor_config.json", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    plain = loaded(tmp_path, {"do_resize": False, "do_rescale": False, "do_normalize": False})
    assert plain.value_range() == (0, 255)


def test_timm(tmp_path: Path):
    for document in (TIMM, TIMM["pretrained_cfg"]):
        found = loaded(tmp_path, document)
        assert (found.crop, found.resize, found.interpolation) == (0.95, "crop", "bicubic")
        assert found.mean == PRESETS["imagenet"].mean
    squash = loaded(tmp_path, {**TIMM["pretrained_cfg"], "crop_mode": "squash"})
    assert squash.resize == "stretch"


def test_torchvision(tmp_path: Path):
    found = loaded(tmp_path, TORCHVISION)
    assert (found.resize, found.shorter, found.interpolation) == ("crop", 232, "bilinear")


@pytest.mark.parametrize("document", [{**TRANSFORMERS, "resample": 5}, {**TIMM["pretrained_cfg"], "crop_mode": "odd"}])
def test_what_cannot_be_said(document: dict[str, object], tmp_path: Path):
    with pytest.raises(UsageError, match=r"resampling is number 5|crop_mode is 'odd'"):
        loaded(tmp_path, document)


def exported(preset: str) -> onnx.ModelProto:
    """A small model with what is peculiar to the exports of a family."""
    if preset in ("clip", "vit", "paddle"):
        net = Network()
        x = net.input("x" if preset == "paddle" else "pixel_values", ("N", 3, SIDE, SIDE))
        flat = net.op("Flatten", net.op("GlobalAveragePool", net.relu(net.conv(x, 16, scale=None))))
        output = net.gemm(flat, 16, 4, "image_embeds" if preset == "clip" else "logits", scale=None)
        proto = net.proto(output)
    else:
        proto = small_convnet().proto("scores")
    if preset == "paddle":
        proto.producer_name = "PaddlePaddle"
    if preset in ("yolov8", "yolo11", "rtdetr"):
        name = {"yolov8": "YOLOv8n", "yolo11": "YOLO11n", "rtdetr": "RT-DETR-l"}[preset]
        told = {"author": "Ultralytics", "description": f"Ultralytics {name} model trained on coco.yaml"}
        onnx.helper.set_model_props(proto, told)
    if preset == "yolov5":
        onnx.helper.set_model_props(proto, {"stride": "32", "names": "{0: 'person'}"})
    return proto


@pytest.mark.parametrize("preset", ["yolov5", "yolov8", "yolo11", "rtdetr", "clip", "vit", "paddle"])
def test_exporters_are_recognised_and_said(preset: str, tmp_path: Path):
    onnx.save(exported(preset), tmp_path / "model.onnx")
    images = write_images(tmp_path / "images", 9)
    done = qdq("quantize", tmp_path / "model.onnx", "--calib", images, "--json")
    assert done.code == 0, done.err
    said = " ".join(done.document["notes"])
    assert f"The preprocessing {preset} is taken because of the model:" in said
    assert f"No preprocessing was chosen; assumed {preset}:" in said


def test_others_are_not():
    from qdq_cli.model.exporter import exporter_of
    from qdq_cli.model.maps import from_proto

    assert exporter_of(from_proto(small_convnet().proto("scores"))) is None
    net = Network()
    proto = net.proto(net.conv(net.input("images", ("N", 3, 8, 8)), 16, "output", scale=None))
    proto.graph.output[0].name = proto.graph.node[-1].output[0] = "output"
    proto.producer_name = "pytorch"
    found = exporter_of(from_proto(proto))
    assert found is not None
    assert found.preset == "yolox"
