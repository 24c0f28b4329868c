"""Which outputs of a comparison are low and why, and the order in which outputs are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx_ir as ir

from qdq_cli.calibrating.calibration_data import Samples
from qdq_cli.data.batches import Batch, load_readable_batch
from qdq_cli.data.unreadable import UnreadableSamples
from qdq_cli.model.scales import is_quantize
from qdq_cli.preparing.paired import Pair
from qdq_cli.quantizing.low import reasons_of, unexplained
from qdq_cli.quantizing.report import Distance, LowOutput
from qdq_cli.running.runner import Outputs


def can_explain(model: ir.Model) -> bool:
    """Whether a run without clipping can tell clipping from rounding: the model quantizes by Q nodes alone."""
    nodes = [node for node in model.graph.all_nodes() if node.op_type.startswith(_ON_CODES)]
    return bool(nodes) and all(is_quantize(node) for node in nodes)


_ON_CODES = ("QuantizeLinear", "QLinear", "QGemm", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")


def low_outputs(
    outputs: Mapping[str, Distance], pair: Pair, quantized: Path, samples: Samples, *, explain: bool
) -> dict[str, LowOutput]:
    """Say which outputs are low and why, the worst first; the samples run once more where one is.

    Args:
        outputs: Output name -> distance.
        pair: The two models.
        quantized: File of the second one.
        samples: What both ran on.
        explain: Whether the second model is one of which the cause can be found.
    """
    if pair.cut or not explain:
        return unexplained(outputs)
    return reasons_of(outputs, quantized, lambda: _once_more(pair, samples), {}, 0)


def _once_more(pair: Pair, samples: Samples) -> Iterator[tuple[Outputs, Batch]]:
    unreadable = UnreadableSamples(len(samples.every))
    for group in samples.batches.groups:
        batch = load_readable_batch(samples.every, group, unreadable)
        if batch is not None:
            yield pair.reference.run(batch), batch


def in_order(outputs: Mapping[str, Distance], low: Iterable[str]) -> list[str]:
    """Low outputs first, the worst one first; the others as the model has them."""
    first = [name for name in low if name in outputs]
    return [*first, *(name for name in outputs if name not in first)]
