"""`qdq sensitivity`: parse, measure, show."""

from __future__ import annotations

from qdq_cli.commands.evaluation import EVAL, evaluation_of
from qdq_cli.commands.fields import option_of, options_of
from qdq_cli.commands.options import (
    DATA,
    MODEL,
    PLACEMENT,
    RANGES,
    REPORT,
    RUNNING,
    STRICT,
    Params,
    command_of,
    data_of,
    display,
    record_of,
)
from qdq_cli.commands.parsed import given_ranges
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.config.sensitivity import SensitivityConfig
from qdq_cli.screen import console

_MEASURE = (option_of(SensitivityConfig, "exact"), *options_of(SensitivityConfig, "gpu", "types"), *EVAL, REPORT)

_TARGET = options_of(QuantizeConfig, "target", "cpu")

_SECTIONS = {
    "Measurement": _MEASURE,
    "Data": (*DATA, STRICT),
    "Running": RUNNING,
    "What to quantize": (*_TARGET, *PLACEMENT),
    "Ranges": RANGES,
    "Display": display("List every operator and scale group."),
}


@command_of(_SECTIONS, (MODEL,))
def sensitivity(params: Params) -> None:
    """Rank operators and scale groups by what they cost the outputs when quantized alone.

    Everything else stays float, so that what reaches the outputs is the noise of one operator: its quantized inputs and
    its weight. Residual Adds and poolings with INT8 inputs are operators too. With --eval the drop of your own metric
    is measured for every operator and ranks them. With --gpu or --types each operator is also measured in every type
    that it can have. Nothing is written besides the report.

    \b
    Examples:
      qdq sensitivity model.onnx --calib images/
      qdq sensitivity model.onnx --calib images/ --exact --report page.html
      qdq sensitivity model.onnx --calib images/ --gpu sm89
      qdq sensitivity model.onnx --calib images/ --eval "python eval.py {model}"
    """
    from qdq_cli.sensitivity.sensitivity import find_sensitivities
    from qdq_cli.sensitivity.text import sensitivity_lines

    screen = console.Console(quiet=params["quiet"], verbose=params["verbose"], as_json=params["json"])
    report = find_sensitivities(config_of(params), screen)
    screen.result(report, lambda: sensitivity_lines(report, screen.paint, full=screen.verbose))


def config_of(params: Params) -> SensitivityConfig:
    """Build the configuration of a run from the parsed options."""
    quantize = QuantizeConfig(
        model=params["model"],
        data=data_of(params),
        plan=record_of(PlanConfig, params),
        ranges=record_of(RangeConfig, params, given_ranges(params)),
        verify=VerifyConfig(samples=0),
        target=params["target"],
        cpu=params["cpu"],
    )
    return record_of(SensitivityConfig, params, {"quantize": quantize, "evaluation": evaluation_of(params)})
