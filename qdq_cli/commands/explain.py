"""`qdq explain`: find, show."""

from __future__ import annotations

import click

from qdq_cli.commands.options import Params, command_of
from qdq_cli.screen import console

_CODE = click.Argument(["code"], nargs=-1, metavar="[CODE]")

_DISPLAY = (click.Option(["--json"], is_flag=True, help="Print one JSON document on stdout."),)


@command_of({"Display": _DISPLAY}, (_CODE,), settings=False)
def explain(params: Params) -> None:
    """Say what a rule, a finding, a reason or an exit code means and what to do.

    CODE is what other commands print: a rule (A27; 4.4, case 4), a finding of `qdq inspect` (W_CONV1D), why a Q or DQ
    stands alone (MIXED_FANOUT), why an input stays float (FEW_CHANNELS) or an output is low (CLIPPED), or an exit code
    (exit 5). Without CODE all of them are listed.

    \b
    Examples:
      qdq explain A27
      qdq explain E_BIAS_QUANTIZED
      qdq explain 4.4, case 4
      qdq explain
    """
    from qdq_cli.explaining.explain import Explanations, catalogue, find
    from qdq_cli.explaining.text import explanation_lines, list_lines
    from qdq_cli.process.documents import SCHEMA_VERSION

    screen = console.Console(as_json=params["json"])
    codes = catalogue()
    if params["code"]:
        found = find(params["code"])
        screen.result(Explanations(SCHEMA_VERSION, found), lambda: explanation_lines(found))
    else:
        screen.result(Explanations(SCHEMA_VERSION, tuple(codes.values())), lambda: list_lines(codes, screen.width()))
