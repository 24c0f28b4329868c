"""Documents: what is written is what Python's own encoder would write, and reads back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.process.documents import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    x: float
    path: Path
    colours: tuple[Colour, ...] = ()
    other: object = None


def without_odd_numbers(value: object) -> object:
    if isinstance(value, list):
        return [without_odd_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: without_odd_numbers(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


@given(VALUES, st.booleans())
def test_the_text_is_that_of_the_standard_encoder(value: object, ascii_only: bool):
    expected = json.dumps(without_odd_numbers(value), indent=2, ensure_ascii=ascii_only)
    assert json_text(value, ascii_only=ascii_only) == expected


def test_records_paths_and_enums():
    point = Point(np.float64(0.5), Path("a") / "b", (Colour.RED,), {"n": math.nan, "in": Point(1.0, Path("c"))})
    assert json.loads(json_text(point)) == {
        "x": 0.5,
        "path": str(Path("a") / "b"),
        "colours": ["red"],
        "other": {"n": None, "in": {"x": 1.0, "path": "c", "colours": [], "other": None}},
    }


def test_what_has_no_place_in_a_document():
    with pytest.raises(TypeError, match="a set has no place"):
        json_text({"a": {1}})
