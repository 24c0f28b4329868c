"""`--target onnxruntime` beside FP32 and the peer, on this CPU: how fast results run, and what making them takes.

The peer is `onnxruntime.quantization.quantize_static` with UINT8 activations and INT8 weights per channel, behind its
`quant_pre_process`. How fast its models run does not depend on the method, what making them takes does: MinMax is its
default, Percentile its most accurate one. Models take turns, with one thread and with the default number.
"""

from __future__ import annotations

import compileall
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import calibrators
import qdq_cli
from bench.command import quantize, write_samples
from bench.measure import child
from bench.networks import build, mobilenet_v2, resnet18
from bench.pictures import pictures
from bench.results import Result
from bench.settings import Settings
from qdq_cli.data.batches import Batch
from qdq_cli.timing.measure import Effort, interleaved, median_of
from qdq_cli.timing.runtimes import RUNTIMES

NETWORKS = {"mobilenet_v2": (mobilenet_v2, 1.4), "resnet18": (resnet18, 1.7)}
"""Name -> how it is built, and how many times as fast as FP32 its result is to be, on AVX2 and on newer units."""

BESIDE_THE_PEER = 1.05
"""Most time that a run takes, over that of the peer's model."""

TO_QUANTIZE = 0.25
"""Most CPU time that quantizing takes, over that of the peer."""


def run(settings: Settings) -> list[Result]:
    """Quantize both networks with both tools, and time the results in turn.

    Both tools have their bytecode, as whatever pip installs has: compiling this package took a fifth of a run.
    """
    for package in (qdq_cli, calibrators):
        compileall.compile_dir(str(Path(str(package.__file__)).parent), quiet=1)
    return [result for name in NETWORKS for result in _network(name, settings)]


def _network(name: str, settings: Settings) -> Iterator[Result]:
    make, faster = NETWORKS[name]
    model = build(name, settings.folder, make)
    samples = write_samples(settings, settings.cpu_samples)
    ours, peers = settings.folder / f"{name}.qdq.onnx", settings.folder / f"{name}.peer.onnx"
    options = ("--target", "onnxruntime", "--no-time")
    own, _ = quantize(model, samples, ours, *options)
    peer = {each: _peer(model, samples, peers, each) for each in ("Percentile", "MinMax")}
    effort = Effort(settings.cpu_seconds, least=7)
    batch = Batch({"input": np.asarray(pictures(1, seed=9))}, ("seeded",), 1)
    for threads, said in ((1, "one thread"), (settings.cores, f"{settings.cores} threads, the default")):
        for other, path, most in (("FP32", model, 1 / faster), ("the peer", peers, BESIDE_THE_PEER)):
            share, text = _share((path, ours), batch, threads, effort)
            yield Result(f"time of a run x {other}", f"{name}, {said}, {text}", share, most)
    for method, seconds in peer.items():
        work = f"{name}, {settings.cpu_samples} samples, {own.cpu_seconds:.1f} s instead of {seconds:.1f}"
        yield Result(f"CPU time to quantize x the peer, {method}", work, own.cpu_seconds / seconds, TO_QUANTIZE)


def _peer(model: Path, samples: Path, output: Path, method: str) -> float:
    """Quantize with the peer; returns the CPU seconds of the process."""
    return child(["-m", "bench.peer", str(model), str(samples), str(output), method, "QUInt8"])[0].cpu_seconds


def _share(models: tuple[Path, Path], batch: Batch, threads: int, effort: Effort) -> tuple[float, str]:
    """Return the time of the second model over that of the first, and its 95 % interval in words."""
    first, second = (RUNTIMES["onnxruntime"].prepare(path, batch, threads) for path in models)
    rounds = interleaved((first, second), effort)
    share, (low, high) = median_of([after / before for before, after in rounds])
    return share, f"95 % interval {low:.2f} to {high:.2f}"
