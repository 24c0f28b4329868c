"""What the peer `onnxruntime.quantization.quantize_static` makes of the same model and samples.

As a program, `python -m bench.peer_models METHOD PREPARATION MODEL SAMPLES.npz OUTPUT`: one process that quantizes one
model and prints one JSON line. It is a process of its own because some methods keep every activation in memory.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bench.figures import Effort, MeasureError, run_child
from qdq_cli import DataConfig, DataError
from qdq_cli.calibrating import calibration_data
from qdq_cli.model import files
from qdq_cli.preparing.prepare import prepare

PER_CHANNEL_OPSET = 13
"""Per-channel Q/DQ exist since opset 13; the peer writes them into older models too, which nothing then loads."""

PREPARATIONS = ("full", "plain", "none")
"""Its `quant_pre_process` with symbolic shape inference, without it, and not at all: the first that works is used."""

ACTIVATION_BYTES = 3_000_000_000
"""Samples of the methods that keep all activations of all samples are as many as fit into this, evenly spread."""


@dataclass(frozen=True)
class PeerMethod:
    """One way to call `quantize_static`.

    Args:
        calibration: Name of a `CalibrationMethod`.
        op_types: The operators to quantize; empty for every one it knows.
        affine: UINT8 activations around a zero point, as it has them by default; else symmetric INT8.
    """

    calibration: str
    op_types: tuple[str, ...] = ()
    affine: bool = False

    @property
    def keeps_activations(self) -> bool:
        """Whether memory grows with the number of samples."""
        return self.calibration != "MinMax"


PEER_METHODS: Mapping[str, PeerMethod] = {
    "ort-minmax": PeerMethod("MinMax"),
    "ort-minmax-weighted": PeerMethod("MinMax", ("Conv", "ConvTranspose", "Gemm", "MatMul")),
    "ort-entropy": PeerMethod("Entropy"),
    "ort-percentile": PeerMethod("Percentile"),
}
"""Column -> method; the peer's own defaults otherwise (128 bins for Entropy, the 99.999 percentile)."""

CPU_PEERS: Mapping[str, PeerMethod] = {
    "peer-minmax": PeerMethod("MinMax", affine=True),
    "peer-percentile": PeerMethod("Percentile", affine=True),
}
"""The same for CPUs: its default, and what keeps the most accuracy."""


def write_samples(model: Path, data: DataConfig, path: Path) -> None:
    """Write the samples `qdq quantize` calibrates on, as it feeds them: one array an input and sample."""
    samples = calibration_data.open_data(prepare(files.load(model).model).model, data, 0)
    if samples is None:
        raise DataError("There is no calibration data.")
    arrays = {
        f"{number:05}/{name}": array
        for number, index in enumerate(samples.selection.calibration)
        for name, array in samples.every.load(index).arrays.items()
    }
    np.savez(path, **arrays)


def quantize_peer(column: str, model: Path, samples: Path, output: Path, effort: Effort) -> dict[str, Any]:
    """Quantize in a child process, with the first preparation that works; returns what is worth knowing about it.

    Raises:
        MeasureError: It fails with every preparation; the message is the last one's.
    """
    failure = MeasureError("it was not tried")
    for preparation in PREPARATIONS:
        arguments = ["-m", "bench.peer_models", column, preparation, str(model), str(samples), str(output)]
        try:
            printed = run_child(arguments, effort)
        except MeasureError as error:
            failure = error
        else:
            return dict(json.loads(printed.splitlines()[-1]), preparation=preparation)
    raise failure


class _Samples:
    """Hands out one sample at a time; what `quantize_static` calls a data reader."""

    def __init__(self, feeds: list[dict[str, np.ndarray]]) -> None:
        self._rest: Iterator[dict[str, np.ndarray]] = iter(feeds)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._rest, None)


def read_samples(path: Path) -> list[dict[str, np.ndarray]]:
    """Read what `write_samples` wrote: input -> array, for each sample."""
    feeds: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for key in sorted(arrays.files):
            number, _, name = key.partition("/")
            feeds.setdefault(number, {})[name] = arrays[key]
    return list(feeds.values())


def _thinned(feeds: list[dict[str, np.ndarray]], model: Path) -> list[dict[str, np.ndarray]]:
    """Leave as many samples, evenly spread, as have room for all their activations."""
    count = max(1, min(len(feeds), ACTIVATION_BYTES // max(1, _activation_bytes(model, feeds[0]))))
    return [feeds[(2 * place + 1) * len(feeds) // (2 * count)] for place in range(count)]


def _activation_bytes(model: Path, feed: dict[str, np.ndarray]) -> int:
    """Size of everything the nodes of the main graph make of one sample."""
    import onnxruntime as ort

    proto = onnx.load(model)
    del proto.graph.output[:]
    names = [name for node in proto.graph.node for name in node.output if name]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return sum(value.nbytes for value in session.run(None, feed) if isinstance(value, np.ndarray))


def per_channel_form(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Raise the opset of a model to 13 if it is lower; other tools write scales per channel into no older one."""
    low = next(entry.version for entry in proto.opset_import if not entry.domain) < PER_CHANNEL_OPSET
    return onnx.version_converter.convert_version(proto, PER_CHANNEL_OPSET) if low else proto


def _prepared(model: Path, preparation: str, folder: Path) -> tuple[Path, bool]:
    """Raise the opset if it is below 13, run the peer's own preparation; returns the path, and if it was raised."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    given = onnx.load(model)
    proto = per_channel_form(given)
    raised = proto is not given
    source = folder / "raised.onnx"
    onnx.save(proto, source)
    if preparation == "none":
        return source, raised
    target = folder / "prepared.onnx"
    quant_pre_process(str(source), str(target), skip_symbolic_shape=preparation == "plain")
    return target, raised


def _main() -> None:
    from onnxruntime import quantization

    column, preparation = sys.argv[1:3]
    model, samples, output = map(Path, sys.argv[3:])
    method, feeds = {**PEER_METHODS, **CPU_PEERS}[column], read_samples(samples)
    activations = quantization.QuantType.QUInt8 if method.affine else quantization.QuantType.QInt8
    start = time.process_time()
    with tempfile.TemporaryDirectory(prefix="qdq-peer-") as folder:
        source, raised = _prepared(model, preparation, Path(folder))
        feeds = _thinned(feeds, source) if method.keeps_activations else feeds
        quantization.quantize_static(
            str(source),
            str(output),
            _Samples(feeds),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(method.op_types) or None,
            per_channel=True,
            activation_type=activations,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod[method.calibration],
            extra_options={"ActivationSymmetric": not method.affine, "WeightSymmetric": True},
        )
    seconds = time.process_time() - start
    print(json.dumps({"samples": len(feeds), "opset_raised": raised, "cpu_seconds": round(seconds, 2)}))


if __name__ == "__main__":
    _main()
