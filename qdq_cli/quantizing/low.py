"""Why an output is far from FP32: its own error, taken apart by running the result once more without clipping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path

import numpy as np
import onnx_ir as ir

from calibrators import Histogram
from calibrators.metrics import SQNR_CEILING_DB, Comparison
from qdq_cli.data.batches import Batch
from qdq_cli.model import files
from qdq_cli.model.nodes import is_constant
from qdq_cli.model.scales import is_dequantize, is_quantize, tensor_scale
from qdq_cli.process.errors import ModelError
from qdq_cli.process.progress import stepping
from qdq_cli.quantizing.report import Distance, LowOutput
from qdq_cli.running.outputs import without_weights
from qdq_cli.running.runner import Outputs, Runner
from qdq_cli.running.session import Source
from qdq_cli.screen.amounts import decibels
from qdq_cli.screen.sentences import count_text

LOW_SQNR_DB = 13.0
"""Below this an output is called low. Measured: a detector of 40.4 AP has 38.9 at 12.6 dB and 9.7 at 5.9 dB; one of
33.5 has 33.3 on the mean of nine results at 13.7 to 14.9 dB; a plate reader of 89 % reads 64 % at 4.7 dB."""

LOW_AGREEMENT_PERCENT = 80.0
"""Below this share of rows with the same best class too, whatever the SQNR; one row of eight is no alarm."""

LOW_MARGIN_NOISE = 0.125
"""From this error of class scores on, beside the distance of the best two, classes change; it holds in the place of an
SQNR. Measured on spoiled ranges (docs/accuracy.md), as the limits below: one result of twenty that lose less than a
quarter of a point is above."""

LOW_SEQUENCE_NOISE = 0.37
"""The same for a sequence of decisions, by the closest of them: halfway between results that lose less than a quarter
of a point and those that lose more than one."""

LOW_MAP_NOISE = 0.1
"""The same for maps of classes, by their places."""

LOW_PSNR_DB = 43.0
"""Below this PSNR beside FP32 a picture network is called low, halfway too: a network that reaches 33 dB itself loses
half a decibel by errors of its own at 42 dB."""

LOW_CONTRAST_DB = 14.5
"""Below this variance over error, places of a detector are no longer told apart; halfway too."""

FEW_SAMPLES = 8
"""With fewer calibration samples, clipping may be due to what they did not show."""

_MOST_DB = 3.0
"""Half of the squared error: what brings as much is called the cause."""

_UNLIKE = 1.5
"""Inputs that are this many times as large as in calibration, or twice as much smaller, are unlike it."""


class Reason(Enum):
    """Why an output is low."""

    CLIPPED = "CLIPPED"
    ROUNDED = "ROUNDED"
    INPUT_UNLIKE = "INPUT_UNLIKE"
    FEW_SAMPLES = "FEW_SAMPLES"
    NOT_FINITE = "NOT_FINITE"
    FP32_IS_ZERO = "FP32_IS_ZERO"
    UNKNOWN = "UNKNOWN"


_TEXTS = {
    Reason.CLIPPED: "most of the error is of values outside the ranges; try another --method, or --recover",
    Reason.ROUNDED: "most of the error is of values between two codes; try --recover, else qdq tune, or --exclude what "
    "qdq compare --layers names",
    Reason.NOT_FINITE: "NaN or Inf comes up where FP32 has none; qdq compare --layers says where",
    Reason.FP32_IS_ZERO: "FP32 gives nothing but zeros here, so there is nothing to hold an error against",
    Reason.UNKNOWN: "the cause was not found; qdq compare --layers says where it starts",
}

Again = Callable[[], Iterable[tuple[Outputs, Batch]]]
"""Runs the FP32 model on the samples once more; yields its outputs and the batch."""


def low_names(outputs: Mapping[str, Distance]) -> tuple[str, ...]:
    """Outputs that are low, the worst first."""
    names = [name for name, distance in outputs.items() if _is_low(distance)]
    return tuple(sorted(names, key=lambda name: outputs[name].sqnr_db))


def _is_low(distance: Distance) -> bool:
    if distance.equal or distance.sqnr_db == -SQNR_CEILING_DB:
        return not distance.equal
    agreement = distance.top1_agreement
    if agreement is not None and distance.margin_noise is not None:
        return agreement < LOW_AGREEMENT_PERCENT or distance.margin_noise >= LOW_MARGIN_NOISE
    far = distance.sqnr_db < LOW_SQNR_DB or _below(distance.psnr_db, LOW_PSNR_DB)
    return far or _is_flat(distance) or _is_misread(distance) or _is_blurred(distance)


def _is_misread(distance: Distance) -> bool:
    return distance.sequence_noise is not None and distance.sequence_noise >= LOW_SEQUENCE_NOISE


def _is_blurred(distance: Distance) -> bool:
    return distance.map_noise is not None and distance.map_noise >= LOW_MAP_NOISE


def _is_flat(distance: Distance) -> bool:
    return _below(distance.contrast_db, LOW_CONTRAST_DB)


def _below(found: float | None, limit: float) -> bool:
    return found is not None and found < limit


def judged_text(distance: Distance) -> str:
    """What an output is called low by, in a part of a sentence; "" where it is the SQNR."""
    noise = distance.margin_noise
    if noise is not None and noise >= LOW_MARGIN_NOISE:
        return f"the error of its scores is {noise:.2f} of the distance between the best two classes"
    if distance.psnr_db is not None and distance.psnr_db < LOW_PSNR_DB:
        return f"as a picture it is at {distance.psnr_db:.1f} dB PSNR of FP32"
    if _is_misread(distance):
        noise = distance.sequence_noise or 0.0
        return (
            f"the error of its scores is {noise:.2f} of the distance between the best two classes where that is least"
        )
    if _is_blurred(distance):
        noise = distance.map_noise or 0.0
        return f"the error of its scores is {noise:.2f} of the distance between the best two classes of a place"
    if _is_flat(distance):
        return f"for what differs from place to place, it is at {decibels(distance.contrast_db or 0.0)}"
    return ""


def silent_text(distance: Distance) -> str:
    """How many samples are near-silent and not in the SQNR, in a part of a sentence; "" for none."""
    samples = count_text(distance.samples, "sample")
    return f"{distance.silent} of {samples} near-silent and left out" if distance.silent else ""


def reasons_of(
    outputs: Mapping[str, Distance], path: Path, again: Again, seen: Mapping[str, Histogram], samples: int
) -> dict[str, LowOutput]:
    """Find out why outputs are low, the worst first; nothing is run where none is.

    Args:
        outputs: Output name -> distance of the result from FP32.
        path: The result.
        again: The samples it was measured on.
        seen: Tensor -> what calibration saw of it.
        samples: How many samples calibrated; 0 where that is not known.
    """
    names = low_names(outputs)
    if not names:
        return {}
    inputs = _Inputs(seen)
    without = _without_clipping(path, again, inputs)
    unlike = inputs.unlike()
    return {name: _reason(name, outputs[name], without, unlike, samples) for name in names}


def unexplained(outputs: Mapping[str, Distance]) -> dict[str, LowOutput]:
    """The outputs that are low, the worst first, where nothing can be run to find out why."""
    return {name: _low(Reason.UNKNOWN) for name in low_names(outputs)}


def _reason(name: str, distance: Distance, without: Mapping[str, float] | None, unlike: str, samples: int) -> LowOutput:
    if distance.sqnr_db == -SQNR_CEILING_DB:
        # cosine is 0 where one of the outputs is all zero, and no error is larger than every number of the other
        zero = distance.cosine == 0.0 and distance.max_error > 0.0
        return _low(Reason.FP32_IS_ZERO if zero else Reason.NOT_FINITE)
    clipped = without is not None and without.get(name, distance.sqnr_db) > distance.sqnr_db + _MOST_DB
    if unlike:
        return LowOutput(Reason.INPUT_UNLIKE.value, unlike)
    if clipped and 0 < samples < FEW_SAMPLES:
        text = f"values lie outside the ranges that {samples} calibration samples show; give more samples"
        return LowOutput(Reason.FEW_SAMPLES.value, text)
    if without is None:
        return _low(Reason.UNKNOWN)
    return _low(Reason.CLIPPED if clipped else Reason.ROUNDED)


def _low(reason: Reason) -> LowOutput:
    return LowOutput(reason.value, _TEXTS[reason])


class _Inputs:
    """Holds the inputs of the samples against what calibration saw of them."""

    def __init__(self, seen: Mapping[str, Histogram]) -> None:
        self._seen = {name: found.amax for name, found in seen.items() if found.count and found.amax > 0}
        self._amax: dict[str, float] = {}

    def observe(self, batch: Batch) -> None:
        """Take the largest values of a batch."""
        for name, array in batch.arrays.items():
            if name in self._seen and array.size:
                amax = float(np.max(np.abs(array.astype(np.float64))))
                self._amax[name] = max(self._amax.get(name, 0.0), amax)

    def unlike(self) -> str:
        """Say which input is unlike calibration; "" for none."""
        for name, amax in self._amax.items():
            before = self._seen[name]
            if amax > _UNLIKE * before or amax < before / (2 * _UNLIKE):
                return (
                    f"input '{name}' reaches {amax:.4g} here, and {before:.4g} in calibration; is the preprocessing "
                    "the same?"
                )
        return ""


def _without_clipping(path: Path, again: Again, inputs: _Inputs) -> dict[str, float] | None:
    """Output name -> SQNR in dB of the result with its activations not clipped; None where that cannot run."""
    outputs: dict[str, Comparison] = {}
    try:
        with stepping(1) as step:
            runner = Runner(unclipped(path))
            step()
        for expected, batch in again():
            inputs.observe(batch)
            found = runner.run(batch)
            for name, array in expected.items():
                if name in found and array.shape == found[name].shape and array.size:
                    outputs.setdefault(name, Comparison()).observe(array, found[name])
    except ModelError:
        return None
    return {name: output.distances().sqnr_db for name, output in outputs.items()}


def unclipped(path: Path) -> Source:
    """Return a Q/DQ model in which activations are rounded to multiples of their scale, and never clipped.

    A Q becomes Round(x / scale) and its DQ a product, in floats; operators between the two move these. Weights stay.

    Raises:
        ModelError: The model cannot be read, or a scale of an activation is not one constant number.
    """
    model = files.load(path).model
    codes: set[ir.Value] = set()
    for node in list(model.graph):
        source = node.inputs[0] if node.inputs else None
        if source is None:
            continue
        if is_quantize(node) and not is_constant(source):
            codes.add(_rounded(model.graph, node, source))
        elif source in codes:
            if is_dequantize(node):
                _replace(model.graph, node, ir.Node("", "Mul", [source, node.inputs[1]], version=node.version))
            else:
                codes.update(node.outputs)
    proto, weights = without_weights(model)
    del proto.graph.value_info[:]  # the codes are floats now
    return Source(proto.SerializeToString(), weights)


def _rounded(graph: ir.Graph, node: ir.Node, source: ir.Value) -> ir.Value:
    """Write a Q as a division and a rounding; returns the codes."""
    if tensor_scale(node) is None:
        raise ModelError(f"The scale of '{node.name}' is not one constant number.")
    steps = ir.Node("", "Div", [source, node.inputs[1]], name=f"{node.name}_steps", version=node.version)
    steps.outputs[0].name = f"{node.outputs[0].name}_steps"
    graph.insert_before(node, steps)
    return _replace(graph, node, ir.Node("", "Round", [steps.outputs[0]], version=node.version))


def _replace(graph: ir.Graph, node: ir.Node, other: ir.Node) -> ir.Value:
    """Put a node in the place of another; its output takes over the name and the readers, and is returned."""
    other.name, output = node.name, node.outputs[0]
    other.outputs[0].name = output.name
    graph.insert_before(node, other)
    if output.is_graph_output():
        graph.outputs[list(graph.outputs).index(output)] = other.outputs[0]
        other.outputs[0].type, other.outputs[0].shape = output.type, output.shape
    output.replace_all_uses_with(other.outputs[0])
    output.name = f"{output.name}_before"
    graph.remove(node)
    return other.outputs[0]
