"""Parsed options as words of a command line again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Any

import click

from qdq_cli.commands.options import Params


def spelled(options: Iterable[click.Option], params: Params) -> tuple[str, ...]:
    """Return the options whose values are not their defaults, each as one word with its value, quoted for a shell.

    Parsing them again gives the same values.
    """
    return tuple(word for option in options for word in _words(option, params[option.name or ""]))


def _words(option: click.Option, value: Any) -> Iterator[str]:
    name = option.opts[0]
    if option.is_flag:
        if value is not None and value != (option.default is True):
            yield name if value else option.secondary_opts[0]
        return
    if value is None or value == option.default:
        return
    for one in value if option.multiple else (value,):
        yield f"{name} {shlex.quote(_text(one))}"


def _text(value: Any) -> str:
    match value:
        case (str(name), (float(low), float(high))):
            return f"{name}={high!r}" if low == -high else f"{name}={low!r}:{high!r}"
        case tuple():
            return ",".join(repr(one) for one in value)
        case float():
            return repr(value)
    return str(value)
