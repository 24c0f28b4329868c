"""From parsed options to configuration records, where several commands need the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from qdq_cli.commands.fields import options_of
from qdq_cli.commands.options import Params, record_of
from qdq_cli.config.data import DataConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.preprocess import Overrides
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.config.recovery import DEFAULT_RECOVERY
from qdq_cli.config.sensitivity import Evaluation

EVAL = options_of(Evaluation)
"""The user's own metric."""


def quantize_config(params: Params) -> QuantizeConfig:
    """Build the configuration of `qdq quantize`."""
    given = {
        "data": record_of(DataConfig, params, {"overrides": record_of(Overrides, params)}),
        "plan": record_of(PlanConfig, params),
        "ranges": record_of(RangeConfig, params, given_ranges(params)),
        "verify": record_of(VerifyConfig, params, {"samples": params["verify"]}),
        "recover": recovery_of(params),
    }
    return record_of(QuantizeConfig, params, given)


def recovery_of(params: Params) -> tuple[str, ...]:
    """The steps of recovery that were asked for: those named, else the default ones where `--recover` is given."""
    return tuple(params["recover_step"]) or (DEFAULT_RECOVERY if params["recover"] else ())


def given_ranges(params: Params) -> dict[str, object]:
    """The ranges of the command line and of the file."""
    file: Path | None = params["ranges"]
    if file is None:
        return {"manual": dict(params["manual"])}
    from qdq_cli.data.ranges import read_given

    imported, wide = read_given(file)
    return {"manual": dict(params["manual"]), "imported": imported, "wide": wide}


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
