"""From parsed options to configuration records, where several commands need the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdq_cli.commands.options import Params, record_of
from qdq_cli.config.data import DataConfig
from qdq_cli.config.forms import Form, TensorRT, WeightForm
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.preprocess import Overrides
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.config.recovery import DEFAULT_RECOVERY
from qdq_cli.config.sensitivity import Evaluation

if TYPE_CHECKING:
    from calibrators import Range

EVAL = (
    click.Option(
        ["--eval", "eval_"],
        metavar='"CMD {model}"',
        help="Ask this program how good a model is: {model} becomes a path, the last number it prints counts.",
    ),
    click.Option(["--lower-is-better"], is_flag=True, help="The number of --eval is an error or a loss."),
)
"""The user's own metric."""


def quantize_config(params: Params) -> QuantizeConfig:
    """Build the configuration of `qdq quantize`."""
    trt = params["trt"]
    return QuantizeConfig(
        model=params["model"],
        output=params["output"],
        data=record_of(DataConfig, params, {"overrides": record_of(Overrides, params)}),
        plan=record_of(PlanConfig, params),
        ranges=record_of(RangeConfig, params, given_ranges(params)),
        verify=record_of(VerifyConfig, params, {"samples": params["verify"]}),
        trt=None if trt is None else TensorRT(trt),
        weights=WeightForm(params["weights"]),
        form=Form(params["form"]),
        dry_run=params["dry_run"],
        report=params["report"],
        recover=recovery_of(params),
        exclude_after_recovery=params.get("exclude_after_recovery", ()),
        min_int8_macs=params.get("min_int8_macs"),
    )


def recovery_of(params: Params) -> tuple[str, ...]:
    """The steps of recovery that were asked for: those named, else the default ones where `--recover` is given."""
    return tuple(params["recover_step"]) or (DEFAULT_RECOVERY if params["recover"] else ())


def given_ranges(params: Params) -> dict[str, Mapping[str, Range]]:
    """The ranges of the command line and of the file."""
    file: Path | None = params["ranges"]
    found: dict[str, Mapping[str, Range]] = {}
    if params["range_"]:
        from calibrators import Range

        found["manual"] = {name: Range(*ends) for name, ends in params["range_"]}
    if file is not None:
        from qdq_cli.data.ranges import read_ranges

        found["imported"] = read_ranges(file)
    return found


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
