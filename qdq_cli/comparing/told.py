"""What build services are told of a run of `qdq compare`."""

from __future__ import annotations

from collections.abc import Iterator

from qdq_cli.comparing.record import Comparison
from qdq_cli.comparing.saturation import saturation_text
from qdq_cli.comparing.text import start_text
from qdq_cli.quantizing.told import distance_facts, distance_text, distance_values, speed_values
from qdq_cli.screen.told import Case, Told, Verdict
from qdq_cli.timing.text import speed_text


def told_of_comparison(found: Comparison, unmet: str) -> Told:
    """Tell what a comparison found.

    Args:
        found: The comparison.
        unmet: The limit that is not met, a sentence; "" where none is missed.
    """
    outputs = dict(found.outputs)
    return Told(
        "compare",
        found.quantized,
        tuple(_facts(found, unmet)),
        tuple(_cases(found, unmet)),
        {**dict(distance_values(outputs)), **dict(speed_values(found.speed))},
    )


def _facts(found: Comparison, unmet: str) -> Iterator[tuple[str, str]]:
    yield "reference", found.reference
    yield "samples", str(found.samples)
    yield from distance_facts(dict(found.outputs))
    for name, rows in found.rows.items():
        yield f"output {name}", str(rows)
    if found.speed is not None:
        yield "speed", speed_text(found.speed, "the reference")
    if found.layers is not None:
        yield "damage starts at", start_text(found.layers)
    if unmet:
        yield "limit not met", unmet


def _cases(found: Comparison, unmet: str) -> Iterator[Case]:
    yield Case("limits", unmet, Verdict.FAILED) if unmet else Case("limits")
    for name, distance in found.outputs.items():
        yield Case(f"output {name}", f"{distance_text(distance)}.")
    for name in found.not_compared:
        yield Case(f"output {name}", "It is not compared: its shape differs between the models.", Verdict.DOUBT)
    if saturation := saturation_text(found):
        yield Case("saturation", saturation, Verdict.DOUBT)
