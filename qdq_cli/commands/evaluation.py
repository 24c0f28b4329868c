"""The options of the user's own metric, and what they become."""

from __future__ import annotations

from collections.abc import Mapping

import click

from qdq_cli.commands.fields import options_of
from qdq_cli.config.sensitivity import Evaluation

EVAL = options_of(Evaluation)
"""The user's own metric."""


def evaluation_of(params: Mapping[str, object]) -> Evaluation | None:
    """The user's metric, where one was given.

    Raises:
        click.UsageError: --lower-is-better is given without it.
    """
    command = params["eval_"]
    if command is None:
        if params["lower_is_better"]:
            raise click.UsageError("--lower-is-better says something about --eval, which is not given.")
        return None
    return Evaluation(str(command), bool(params["lower_is_better"]))
