"""How samples became inputs, as the one text that two calibration tables must share before they are merged."""

from __future__ import annotations

import json
from collections.abc import Mapping

from qdq_cli.config.preprocess import Preprocessing
from qdq_cli.data.preprocess_text import from_json, to_json
from qdq_cli.data.shapes import Shape, shape_text
from qdq_cli.process.errors import UsageError

_LONGEST = 200  # letters of a text of unknown form


def feeding_text(preprocessing: Preprocessing | None, shapes: Mapping[str, Shape]) -> str:
    """Write what was done to the samples.

    Args:
        preprocessing: What pictures went through; None for arrays.
        shapes: Input name -> the shape that was chosen for it, where one was (`--input-shape`).

    Returns:
        The preprocessing as JSON ("" for arrays), and a second line with the shapes where there are any.
    """
    text = to_json(preprocessing) if preprocessing else ""
    if not shapes:
        return text
    chosen = {name: list(shape) for name, shape in shapes.items()}
    return f"{text}\n{json.dumps(chosen, sort_keys=True, separators=(',', ':'))}"


def describe_feeding(text: str) -> str:
    """Say in one line what `feeding_text` holds; "" for arrays in the shapes the model declares.

    A table made with `calibrators` alone may hold any other text, which then speaks for itself.
    """
    first, _, second = text.partition("\n")
    try:
        parts = [from_json(first).describe()] if first else []
        shapes = json.loads(second) if second else {}
        parts += [f"{name} {shape_text(tuple(shape))}" for name, shape in sorted(shapes.items())]
    except (UsageError, ValueError, TypeError, AttributeError, RecursionError):
        shown = "".join(letter if letter.isprintable() else " " for letter in text)
        return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
    return "; ".join(parts)
