"""`qdq init`: look at the model, ask what it does not tell, write its settings."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import click

from qdq_cli.commands.fields import option_of, options_of
from qdq_cli.commands.options import MODEL, Params, command_of, display, record_of
from qdq_cli.config.init import InitConfig
from qdq_cli.screen import console

if TYPE_CHECKING:
    from qdq_cli.drafting.known import Known

_YES = click.Option(["--yes"], is_flag=True, help="Ask nothing: take what the options and the model tell.")

_SECTIONS = {
    "Data": (*options_of(InitConfig, "calib", "preprocess", "input_shape"), _YES),
    "Output": options_of(InitConfig, "trt", "output", "add"),
    "Limits": options_of(InitConfig, "min_sqnr", "min_agreement"),
    "Display": tuple(option for option in display("") if option.name != "verbose"),
}


@command_of(_SECTIONS, (MODEL,), settings=False)
def init(params: Params) -> None:
    """Write the settings of a model down: its data, preprocessing, options and limits.

    They go to qdq.toml, which every command reads in the current folder, so that `qdq quantize MODEL` does the same for
    everybody. Input names, shapes and the preprocessing of known exporters come from MODEL. On a terminal the rest is
    asked for; with --yes, and where there is no terminal, nothing is.

    \b
    Examples:
      qdq init model.onnx -o answered.toml
      qdq init model.onnx --calib images/ --min-sqnr 20 --yes -o limits.toml
    """
    from qdq_cli.drafting.draft import draft_settings
    from qdq_cli.drafting.text import draft_lines

    screen = console.Console(quiet=params["quiet"], as_json=params["json"])

    def complete(config: InitConfig, known: Known) -> InitConfig:
        if known.quantized:
            screen.note(f"{config.model} holds Q/DQ; qdq quantize wants the float model.")
        return _asked(config, known, screen) if screen.asks and not params["yes"] else config

    draft = draft_settings(record_of(InitConfig, params), complete)
    screen.result(draft, lambda: draft_lines(draft))


def _asked(config: InitConfig, known: Known, screen: console.Console) -> InitConfig:
    """Ask for what no option tells; an empty answer leaves it out."""
    questions = [("calib", "Calibration data (folder, archive, list, .npz)", str(known.calib or ""))]
    if known.preprocess:
        questions.append(("preprocess", f"Preprocessing ({known.preprocess} is {known.reason})", known.preprocess))
    questions += [
        ("input_shape", f"Shape of {spec}, such as {spec.name}:1x3x640x640", "") for spec in known.open_inputs
    ]
    questions.append(("trt", "TensorRT release that must read the result (empty: the oldest that can)", ""))
    questions.append(("min_sqnr", "Lowest SQNR of any output in dB (empty: no limit)", ""))
    given = {each.name for each in fields(config) if getattr(config, each.name) != each.default}
    found: dict[str, Any] = {}
    for name, question, default in questions:
        if name not in given and (answer := _answer(screen, name, question, default)) is not None:
            found[name] = (*found.get(name, ()), *answer) if isinstance(answer, tuple) else answer
    return replace(config, **found)


def _answer(screen: console.Console, name: str, question: str, default: str) -> Any:
    """Ask until the answer is one that the option takes; None for none."""
    option = option_of(InitConfig, name)
    ctx = click.Context(init)
    while text := screen.ask(question, default):
        try:
            return option.type_cast_value(ctx, [text] if option.multiple else text)
        except click.BadParameter as error:
            screen.warning(error.message)
    return None
