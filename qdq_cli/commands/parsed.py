"""From parsed options to configuration records, where several commands need the same ones."""

from __future__ import annotations

from pathlib import Path

from qdq_cli.commands.options import Params, data_of, record_of
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.config.recovery import DEFAULT_RECOVERY


def quantize_config(params: Params) -> QuantizeConfig:
    """Build the configuration of `qdq quantize`."""
    given = {
        "data": data_of(params),
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
