"""A folder with a small model and calibration data, and the command run there: in this process or in a real one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image

from qdq_cli.main import run
from tests.networks import Network

REPOSITORY = Path(__file__).parents[1]
SAMPLES = REPOSITORY / "sample_models"
SIDE = 16
"""Height and width of the small networks' input."""


@dataclass(frozen=True)
class Outcome:
    """What a run of the command gave."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


PATIENCE_SECONDS = 600
"""Longest wait for another process: it ends a test that hangs, on a machine ten times slower too."""


def qdq(*arguments: object) -> Outcome:
    """Run the command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def command(*arguments: object) -> list[str]:
    """The command line of a real process."""
    return [sys.executable, "-m", "qdq_cli.main", *map(str, arguments)]


def environment(**changes: str) -> dict[str, str]:
    """The environment of a real process, which finds the packages of this checkout from any folder."""
    inherited = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}  # of the tests
    return {**inherited, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "80", **changes}


def process(*arguments: object, cwd: Path, **changes: str) -> Outcome:
    """Run the command in a process of its own."""
    done = subprocess.run(
        command(*arguments), cwd=cwd, env=environment(**changes), capture_output=True, encoding="utf-8",
        timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


def small_convnet(*, channels: int = 3, batch: int | str = "N", opset: int = 17) -> Network:
    """Two blocks with a residual Add, average pooling and a classifier: enough to meet every stage (output: scores)."""
    net = Network(opset=opset)
    x = net.input("images", (batch, channels, SIDE, SIDE))
    first = net.relu(net.conv(x, 16, "first", scale=None), "first_relu")
    second = net.conv(net.relu(net.conv(first, 16, "middle", scale=None), "middle_relu"), 16, "second", scale=None)
    total = net.relu(net.add(second, first, "residual"), "total")
    pooled = net.op("Flatten", net.op("GlobalAveragePool", total, name="pool"), name="flat")
    net.gemm(pooled, 16, 10, "scores", scale=None)
    return net


def write_images(folder: Path, count: int = 10, *, side: int = 20, gray: bool = False, seed: int = 7) -> Path:
    """Pictures with smooth content of every brightness; names in natural order."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        shape = (4, 4) if gray else (4, 4, 3)
        coarse = Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def write_arrays(path: Path, count: int = 10, *, side: int = SIDE, name: str = "images") -> Path:
    """One .npz with the array `name`, samples first."""
    values = np.random.default_rng(7).normal(size=(count, 3, side, side)).astype(np.float32)
    np.savez(path, **{name: values})
    return path


@dataclass(frozen=True)
class Workspace:
    """A folder with `model.onnx`, `images/` (10 pictures) and `arrays.npz` (10 samples)."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model.onnx"

    @property
    def output(self) -> Path:
        """Where the result goes by default."""
        return self.folder / "model.qdq.onnx"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def arrays(self) -> Path:
        return self.folder / "arrays.npz"

    def quantize(self, *options: object, model: Path | None = None) -> Outcome:
        """Run `qdq quantize` on the arrays; options may repeat --calib with something else by giving their own."""
        calib = () if "--calib" in options or "--dry-run" in options else ("--calib", self.arrays)
        return qdq("quantize", model or self.model, *calib, *options)

    def listing(self) -> list[str]:
        """Every file and folder, hidden ones included."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*"))


def make_workspace(folder: Path, proto: onnx.ModelProto | None = None) -> Workspace:
    space = Workspace(folder)
    onnx.save(proto or small_convnet().proto("scores"), space.model)
    write_images(space.images)
    write_arrays(space.arrays)
    return space


EVALUATION = """import json, sys
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
images = numpy.load("arrays.npz")["images"]
best = session.run(None, {"images": images})[0].argmax(axis=1)
print(json.dumps({"metric": "top1", "value": 100 * float((best == best[0]).mean()), "n": len(images)}))
"""
"""A program for `--eval`, as users have one; nobody labelled these images, so any class will do."""


def make_example_folder(folder: Path) -> Workspace:
    """Everything that the examples of the help and of the documentation name, made by the commands themselves."""
    net = Network()
    x = net.relu(net.conv(net.input("images", ("N", 3, SIDE, SIDE)), 16, "layer1.0.conv1", scale=None))
    x = net.relu(net.conv(x, 16, "layer1.0.conv2", scale=None))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    net.gemm(x, 16, 10, "/head/fc", scale=None)
    space = make_workspace(folder, net.proto("/head/fc"))
    write_images(folder / "more-images", 4, seed=8)
    (folder / "eval.py").write_text(EVALUATION, encoding="utf-8")
    data = ("--calib", space.images)
    steps = [
        ("quantize", space.model, *data),
        ("calibrate", space.model, *data),
        ("calibrate", space.model, "--calib", folder / "more-images", "-o", folder / "last-release.qcal"),
        *(
            ("calibrate", space.model, *data, "--shard", f"{k}/3", "-o", folder / f"share-{k}.qcal", "--samples", "9")
            for k in (1, 2, 3)
        ),
        ("cache", "export", folder / "model.qcal", "--format", "tensorrt", "-o", folder / "calibration.cache"),
    ]
    for step in steps:
        done = qdq(*step)
        assert done.code == 0, done.err
    return space
