"""Measure a model on its labelled test set, with ONNX Runtime and NumPy alone.

A test set is an `.npz` of `uint8` arrays: `inputs` [N, H, W] (grey) or [N, H, W, 3] (RGB), and either
`labels` [N] (classes) or `targets` (pictures of the size of the output, laid out like `inputs`).
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from sample_models.catalog import PSNR, TOP1, find

BATCH_SIZE = 50

Array = np.ndarray[Any, np.dtype[Any]]


def to_unit(pictures: Array) -> Array:
    """Scale `uint8` pictures [N, H, W] or [N, H, W, 3] to `float32` [N, C, H, W] in 0..1 (preset `unit`)."""
    channels_last = pictures[..., np.newaxis] if pictures.ndim == 3 else pictures
    return np.ascontiguousarray(channels_last.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)


def right_percent(scores: Array, labels: Array) -> Array:
    """Return for each row of `scores` [N, classes] 100 where its largest entry is at `labels` [N], else 0."""
    return np.asarray(100.0 * (scores.argmax(axis=1) == labels))


def psnr_db(restored: Array, targets: Array) -> Array:
    """Return the peak signal-to-noise ratio of each picture in dB, shape [N], for values in 0..1 (clipped).

    Args:
        restored: Output of the network, [N, 3, H, W].
        targets: The undisturbed pictures, `uint8` [N, H, W, 3].
    """
    error = np.clip(restored, 0, 1).astype(np.float64) - to_unit(targets)
    return np.asarray(-10 * np.log10(np.mean(np.square(error), axis=(1, 2, 3))))


METRICS: dict[str, tuple[str, Callable[[Array, Array], Array]]] = {
    TOP1: ("labels", right_percent),
    PSNR: ("targets", psnr_db),
}


def evaluate(model_path: Path, name: str) -> dict[str, float]:
    """Run a float or quantized variant of a sample model over the model's test set.

    Args:
        model_path: The ONNX file to run; its first input takes pictures, its first output gives answers.
        name: The sample model whose test set and metric are used.

    Returns:
        The metric's name and its value, for example `{"top1_percent": 98.5}`.

    Raises:
        KeyError: The catalog has no model of that name.
    """
    return {find(name).metric: float(evaluate_each(model_path, name).mean())}


def evaluate_each(model_path: Path, name: str) -> Array:
    """Return the metric of every picture, shape [N]; the metric of the test set is their mean. As `evaluate`."""
    record = find(name)
    answer_key, measure = METRICS[record.metric]
    with np.load(record.test_path, allow_pickle=False) as test_set:
        inputs, answers = test_set["inputs"], test_set[answer_key]
    outputs = np.concatenate(list(_run(model_path, to_unit(inputs))))
    return measure(outputs, answers)


def _run(model_path: Path, pictures: Array) -> Iterator[Array]:
    options = onnxruntime.SessionOptions()
    # As written: with its optimisations on, ONNX Runtime removes or fuses some of the Q/DQ to be measured.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model_path), options, providers=["CPUExecutionProvider"])
    input_name, output_name = session.get_inputs()[0].name, session.get_outputs()[0].name
    for start in range(0, len(pictures), BATCH_SIZE):
        (output,) = session.run([output_name], {input_name: pictures[start : start + BATCH_SIZE]})
        yield output
