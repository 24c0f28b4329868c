"""The layers in bodies of If, Loop and Scan: a body of both models as a model of its own, measured round by round.

What a round was handed leaves each of the two models, and the body is run on it once more: the float body and the
shadows on what the float model handed it, the deployed body on what the deployed one did. So the numbers mean what they
do in the main graph, and no tensor of a body itself leaves a run.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from qdq_cli.comparing.profile import Profile, measure_side_by_side
from qdq_cli.comparing.shadow import is_quantization
from qdq_cli.data.batches import Batch
from qdq_cli.model.bodies import Lifted, lifted, places_of_bodies
from qdq_cli.model.nodes import defined_values, is_constant, is_op
from qdq_cli.running.tensors import Held, TensorRunner

Feed = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Handed:
    """What one of the models hands a body.

    Args:
        tensors: Input of the profile -> tensor of the model.
        shows: Tensor of the body that is there in every round.
        own: How many of the first inputs each round has of its own.
        together: Whether the body is a branch, or a branch in one, that runs once or not at all in a round around it.
    """

    tensors: Mapping[str, str]
    shows: str
    own: int
    together: bool

    def rounds(self, held: Held) -> Iterator[Feed]:
        """Yield what each round was handed; nothing where it is not known what went with which round.

        A tensor from outside is the same in all rounds, or there is one for each: of a loop in every round of which the
        branch is taken.
        """
        count = len(held[self.shows])
        outside = [len(held[tensor]) for tensor in list(self.tensors.values())[self.own :]]
        if all(rounds == 1 or (rounds == count and self.together) for rounds in outside):
            for number in range(count):
                yield {
                    name: held[tensor][number if len(held[tensor]) == count else 0]
                    for name, tensor in self.tensors.items()
                }


@dataclass(frozen=True)
class Body:
    """A body that both models have.

    Args:
        profile: Measures its tensors.
        handed: What the float model and the deployed one hand it.
        before: How many rows of the main graph's profile come before its own.
    """

    profile: Profile
    handed: tuple[Handed, Handed]
    before: int


class BodyRunner:
    """Runs both models for what they hand to bodies.

    Args:
        reference: The float model.
        quantized: The deployed one.
        bodies: The bodies.

    Raises:
        ModelError: ONNX Runtime does not hand these tensors out.
    """

    def __init__(self, reference: ir.Model, quantized: ir.Model, bodies: Sequence[Body]) -> None:
        self._bodies = bodies
        self._runners = [
            TensorRunner(model, tuple(dict.fromkeys(_asked(body.handed[side] for body in bodies))))
            for side, model in enumerate((reference, quantized))
        ]

    def rounds(self, batch: Batch) -> Iterator[tuple[int, Batch]]:
        """Yield the number of a body and what a round of it is fed, as long as both models run it.

        Raises:
            ModelError: A run failed.
        """
        held = [next(runner.run_each([batch])) for runner in self._runners]
        for number, body in enumerate(self._bodies):
            ours, theirs = (handed.rounds(found) for handed, found in zip(body.handed, held, strict=True))
            for one, other in zip(ours, theirs, strict=False):
                yield number, Batch({**one, **other}, batch.sources, batch.samples)


def _asked(handed: Iterable[Handed]) -> Iterator[str]:
    for each in handed:
        yield each.shows
        yield from each.tensors.values()


def shared_bodies(reference: ir.Model, quantized: ir.Model, main: Profile) -> tuple[Body, ...]:
    """Find the bodies that the deployed model quantizes something in, with what measures them, in the model's order.

    The float model's body that holds most of the same tensors is the other one.

    Args:
        reference: The float model, comparable and of the opset of the other; left as it is.
        quantized: The deployed one.
        main: The profile of their main graphs.
    """
    order = {node: number for number, node in enumerate(reference.graph)}
    makers = {value.name: node for node in reference.graph for value in node.outputs}
    made = [order[makers[row.match.tensor]] for row in main.rows]
    own = [(place, _tensors(place.body)) for place in places_of_bodies(reference.graph)]
    found = []
    for other in places_of_bodies(quantized.graph):
        held = _tensors(other.body)
        place, tensors = max(own, key=lambda pair: len(pair[1] & held), default=(other, frozenset()))
        if tensors & held and any(is_quantization(node) for node in other.body):
            before = bisect(made, order[place.holders[0]])
            found.append(_shared(lifted(reference, place), lifted(quantized, other), before))
    return tuple(sorted((body for body in found if body is not None), key=lambda body: body.before))


def _tensors(body: ir.Graph) -> frozenset[str | None]:
    """What a body itself computes and is handed, by name: no tensor of another body is called the same."""
    return frozenset(value.name for value in defined_values(body) if not is_constant(value))


def _shared(one: Lifted, other: Lifted, before: int) -> Body | None:
    """Return what measures a body; None where the two are handed different tensors, or something that is no tensor."""
    ours, theirs = _inputs(one), _inputs(other)
    own = len(one.place.body.inputs)
    tensors = all(isinstance(value.type, ir.TensorType) for part in (one, other) for value in part.model.graph.inputs)
    shown = _shows(one.place.body), _shows(other.place.body)
    if not tensors or None in shown or ours[:own] != theirs[:own] or not set(theirs) <= set(ours):
        return None
    profile = measure_side_by_side(one.model, other.model)
    deployed = {profile.deployed[name]: name for name in theirs}
    together = [all(is_op(holder, "If") for holder in part.place.holders[1:]) for part in (one, other)]
    float_side = Handed({name: name for name in ours}, shown[0] or "", own, together[0])
    deployed_side = Handed(deployed, shown[1] or "", own, together[1])
    return Body(profile, (float_side, deployed_side), before) if profile.rows else None


def _inputs(part: Lifted) -> list[str]:
    return [value.name or "" for value in part.model.graph.inputs]


def _shows(body: ir.Graph) -> str | None:
    """Name a tensor that a body has in every round: what it is handed, or else what it gives."""
    given = (value for value in body.outputs if value.producer() is not None)
    value = next((value for value in (*body.inputs, *given) if isinstance(value.type, ir.TensorType)), None)
    return None if value is None else value.name
