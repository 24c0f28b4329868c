"""`qdq convert`: parse, convert, show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdq_cli.commands.fields import option_of, options_of
from qdq_cli.commands.options import (
    DATA,
    MODEL,
    REPORT,
    RUNNING,
    STRICT,
    VERIFY,
    Params,
    command_of,
    data_of,
    display,
    record_of,
)
from qdq_cli.config.convert import ConvertConfig
from qdq_cli.config.quantize import VerifyConfig
from qdq_cli.screen import console

if TYPE_CHECKING:
    from qdq_cli.converting.record import Conversion

_SECTIONS = {
    "Data": (*DATA, STRICT, option_of(ConvertConfig, "cache")),
    "Running": RUNNING,
    "Output": (*options_of(ConvertConfig, "output", "float_type", "scale_type", "keep_io_types"), REPORT),
    "Limits": VERIFY,
    "Display": display("List every operator that stays FP32."),
}


@command_of(_SECTIONS, (MODEL,))
def convert(params: Params) -> None:
    """Make an FP32 model FP16 or BF16 as far as its values allow.

    MODEL may have Q/DQ or none. On the samples of --calib it is seen how large every tensor gets; operators that would
    overflow or vanish stay FP32 between Casts, each with its reason. Without samples the rules about operators and
    constants hold alone.

    \b
    Examples:
      qdq convert model.onnx --calib images/
      qdq convert model.onnx --calib arrays.npz --float-type bf16
      qdq convert model.onnx --calib images/ --min-sqnr 40 -o half.onnx
      qdq convert model.qdq.onnx --calib images/
    """
    from qdq_cli.converting.convert import convert_model
    from qdq_cli.converting.record import UnmetConversionError

    screen = console.Console(quiet=params["quiet"], verbose=params["verbose"], as_json=params["json"])
    try:
        report = convert_model(config_of(params), screen)
    except UnmetConversionError as error:
        if not screen.as_json:
            _show(screen, error.report)
        raise
    _show(screen, report)


def _show(screen: console.Console, report: Conversion) -> None:
    """Show one JSON document, or the summary."""
    from qdq_cli.converting.text import conversion_lines

    screen.result(report, lambda: conversion_lines(report, screen.width(), screen.bold, full=screen.verbose))


def config_of(params: Params) -> ConvertConfig:
    """Build the configuration of a run from the parsed options."""
    given = {
        "data": data_of(params),
        "verify": record_of(VerifyConfig, params, {"samples": params["verify"]}),
    }
    return record_of(ConvertConfig, params, given)
