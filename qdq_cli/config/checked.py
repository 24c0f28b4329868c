"""Records that check themselves: each value is read by the type and the rule of its field when a record is made.

A text becomes the enum or the path it names, a list a tuple, a whole number a float where one is due. Whatever does not
fit is a `UsageError` that names the field, what was found and what was expected.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import os
import reprlib
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from qdq_cli.config.fields import Interval, Made, OneOf, Rule, Told, hints_of, told_of
from qdq_cli.process.errors import UsageError
from qdq_cli.screen.sentences import did_you_mean

Read = Callable[[Any], Any]


class Checked:
    """A frozen dataclass that inherits from it accepts what its fields are declared for, and nothing else.

    Making one raises a `UsageError` for a value of another type, and for one that the rule of its field refuses.
    """

    def __post_init__(self) -> None:
        kind: type = type(self)
        for name, reader in _readers(kind):
            try:
                value = reader.read(getattr(self, name))
            except _UnfitError as unfit:
                message = f"{self.called(name)} {unfit.found}; expected {reader.expected}."
                raise UsageError(message, unfit.hint) from None
            object.__setattr__(self, name, value)

    @classmethod
    def called(cls, field: str) -> str:
        """Return what sentences call a field."""
        return f"{cls.__name__}.{field}"


class _UnfitError(Exception):
    """A value does not fit its field.

    Args:
        found: "is 3 (int)", or of an element "holds 3 (int)".
        hint: What to write instead, or empty.
    """

    def __init__(self, found: str, hint: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.hint = hint


@dataclass(frozen=True)
class _Reader:
    """How the values of a type are read.

    Args:
        expected: What they are, in words.
        read: Returns a value as the record keeps it.
    """

    expected: str
    read: Read


@functools.cache
def _readers(kind: type) -> tuple[tuple[str, _Reader], ...]:
    """How each field of a record is read."""
    hints = hints_of(kind)
    fields = dataclasses.fields(kind)
    return tuple((item.name, _reader(hints[item.name], told_of(item))) for item in fields)


def _reader(hint: Any, told: Told) -> _Reader:
    """How a type is read: a plain one, one or None, or a tuple, a set or a mapping of plain ones."""
    inner = get_args(hint)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        (one,) = (each for each in inner if each is not types.NoneType)
        found = _reader(one, told)
        return _Reader(f"{found.expected}, or None", lambda value: None if value is None else found.read(value))
    if origin is Literal:
        return _plain(str, OneOf(inner))
    if origin in (tuple, frozenset):
        return _with_text(_items(origin, inner[0], told.rule), told)
    if origin is Mapping:
        return _mapping(inner[1], told.rule)
    return _with_text(_plain(hint, told.rule), told)


def _with_text(reader: _Reader, told: Told) -> _Reader:
    """Read what is written as text on a command line from a text here too."""
    parse = told.parse

    def read(value: Any) -> Any:
        if parse is None or not isinstance(value, str):
            return reader.read(value)
        try:
            return reader.read(parse(value))
        except UsageError as error:
            raise _UnfitError(f"is {_shown(value)}", error.message) from None

    return _Reader(reader.expected, read)


def _items(make: type, kind: type, rule: Rule | None) -> _Reader:
    """A tuple or a set of plain values; one path or one number is as good as a tuple of it.

    One text is not, where texts are due: a text is itself a sequence, of letters.
    """
    each = _plain(kind, rule)
    taken = (tuple, list) if make is tuple else (tuple, list, set, frozenset)

    def read(value: Any) -> Any:
        if kind is not str and isinstance(value, str | os.PathLike | numbers.Real):
            value = (value,)
        if not isinstance(value, taken):
            hint = f"For one of them write ({_shown(value)},)." if isinstance(value, str) else ""
            raise _UnfitError(f"is {_typed(value)}", hint)
        return make([_element(each, item) for item in value])

    return _Reader(f"a {make.__name__}, each element {each.expected}", read)


def _mapping(kind: type, rule: Rule | None) -> _Reader:
    """A mapping from texts to plain values."""
    key, each = _plain(str, None), _plain(kind, rule)

    def read(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _UnfitError(f"is {_typed(value)}")
        return {_element(key, name): _element(each, item) for name, item in value.items()}

    return _Reader(f"a mapping from {key.expected} to {each.expected}", read)


def _element(reader: _Reader, value: Any) -> Any:
    try:
        return reader.read(value)
    except _UnfitError as unfit:
        raise _UnfitError(f"holds {unfit.found.removeprefix('is ')}", unfit.hint) from None


def _plain(kind: type, rule: Rule | None) -> _Reader:
    """A text, a number, a path, an enum or a record."""
    if isinstance(rule, Made):
        return _Reader(rule.expected, functools.partial(_made, rule))
    if issubclass(kind, Enum):
        return _Reader(OneOf(tuple(member.value for member in kind)).expected, functools.partial(_enum, kind))
    expected, read = _PLAIN.get(kind) or (kind.__name__, functools.partial(_instance, kind))
    if isinstance(rule, OneOf):
        return _Reader(rule.expected, lambda value: _word(rule, read(value)))
    if rule is None:
        return _Reader(expected, read)
    return _Reader(expected + rule.expected, lambda value: _inside(rule, read(value)))


def _made(rule: Made, value: Any) -> Any:
    try:
        return rule.make(value)
    except (TypeError, ValueError, OverflowError):
        raise _UnfitError(f"is {_typed(value)}") from None


def _enum(kind: type[Enum], value: Any) -> Enum:
    if isinstance(value, kind):
        return value
    return kind(_word(OneOf(tuple(member.value for member in kind)), value))


def _word(rule: OneOf, value: Any) -> Any:
    if isinstance(value, str) and rule.holds(value):
        return value
    hint = did_you_mean(str(value), rule.words) if isinstance(value, str | numbers.Real) else ""
    raise _UnfitError(f"is {_shown(value) if isinstance(value, str) else _typed(value)}", hint)


def _inside(rule: Interval, value: Any) -> Any:
    if not rule.holds(value):
        raise _UnfitError(f"is {_shown(value)}")
    return value


def _instance(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise _UnfitError(f"is {_typed(value)}")
    return value


def _text(value: Any) -> str:
    return str.__str__(_instance(str, value))


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise _UnfitError(f"is {_typed(value)}")
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise _UnfitError(f"is {_typed(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _UnfitError(f"is {_shown(value)}")
    return number


def _path(value: Any) -> Path:
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(text, str):
        raise _UnfitError(f"is {_typed(value)}")
    if not text or "\0" in text:
        raise _UnfitError(f"is {_shown(text)}")
    return value if isinstance(value, Path) else Path(text)


_PLAIN: dict[type, tuple[str, Read]] = {
    bool: ("True or False", functools.partial(_instance, bool)),
    int: ("a whole number", _whole),
    float: ("a finite number", _number),
    str: ("a text", _text),
    Path: ("a path", _path),
}
"""Type -> what its values are, and how one is read."""


def _typed(value: object) -> str:
    """Write a value of a wrong type, and the type."""
    return "None" if value is None else f"{_shown(value)} ({type(value).__name__})"


def _shown(value: object) -> str:
    """Write a value, the middle of a long one left out."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
