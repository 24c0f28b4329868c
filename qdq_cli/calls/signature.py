"""The keywords of a call with their defaults: shown, completed, and held against what was given."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from qdq_cli.process.errors import UsageError
from qdq_cli.screen.sentences import did_you_mean

Function = TypeVar("Function", bound=Callable[..., Any])

Keywords = Mapping[str, Any]
"""What a call was given, by the names of its keywords."""


@dataclass(frozen=True)
class Signature:
    """The keywords of one call.

    Args:
        kind: The TypedDict that declares them.
        records: The records whose fields they fill; the first that has a field of the name has the default.
        own: Defaults of keywords that are no field, or are another one's.
    """

    kind: type
    records: tuple[type, ...]
    own: Keywords

    @property
    def defaults(self) -> dict[str, Any]:
        """Keyword -> default, in the order of declaration."""
        fields: dict[str, Any] = {}
        for record in self.records:
            for field in dataclasses.fields(record):
                fields.setdefault(field.name, _default(field))
        return {name: self.own.get(name, fields.get(name)) for name in self.kind.__annotations__}

    def complete(self, given: Keywords) -> dict[str, Any]:
        """Return what was given, with the defaults of the other keywords.

        Raises:
            UsageError: A keyword is none of the call's.
        """
        defaults = self.defaults
        for name in given:
            if name not in defaults:
                raise UsageError(f"There is no keyword {name}.", did_you_mean(name, tuple(defaults)))
        return {**defaults, **given}

    def shown_by(self, function: Function) -> Function:
        """Let a function that takes `**given: Unpack[...]` show the keywords one by one."""
        found = inspect.signature(function)
        types = {name: hint.__forward_arg__ for name, hint in self.kind.__annotations__.items()}  # as they are written
        keywords = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=types[name])
            for name, default in self.defaults.items()
        ]
        named = [each for each in found.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        function.__signature__ = found.replace(parameters=[*named, *keywords])  # type: ignore[attr-defined]
        return function


def _default(field: dataclasses.Field[Any]) -> Any:
    """The default of a field as a caller writes it; None where a function makes it."""
    if field.default is dataclasses.MISSING:
        return None
    return field.default.value if isinstance(field.default, Enum) else field.default
