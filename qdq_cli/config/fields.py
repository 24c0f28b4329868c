"""What the fields of configuration records say about themselves, for the checks and for the command line alike.

The annotation of a field is its type. `option` adds what values must be beyond it, the help, and how the option is
spelled, so that each of them stands once: `qdq_cli.config.checked` reads the values of a record by it, and the commands
make their options of it.

    minutes: int | None = option(None, "Minutes on the fire.", metavar="N", rule=Interval(least=1))
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from qdq_cli.screen.sentences import any_of

_TOLD = "told"
"""Where the metadata of a field keeps its `Told`."""

REQUIRED = dataclasses.MISSING
"""The default of a field that has none."""


@dataclass(frozen=True)
class Interval:
    """Numbers between two ends.

    Args:
        least: Smallest number; None for no end.
        most: Largest number; None for no end.
        above: Whether `least` itself lies outside.
    """

    least: int | None = None
    most: int | None = None
    above: bool = False

    @property
    def expected(self) -> str:
        """The interval in words that go on "a number"."""
        if self.least is None:
            return "" if self.most is None else f" up to {self.most}"
        if self.above:
            return f" above {self.least}" + ("" if self.most is None else f" and up to {self.most}")
        return f" of {self.least} " + ("or more" if self.most is None else f"to {self.most}")

    def holds(self, value: float) -> bool:
        """Whether a number lies inside."""
        enough = self.least is None or (value > self.least if self.above else value >= self.least)
        return enough and (self.most is None or value <= self.most)


@dataclass(frozen=True)
class OneOf:
    """Texts out of a list."""

    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        """The list in words."""
        return any_of(self.words)

    def holds(self, value: str) -> bool:
        """Whether a text is in the list."""
        return value in self.words


@dataclass(frozen=True)
class Made:
    """Values that are made of what is given, where a type alone does not say how.

    Args:
        expected: What may be given, in words.
        make: Makes the value; a TypeError, ValueError or OverflowError says that it cannot.
    """

    expected: str
    make: Callable[[Any], Any]


Rule = Interval | OneOf | Made
"""What a value must be beyond its type; in a tuple or a mapping, each of the values."""

Parse = Callable[[str], Any]
"""How a text becomes the value, or one element of a mapping; a UsageError says what is wrong with it."""


@dataclass(frozen=True)
class Told:
    """What a field says beyond its name, type and default.

    Args:
        help: Its line in the help of a command; empty for a field that no option asks for.
        names: Names of the option, and last that of its parameter; empty: `--the-field`.
        metavar: What stands for a value in the help.
        rule: What values must be.
        parse: How they are written as text.
    """

    help: str = ""
    names: tuple[str, ...] = ()
    metavar: str | None = None
    rule: Rule | None = None
    parse: Parse | None = None


def option(
    default: Any,
    text: str,
    names: tuple[str, ...] = (),
    metavar: str | None = None,
    rule: Rule | None = None,
    parse: Parse | None = None,
) -> Any:
    """Declare a field that a command line asks for; the parameters are those of `Told`.

    Args:
        default: The default of the field, a function that makes it, or `REQUIRED`.
    """
    return _declared(default, Told(text, names, metavar, rule, parse))


def ruled(default: Any, rule: Rule) -> Any:
    """Declare a field that no option asks for, whose values obey a rule."""
    return _declared(default, Told(rule=rule))


def _declared(default: Any, told: Told) -> Any:
    if callable(default):
        return dataclasses.field(default_factory=default, metadata={_TOLD: told})
    return dataclasses.field(default=default, metadata={_TOLD: told})


@functools.cache
def hints_of(record: type) -> dict[str, Any]:
    """The types of a record's fields; reading annotations takes long, and every option asks for one of them."""
    return get_type_hints(record)


def told_of(field: dataclasses.Field[Any]) -> Told:
    """What a field of a record says of itself."""
    told = field.metadata.get(_TOLD, Told())
    assert isinstance(told, Told)
    return told
