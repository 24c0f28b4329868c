"""Completion in shells: click knows bash, zsh and fish; PowerShell is told here in the same way."""

from __future__ import annotations

import os
import shlex

import click
from click.shell_completion import CompletionItem, ShellComplete, add_completion_class, get_completion_class

from qdq_cli.process.errors import UsageError

VARIABLE = "_QDQ_COMPLETE"
"""The variable of the environment by which a script asks for completions instead of a run."""

_POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName %(prog_name)s -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $env:%(complete_var)s = "powershell_complete"
    $env:COMP_WORDS = $commandAst.ToString()
    $env:COMP_CWORD = $wordToComplete
    try {
        %(prog_name)s | ForEach-Object {
            $kind, $value, $said = $_ -split "`t", 3
            if ($kind -eq "plain") {
                [System.Management.Automation.CompletionResult]::new($value, $value, "ParameterValue", $said)
            }
        }
    } finally {
        Remove-Item Env:%(complete_var)s, Env:COMP_WORDS, Env:COMP_CWORD -ErrorAction SilentlyContinue
    }
}
"""


class PowerShellComplete(ShellComplete):
    """Completion for PowerShell; where paths are due it says nothing, and the shell completes them itself.

    Source: Microsoft's documentation of `Register-ArgumentCompleter -Native`.
    """

    name = "powershell"
    source_template = _POWERSHELL

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words behind the program, and the one that is incomplete."""
        incomplete = os.environ.get("COMP_CWORD", "")
        words = os.environ.get("COMP_WORDS", "")
        try:
            args = shlex.split(words, posix=False)[1:]
        except ValueError:  # a quotation mark that is not closed yet
            args = words.split()[1:]
        if incomplete and args and args[-1] == incomplete:
            args.pop()
        return args, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Write an item as its kind, its value and what is said about it, which may not be empty."""
        return f"{item.type}\t{item.value}\t{item.help or item.value}"


def answer_powershell() -> None:
    """Let click answer PowerShell too, where that is what asks."""
    add_completion_class(PowerShellComplete)


def script_for(shell: str) -> str:
    """Return the script of a shell.

    Raises:
        UsageError: This installation of click does not know the shell.
    """
    answer_powershell()
    found = get_completion_class(shell)
    if found is None:
        raise UsageError(f"click does not know the shell {shell}.", "Update it: pip install -U click.")
    return found(click.Command("qdq"), {}, "qdq", VARIABLE).source()
