"""Frozen records as JSON documents: the keys are the field names."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from json.encoder import encode_basestring, encode_basestring_ascii
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 2
"""Version of every document that is printed with `--json`; its first key."""

_STEP = "  "

_Spelling = Callable[[str], str]


def json_text(record: object, *, ascii_only: bool = False) -> str:
    """Write a record as an indented JSON document; numbers JSON cannot hold (NaN, Inf) become null.

    Written in one pass, and straight from the fields: the documents of large models have hundreds of thousands of
    entries, on which the standard encoder, which is compiled only for documents without line breaks, takes longer than
    the simulator.

    Args:
        record: A record, or anything in one: numbers, text, paths, enums, mappings and sequences.
        ascii_only: Escape all letters beyond ASCII.

    Raises:
        TypeError: Something in it has no place in a JSON document.
    """
    return _text(record, "\n", encode_basestring_ascii if ascii_only else encode_basestring)


def _text(value: Any, margin: str, spell: _Spelling) -> str:
    """Write a value whose lines start with `margin`, a line break and spaces."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return spell(value)
    if isinstance(value, tuple | list):
        inner = margin + _STEP
        return _enclosed("[]", [_text(item, inner, spell) for item in value], margin)
    if dataclasses.is_dataclass(value):
        inner = margin + _STEP
        held = [key + _text(getattr(value, name), inner, spell) for name, key in _keys(value.__class__)]
        return _enclosed("{}", held, margin)
    if isinstance(value, Mapping):
        inner = margin + _STEP
        held = [f"{spell(str(key))}: {_text(item, inner, spell)}" for key, item in value.items()]
        return _enclosed("{}", held, margin)
    return spell(str(value)) if isinstance(value, Path) else _number(value)


def _enclosed(brackets: str, parts: Iterable[str], margin: str) -> str:
    """Write the parts of a list or an object, each on a line of its own."""
    inside = f",{margin}{_STEP}".join(parts)
    return f"{brackets[0]}{margin}{_STEP}{inside}{margin}{brackets[1]}" if inside else brackets


@functools.cache
def _keys(record: type) -> tuple[tuple[str, str], ...]:
    """Return the fields of a class of records, and how each starts its line."""
    return tuple((item.name, f'"{item.name}": ') for item in dataclasses.fields(record))


def _number(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value) if math.isfinite(value) else "null"
    raise TypeError(f"a {type(value).__name__} has no place in a JSON document")
