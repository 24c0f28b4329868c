"""The peer that most people know, `onnxruntime.quantization.quantize_static`, beside `qdq quantize`: whole processes.

As a program, `python -m bench.peer MODEL SAMPLES.npy OUTPUT METHOD [TYPE]`: one process that does this and nothing
else. With a TYPE of activations (QUInt8) the model goes through its `quant_pre_process` first, which folds
normalizations. Its
histogram methods keep every activation of every sample in memory, so the number of samples is small.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.measure import Cost, alternate, child
from bench.results import Result
from bench.settings import Settings

METHODS = ("MinMax", "Entropy")


def run(settings: Settings) -> list[Result]:
    """Compare both tools with plain inference of the same samples."""
    from bench.command import quantize, write_samples

    count = settings.peer_samples
    samples, output = write_samples(settings, count), settings.folder / "peer.qdq.onnx"
    results = []
    for name, path in settings.models().items():
        works: dict[str, Callable[[], Cost]] = {
            "plain inference": lambda path=path: _plain(path, settings),
            "qdq quantize": lambda path=path: quantize(path, samples, output)[0],
        }
        for method in METHODS:
            arguments = ["-m", "bench.peer", str(path), str(samples), str(output), method]
            works[f"quantize_static {method}"] = lambda arguments=arguments: child(arguments)[0]
        costs = alternate(min(3, settings.repeats), works)
        yardstick = costs["plain inference"]
        for tool, cost in costs.items():
            wall, peak = cost.wall_seconds / yardstick.wall_seconds, cost.peak_bytes / yardstick.peak_bytes
            results += [
                Result(f"{tool}, wall time x inference", f"{name}, {count} samples, {cost.wall_seconds:.1f} s", wall),
                Result(f"{tool}, peak memory x inference", f"{name}, {cost.peak_bytes / 1e6:.0f} MB", peak),
            ]
    return results


def _plain(path: Path, settings: Settings) -> Cost:
    return child(["-m", "bench.plain", str(path), *map(str, (settings.peer_samples, 1, 1, settings.cores))])[0]


def _main() -> None:
    from onnxruntime import quantization

    model, samples, output, method, *kinds = sys.argv[1:]

    class Reader(quantization.CalibrationDataReader):
        """Hands out one picture at a time."""

        def __init__(self) -> None:
            self.rest: Iterator[np.ndarray] = iter(np.load(samples, mmap_mode="r"))

        def get_next(self) -> dict[str, np.ndarray] | None:
            picture = next(self.rest, None)
            return None if picture is None else {"input": np.asarray(picture)[np.newaxis]}

    if kinds:
        from onnxruntime.quantization.shape_inference import quant_pre_process

        quant_pre_process(model, f"{output}.prepared.onnx", skip_symbolic_shape=True)
        model = f"{output}.prepared.onnx"
    quantization.quantize_static(
        model,
        output,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        calibrate_method=quantization.CalibrationMethod[method],
        activation_type=quantization.QuantType[kinds[0] if kinds else "QInt8"],
    )


if __name__ == "__main__":
    _main()
