"""Options of the command line, made from the fields of configuration records, where help, default and check stand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import click

from qdq_cli.commands.paths import FILE_PATH
from qdq_cli.config.fields import REQUIRED, Interval, OneOf, Parse, Rule, Told, hints_of, told_of
from qdq_cli.process.errors import UsageError

Kind = Any
"""A type of click, or a function that parses the text of an option."""


def options_of(record: type, *names: str) -> tuple[click.Option, ...]:
    """Make the options of some fields of a record, in this order; without names those of all that have one."""
    every = (item.name for item in dataclasses.fields(record) if told_of(item).help)
    return tuple(option_of(record, name) for name in names or every)


def option_of(
    record: type, name: str, text: str = "", *, names: tuple[str, ...] = (), required: bool = False
) -> click.Option:
    """Make the option of one field of a record.

    Args:
        record: A class of configuration records.
        name: Name of the field.
        text: Help in place of the field's own, where the field means something more special in a command.
        names: Names in place of the field's own.
        required: The command cannot do without the option.
    """
    (field,) = (item for item in dataclasses.fields(record) if item.name == name)
    told = told_of(field)
    hint = _without_none(hints_of(record)[name])
    words = names or told.names or (f"--{name.replace('_', '-')}",)
    if hint is bool:
        return _switch(words, text or told.help, None if field.default is None else bool(field.default))
    make = partial(
        click.Option,
        words,
        type=_kind(hint, told),
        multiple=_repeats(hint, told),
        metavar=told.metavar,
        help=text or told.help,
    )
    if required:
        return make(required=True)  # beside a default, None too, click would not miss it
    default = _default(field)
    return make(default=default, show_default=default is not None)


def _switch(names: tuple[str, ...], text: str, default: bool | None) -> click.Option:
    """Make an option without a value; one that is on by default, or decided by others, can be put off."""
    if default is False:
        return click.Option(names, is_flag=True, default=False, help=text)
    (name,) = names
    return click.Option(
        [f"{name}/--no-{name.removeprefix('--')}"], default=default, help=f"{text} [default: on]" if default else text
    )


def _default(field: dataclasses.Field[Any]) -> Any:
    """The default that the help shows, as it is typed; None where it is no one value."""
    default = field.default
    if default is REQUIRED or isinstance(default, tuple):
        return None
    return default.value if isinstance(default, Enum) else default


def _without_none(hint: Any) -> Any:
    if get_origin(hint) not in (Union, UnionType):
        return hint
    (one,) = (each for each in get_args(hint) if each is not NoneType)
    return one


def _repeats(hint: Any, told: Told) -> bool:
    """Whether the option is given once for each element: what is written as one text is given once."""
    return get_origin(hint) is Mapping or (get_origin(hint) is tuple and told.parse is None)


def _kind(hint: Any, told: Told) -> Kind:
    """What reads one value."""
    if told.parse is not None:
        return _reads(told.parse)
    if get_origin(hint) is tuple:
        return _plain(get_args(hint)[0], told.rule)
    if get_origin(hint) is Literal:
        return click.Choice(get_args(hint))
    return _plain(hint, told.rule)


def _plain(kind: type, rule: Rule | None) -> Kind:
    if issubclass(kind, Enum):
        return click.Choice([member.value for member in kind])
    if isinstance(rule, OneOf):
        return click.Choice(rule.words)
    inside = rule if isinstance(rule, Interval) else None
    if kind is int:
        return click.INT if inside is None else click.IntRange(min=inside.least, max=inside.most)
    if kind is float:
        return finite if inside is None else FiniteRange(min=inside.least, max=inside.most, min_open=inside.above)
    return FILE_PATH if kind is Path else click.STRING


def _reads(parse: Parse) -> Parse:
    """Let a function of the configuration read the text of an option."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except UsageError as error:
            raise click.BadParameter(error.message) from None

    return read


def finite(text: str) -> float:
    """Parse a number that is neither infinite nor NaN, which no limit holds back.

    Raises:
        click.BadParameter: The text is something else.
    """
    number: float = click.FLOAT(text)
    if not math.isfinite(number):
        raise click.BadParameter(f"{text} is not a finite number.")
    return number


class FiniteRange(click.FloatRange):
    """A finite number between two ends."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number.

        Raises:
            click.BadParameter: It is none, not finite, or outside.
        """
        return super().convert(finite(value), param, ctx)
