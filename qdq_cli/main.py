"""The `qdq` command: finds the sub-command, and turns every error into a sentence on stderr and an exit code."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import click

from qdq_cli.commands.every import COMMANDS, command_named
from qdq_cli.commands.groups import CommandGroup, no_such_option
from qdq_cli.process.errors import ExitCode, QdqError
from qdq_cli.process.interrupts import end_at_once_on_signals, interrupt_on_signals
from qdq_cli.process.startup import load_seldom_used_late
from qdq_cli.screen import console

if TYPE_CHECKING:
    from calibrators import CalibratorError
    from qdq_cli.process.failures import Failure


class _LazyGroup(CommandGroup):
    """Imports a sub-command only when it is used, so that `qdq --help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return command_named(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted:
        from qdq_cli.process.version import tool_version

        console.Console().write([f"qdq {tool_version()}"])
        ctx.exit()


@click.group(cls=_LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Quantize ONNX models to INT8 for TensorRT and ONNX Runtime, on a CPU.

    \b
    Examples:
      qdq quantize model.onnx --calib images/
      qdq inspect model.qdq.onnx
      qdq quantize --help

    Exit codes: 0 done, 2 usage, 3 model, 4 data or cache, 5 a limit was not met, 130 interrupted.
    """
    if ctx.invoked_subcommand is None:
        console.Console().write(ctx.get_help().splitlines())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit.

    Args:
        arguments: Command line without the program name; None for the process's own.
    """
    interrupt_on_signals()
    load_seldom_used_late()
    try:
        code = run(arguments)
    except KeyboardInterrupt:  # another one, while the first was being told
        code = ExitCode.INTERRUPTED
    end(code)


def end(code: int) -> NoReturn:
    """End the process with an exit code."""
    end_at_once_on_signals()
    gc.freeze()  # a large graph would be looked through for cycles once more before it is dropped
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Every expected failure has been shown on stderr; with `--json` it is the document on stdout, too.
    """
    found = None
    try:
        return _run(arguments)
    except click.UsageError as error:
        failed = _usage(error)
    except QdqError as error:
        hint = error.hint or _help_hint(error.exit_code)
        failed = _failure(error.exit_code, error.message, hint, error.said, error.kind)
        found = error.found
    except (KeyboardInterrupt, click.Abort):
        end_at_once_on_signals()
        failed = _failure(ExitCode.INTERRUPTED, "Interrupted before the result was finished.")
    except MemoryError:
        hint = "Try a smaller --batch-size, or fewer tensors with --only."
        failed = _failure(ExitCode.MODEL, "The machine ran out of memory.", hint)
    except OSError as error:
        failed = _os_error(error)
    except _calibrator_error() as error:
        failed = _failure(ExitCode.DATA, error.message, error.hint or "Check the file, or make it again.")
    _tell(failed, found, sys.argv[1:] if arguments is None else arguments)
    return failed.exit_code


def _failure(code: ExitCode, message: str, hint: str = "", said: tuple[str, ...] = (), kind: str = "") -> Failure:
    """Make the record of a failure; what it takes is imported only once something fails."""
    from qdq_cli.process.failures import failure

    return failure(code, message, hint, said, kind)


def _usage(error: click.UsageError) -> Failure:
    command = error.ctx.command_path if error.ctx is not None else "qdq"
    text = no_such_option(error) if isinstance(error, click.NoSuchOption) else error.format_message()
    message = " ".join(text.split())  # click lists choices on lines of their own
    sentence = message if message.endswith((".", "?")) else f"{message}."
    return _failure(ExitCode.USAGE, sentence, f"Try '{command} --help'.")


def _wants_json(words: Sequence[str]) -> bool:
    """Whether the document was asked for, as far as a command line says that could not be parsed."""
    return "--json" in (words[: words.index("--")] if "--" in words else words)


def _tell(failed: Failure, found: object | None, words: Sequence[str]) -> None:
    """Show a failure on stderr, and its document on stdout where that can be written; tell GitHub where it is told."""
    from qdq_cli.commands.views import tell_failure, wants_github

    console.error(failed.message, failed.hint, failed.said)
    if wants_github(words) and not _wants_json(words):
        with contextlib.suppress(QdqError):
            tell_failure(console.Console(), failed)
    if _wants_json(words):
        from qdq_cli.process.failures import document_of

        with contextlib.suppress(QdqError):
            console.Console().document(document_of(failed, found))


def _run(arguments: Sequence[str] | None) -> int:
    if os.environ.get("_QDQ_COMPLETE", "").startswith("powershell"):
        from qdq_cli.commands.shells import answer_powershell

        answer_powershell()
    try:
        code = cli.main(args=None if arguments is None else list(arguments), prog_name="qdq", standalone_mode=False)
    except SystemExit:  # click's answer to a reader of its help that has gone away
        return ExitCode.DONE
    return code if isinstance(code, int) else ExitCode.DONE


def _help_hint(code: ExitCode) -> str:
    return "See the command's --help." if code is ExitCode.USAGE else ""


def _calibrator_error() -> type[CalibratorError]:
    """The parent of the library's errors; imported only once an error needs it, because it brings NumPy along."""
    from calibrators import CalibratorError

    return CalibratorError


def _os_error(error: OSError) -> Failure:
    """What the system refused."""
    if isinstance(error, FileNotFoundError) and not error.filename and _is_nowhere():
        hint = "Go to another folder, such as with: cd"
        return _failure(ExitCode.USAGE, "The current folder does not exist any more.", hint)
    return _failure(ExitCode.MODEL, _sentence(error), "Check the path, the rights and the room on the disk.")


def _is_nowhere() -> bool:
    """Say whether the current folder has been removed."""
    try:
        return not os.getcwd()  # noqa: PTH109 - Path.cwd() is the same
    except OSError:
        return True


def _sentence(error: OSError) -> str:
    subject = f"{error.filename} cannot be used" if error.filename else "A file cannot be used"
    return f"{subject}: {error.strerror or type(error).__name__}."


if __name__ == "__main__":
    main()
