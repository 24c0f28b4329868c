"""Commands that hold others, and answer a name that is none of theirs with the nearest one."""

from __future__ import annotations

from typing import Any

import click

from qdq_cli.screen.sentences import did_you_mean

_SAMPLES = ("--calib", "--data")
"""Where commands take samples from: what calibrates is one, what is compared on the other."""


class CommandGroup(click.Group):
    """A command that holds others."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first word names.

        Raises:
            click.UsageError: There is none, and the word is no option either.
        """
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"No such command '{name}'. {self._instead(ctx, name)}".rstrip())
        return super().resolve_command(ctx, args)

    def _instead(self, ctx: click.Context, name: str) -> str:
        if ctx.parent is None and name.lower().endswith(".onnx"):
            return f"A command comes before the model, such as: {ctx.command_path} {self.list_commands(ctx)[0]} {name}."
        return did_you_mean(name, self.list_commands(ctx))


def no_such_option(error: click.NoSuchOption) -> str:
    """Say that an option is not there, and which one comes nearest."""
    name, command = error.option_name, error.ctx.command if error.ctx is not None else None
    taken = {known for parameter in (command.params if command is not None else ()) for known in parameter.opts}
    near = [known for known in _SAMPLES if known in taken] if name in _SAMPLES else []
    possible: Any = error.possibilities or ()
    hint = f"Did you mean '{near[0]}'?" if near else did_you_mean(name, tuple(possible))
    return f"No such option '{name}'. {hint}".rstrip()
