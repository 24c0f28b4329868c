"""Run a model and its quantized form as far as ONNX Runtime can: whole, or up to operators it does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from qdq_cli.model.ordinary import ordinary
from qdq_cli.preparing.branches import take_known_branches
from qdq_cli.preparing.literal import literal, readable
from qdq_cli.process.errors import ModelError
from qdq_cli.process.progress import each
from qdq_cli.running.outputs import part_for
from qdq_cli.running.runner import Runner
from qdq_cli.running.unknown import Place, cuts, mark_behind_unknown


@dataclass(frozen=True)
class Pair:
    """Two models that hand out the same tensors under the same names.

    Args:
        reference: The float model.
        candidate: Its quantized form.
        cut: Whether both end in front of operators that ONNX Runtime does not know.
    """

    reference: Runner
    candidate: Runner
    cut: bool = False


def paired(reference: Path, candidate: Path) -> Pair | None:
    """Make the runners of two model files.

    Returns:
        None where operators that ONNX Runtime does not know leave nothing to be compared.

    Raises:
        ModelError: ONNX Runtime cannot load a model although it knows all of its operators.
    """
    try:
        expected, found = (Runner(literal(path)) for path in each((reference, candidate)))
        return Pair(expected, found)
    except ModelError:
        models = ordinary(readable(reference)), ordinary(readable(candidate))
        for model in models:
            take_known_branches(model.graph)  # as in the quantized one, so that both are cut at the same places
        unknown = [mark_behind_unknown(model) for model in models]
        if not any(unknown):
            raise
    first, second = map(cuts, models)
    shared = [place for place in first if place in second]
    if not shared:
        return None
    return Pair(_cut(models[0], first, first, shared), _cut(models[1], second, first, shared), cut=True)


def _cut(model: ir.Model, names: Mapping[Place, str], shown: Mapping[Place, str], places: list[Place]) -> Runner:
    """Run a model up to some places; its tensors go by the names that the first model has there."""
    tensors = {names[place]: shown[place] for place in places}
    return Runner(part_for(model, list(tensors)).source, names=tensors)
