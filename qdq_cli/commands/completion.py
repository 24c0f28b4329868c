"""`qdq completion`: the script that a shell reads to complete commands, options and values; click's own machinery."""

from __future__ import annotations

import click

from qdq_cli.screen import console

_SHELLS = ("bash", "zsh", "fish", "powershell")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS), metavar="|".join(_SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands and options in a shell.

    Let the shell read it when it starts:

    \b
      bash        eval "$(qdq completion bash)"      in ~/.bashrc
      zsh         eval "$(qdq completion zsh)"       in ~/.zshrc, behind compinit
      fish        qdq completion fish | source       in ~/.config/fish/config.fish
      powershell  qdq completion powershell | Out-String | Invoke-Expression
                                                     in $PROFILE

    \b
    Examples:
      qdq completion bash
      qdq completion powershell
    """
    from qdq_cli.commands.shells import script_for

    console.Console().write(script_for(shell).splitlines())
