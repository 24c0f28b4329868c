"""What the models of a command run with, for whatever makes a session in it, however deep inside.

A command says it once, at its entrance; what is below asks `current()`. Each thread of a program that calls the
commands as functions has its own.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from qdq_cli.config.data import DataConfig
from qdq_cli.config.execution import ExecutionConfig
from qdq_cli.running.providers import require_providers

_DEFAULT = ExecutionConfig()
_CURRENT: ContextVar[ExecutionConfig] = ContextVar("execution", default=_DEFAULT)


class RunsSamples(Protocol):
    """A configuration of a command that runs samples."""

    @property
    def data(self) -> DataConfig:
        """The samples, and what runs them."""
        ...


Config = TypeVar("Config", bound=RunsSamples)
Rest = ParamSpec("Rest")
Result = TypeVar("Result")


def current() -> ExecutionConfig:
    """What models run with here and now."""
    return _CURRENT.get()


@contextlib.contextmanager
def executing(config: ExecutionConfig) -> Iterator[None]:
    """Within the block, let models run as a configuration says."""
    before = _CURRENT.set(config)
    try:
        yield
    finally:
        _CURRENT.reset(before)


def runs_as_told(function: Callable[Concatenate[Config, Rest], Result]) -> Callable[Concatenate[Config, Rest], Result]:
    """Let the models of a function run as its first argument, the configuration of a command, says."""

    @functools.wraps(function)
    def run(config: Config, /, *rest: Rest.args, **named: Rest.kwargs) -> Result:
        require_providers(config.data.execution)  # before anything else is done for nothing
        with executing(config.data.execution):
            return function(config, *rest, **named)

    return run
