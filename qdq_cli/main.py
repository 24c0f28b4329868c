"""The `qdq` command: finds the sub-command, and turns every error into a sentence on stderr and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from qdq_cli import console
from qdq_cli.errors import ExitCode, QdqError

COMMANDS = {
    "quantize": "Quantize an FP32 ONNX model to INT8 with Q/DQ nodes.",
    "inspect": "Say what TensorRT will do with a Q/DQ model, without TensorRT.",
}
"""Name of each sub-command (a module of `qdq_cli.commands`) and its line in `qdq --help`."""


class _LazyGroup(click.Group):
    """Imports a sub-command only when it is used, so that `qdq --help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"qdq_cli.commands.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="qdq", message="qdq %(version)s")
def cli() -> None:
    """Quantize ONNX models to INT8 for TensorRT and ONNX Runtime, on a CPU.

    \b
    Examples:
      qdq quantize model.onnx --calib images/
      qdq inspect model.qdq.onnx
      qdq quantize --help

    Exit codes: 0 done, 2 usage, 3 model, 4 data or cache, 5 a limit was not met, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit.

    Args:
        arguments: Command line without the program name; None for the process's own.
    """
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; every expected failure has been shown on stderr."""
    try:
        cli.main(args=None if arguments is None else list(arguments), prog_name="qdq", standalone_mode=False)
        return ExitCode.DONE
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        error.show()
        return ExitCode.USAGE
    except QdqError as error:
        console.error(error.message, error.hint)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        console.error("Interrupted; nothing was written.")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (head, less) has gone; Python would complain again while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except MemoryError:
        console.error("The machine ran out of memory.", "Try a smaller --batch-size, or fewer tensors with --only.")
        return ExitCode.MODEL


if __name__ == "__main__":
    main()
