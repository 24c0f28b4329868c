"""The command line options in sections, one for each record they fill; commands share a section from here.

An option's parameter name is a field of its record, so that `record_of` builds the record from what click parsed.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from qdq_cli.commands.paths import FILE_PATH
from qdq_cli.config.calibrate import Shard
from qdq_cli.config.forms import Form, TensorRT, WeightForm
from qdq_cli.config.preprocess import CHOICES
from qdq_cli.config.ranges import DEFAULT_METHOD, METHODS
from qdq_cli.config.recovery import RECOVERY_STEPS

Record = TypeVar("Record")
Params = Mapping[str, Any]
Kind = Callable[[str], Any] | Any
"""A click type, or a function that parses the text."""

_SILENCE = logging.NullHandler()
"""For what onnx-ir logs about a damaged model: users get the error that follows it."""


def constants(text: str) -> tuple[float, ...]:
    """Parse one number, or one a channel with commas between: `0.5` or `0.485,0.456,0.406`.

    Raises:
        click.BadParameter: The text is something else.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"'{text}' is not a number, or one a channel (0.485,0.456,0.406).") from None


def named_range(text: str) -> tuple[str, tuple[float, float]]:
    """Parse `NAME=AMAX` or `NAME=MIN:MAX`, split at the last `=`: names may hold any character.

    Returns:
        The name and both ends.

    Raises:
        click.BadParameter: The text is something else, an end is not finite, or the range holds nothing but 0.
    """
    name, separator, numbers = text.rpartition("=")
    low, colon, high = numbers.partition(":")
    try:
        first, last = (float(low), float(high)) if colon else (-float(low), float(low))
    except ValueError:
        first = last = 0.0
    if not separator or not name or not -math.inf < first < math.inf or not first < last < math.inf:
        raise click.BadParameter(
            f"'{text}' is neither NAME=AMAX with a positive AMAX (conv1_out=6.0) nor NAME=MIN:MAX (conv1_out=-1:6)."
        )
    return name, (first, last)


def shard(text: str) -> Shard:
    """Parse `I/N`: share I of N, counted from 1.

    Raises:
        click.BadParameter: The text is something else, or I is not one of 1 to N.
    """
    number, slash, total = text.partition("/")
    if slash and number.isascii() and number.isdecimal() and total.isascii() and total.isdecimal():
        found = Shard(int(number), int(total))
        if 1 <= found.number <= found.total:
            return found
    raise click.BadParameter(f"'{text}' is not I/N with I from 1 to N (2/8 is the second of eight shares).")


class OptionCommand(click.Command):
    """A command whose callback gets all parsed options as one mapping, and whose help shows them in sections."""

    sections: Mapping[str, tuple[click.Option, ...]] = {}

    def invoke(self, ctx: click.Context) -> None:
        """Call the callback with the parsed options."""
        logging.getLogger("onnx_ir").addHandler(_SILENCE)
        assert self.callback is not None
        self.callback(ctx.params)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one block of options a section."""
        grouped = {option for options in self.sections.values() for option in options}
        options = (param for param in self.get_params(ctx) if isinstance(param, click.Option))
        rest = tuple(option for option in options if option not in grouped)
        for title, params in (*self.sections.items(), ("Other", rest)):
            records = [record for param in params if (record := param.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def command_of(sections: Mapping[str, tuple[click.Option, ...]], arguments: tuple[click.Argument, ...]) -> Any:
    """Return a decorator that makes a callback into an `OptionCommand` with these arguments and sections."""
    options = [option for section in sections.values() for option in section]
    cls = type("OptionCommand", (OptionCommand,), {"sections": sections})
    return click.command(cls=cls, params=[*arguments, *options])


def record_of(kind: type[Record], params: Params, given: Mapping[str, object] | None = None) -> Record:
    """Build a record from the options named like its fields; an option that is not set keeps the record's default.

    Args:
        kind: A dataclass.
        params: Parsed options by parameter name.
        given: Further fields; they win over options.
    """
    assert dataclasses.is_dataclass(kind)
    names = {item.name for item in dataclasses.fields(kind)}
    found = {name: value for name, value in params.items() if name in names and value is not None}
    return kind(**{**found, **(given or {})})


def _flag(names: list[str], text: str) -> click.Option:
    return click.Option(names, is_flag=True, default=False, help=text)


def _many(names: list[str], kind: Kind, metavar: str, text: str) -> click.Option:
    return click.Option(names, type=kind, multiple=True, metavar=metavar, help=text)


def _one(names: list[str], kind: Kind, metavar: str | None, text: str) -> click.Option:
    return click.Option(names, type=kind, metavar=metavar, help=text)


_COUNT = click.IntRange(min=0)

MODEL = click.Argument(["model"], type=FILE_PATH, metavar="MODEL")

DATA = (
    _many(
        ["--calib"],
        FILE_PATH,
        "PATH",
        "Calibration data: a folder of images, a folder of .npy/.npz, one .npz with an array for each input, one .npy, "
        "or a folder in the ONNX test-data layout. Repeatable.",
    ),
    _many(
        ["--include-data"], click.STRING, "GLOB", "Take these files of a folder alone ('*.jpg', 'left/*'). Repeatable."
    ),
    _many(["--exclude-data"], click.STRING, "GLOB", "Leave these files of a folder out ('labels'). Repeatable."),
    _one(
        ["--preprocess"],
        click.STRING,
        "NAME|FILE",
        "How pictures become inputs: imagenet, unit (0..1), signed (-1..1), raw (0..255), or a JSON/TOML file. "
        "[default: imagenet for three channels, unit for one]",
    ),
    _one(["--scale"], constants, "X[,X,X]", "Factor on pixel values 0..255, before mean and std."),
    _one(["--mean"], constants, "X[,X,X]", "Subtracted after the preset's scale (its units: 0..1; raw: 0..255)."),
    _one(["--std"], constants, "X[,X,X]", "Divides after the mean."),
    _one(["--color"], click.Choice(CHOICES["color"]), None, "Channel order the model was trained on."),
    _one(["--resize"], click.Choice(CHOICES["resize"]), None, "How a picture gets the input's size."),
    _one(["--fill"], constants, "X[,X,X]", "Pixel value 0..255 that --resize pad fills with."),
    _one(["--position"], click.Choice(CHOICES["position"]), None, "Where --resize pad puts the picture."),
    _one(["--layout"], click.Choice(CHOICES["layout"]), None, "Axis order of the model's input."),
    _many(
        ["--input-shape"],
        click.STRING,
        "NAME:DxDxD",
        "Shape of a dynamic input, such as images:1x3x640x640. Repeatable.",
    ),
    _one(["--samples"], click.IntRange(min=1), "N", "Samples to calibrate on. [default: all, up to 512]"),
    _one(["--batch-size"], click.IntRange(min=1), "N", "Samples a run. [default: what the model fixes, else 1]"),
    _one(["--seed"], _COUNT, "N", "Choose samples at random with this seed. [default: evenly spread]"),
)

STRICT = _flag(["--strict"], "Refuse calibration data that looks unfit (exit 4) instead of warning of it.")

EVERY_SAMPLE = tuple(
    _one(["--samples"], click.IntRange(min=1), "N", "Samples to calibrate on, evenly spread. [default: every one]")
    if option.name == "samples"
    else option
    for option in DATA
)
"""The calibration data of a command that holds nothing back."""

RANGES = (
    click.Option(
        ["--method"],
        type=click.Choice(METHODS),
        default=DEFAULT_METHOD,
        show_default=True,
        help="How ranges are chosen.",
    ),
    click.Option(
        ["--percentile"],
        type=click.FloatRange(min=0, max=100, min_open=True),
        default=99.99,
        show_default=True,
        metavar="PERCENT",
        help="Share of values that --method percentile keeps.",
    ),
    _many(
        ["--range", "range_"],
        named_range,
        "NAME=AMAX",
        "Range [-AMAX, AMAX] of a tensor; overrides calibration. NAME=MIN:MAX gives both ends; where the scheme is "
        "symmetric, the larger absolute value counts. Repeatable.",
    ),
    _one(
        ["--ranges"],
        FILE_PATH,
        "FILE",
        "Ranges from a file, told by its content: a TensorRT calibration cache; ONNX Runtime's table, binary, JSON or "
        "text; JSON {tensor: amax} or {tensor: [min, max]}; what qdq cache export writes. --range wins.",
    ),
    _one(
        ["--cache"],
        FILE_PATH,
        "FILE",
        "Calibration cache: read if it is there and fits the model (no data needed then), else written.",
    ),
    _one(
        ["--cache-missing"],
        click.Choice(["calibrate", "error"]),
        None,
        "Where tensors are not in the cache: calibrate those alone, or fail. [default: calibrate all again with "
        "--calib, else fail]",
    ),
    _flag(["--recalibrate"], "Calibrate even if the cache is there."),
)

PLACEMENT = (
    _many(["--exclude"], click.STRING, "NAME", "Node (name or glob) that stays float. Repeatable."),
    _many(["--exclude-op"], click.STRING, "TYPE", "Operator type that stays float, such as Gemm. Repeatable."),
    _many(["--only"], click.STRING, "NAME", "Quantize these weighted nodes (name or glob) alone. Repeatable."),
    _flag(["--skip-first"], "Keep the first weighted operators in float."),
    _flag(["--skip-last"], "Keep the last weighted operators in float."),
    _flag(["--per-tensor-weights"], "One scale a weight instead of one an output channel."),
    _flag(["--deconv-per-channel"], "One scale an output channel for ConvTranspose too."),
    _flag(["--mha"], "Quantize the products of two activations in attention."),
    click.Option(
        ["--group-rules/--no-group-rules"],
        default=True,
        help="Leave grouped convolutions without an INT8 kernel float. [default: on]",
    ),
    click.Option(
        ["--channel-rules/--no-channel-rules"],
        default=True,
        help="Leave convolutions with too few channels float. [default: on]",
    ),
    click.Option(
        ["--gemv-rules/--no-gemv-rules"], default=True, help="Leave matrix-vector products float. [default: on]"
    ),
    click.Option(
        ["--range-rules/--no-range-rules"],
        default=True,
        help="Leave depthwise convolutions float whose input no range keeps four bits of. [default: on]",
    ),
    click.Option(
        ["--residuals/--no-residuals"], default=True, help="Quantize residual branches so that Adds fuse. [default: on]"
    ),
    _flag(["--residual-stream"], "Quantize residual Adds with float readers too (transformers)."),
    click.Option(
        ["--pooling/--no-pooling"], default=True, help="Quantize average pooling between INT8 operators. [default: on]"
    ),
    _flag(["--safe"], "Treat operators with thin evidence in TensorRT (Gather) as float."),
)

RECOVERY = (
    _flag(
        ["--recover"],
        "Recover accuracy: equalize channels, search ranges, round weights to the layers' outputs, correct biases; "
        "each change stays only where the measured error falls.",
    ),
    click.Option(
        ["--recover-step"],
        type=click.Choice(RECOVERY_STEPS),
        multiple=True,
        metavar="STEP",
        help=f"Take this step of recovery, and only those named: {', '.join(RECOVERY_STEPS)}. Repeatable.",
    ),
)

EXCLUDE_AFTER_RECOVERY = _many(
    ["--exclude-after-recovery"],
    click.STRING,
    "NAME",
    "Node (name or glob) that recovery has in INT8 with all others, and that is left float then; qdq tune names such. "
    "Repeatable.",
)

OUTPUT = (
    _one(["-o", "--output"], FILE_PATH, "FILE", "Where the result goes. [default: MODEL.qdq.onnx]"),
    click.Option(
        ["--weights"],
        type=click.Choice([form.value for form in WeightForm]),
        default=WeightForm.FP32.value,
        show_default=True,
        help="fp32: read by every TensorRT. int8: a quarter of the size, TensorRT 10 and above. "
        "int8-compat: integers stored as floats.",
    ),
    click.Option(
        ["--form"],
        type=click.Choice([form.value for form in Form]),
        default=Form.PAIRS.value,
        show_default=True,
        help="pairs: Q/DQ at both ends of a run of data-moving operators. int8-regions: these run on INT8 tensors.",
    ),
    _one(
        ["--trt"],
        click.Choice([version.value for version in TensorRT]),
        None,
        "TensorRT release that must read the result. [default: the oldest that can, 8.4 for most]",
    ),
    _flag(
        ["--dry-run"], "Show the plan and what TensorRT will do with its result, as qdq inspect does; write nothing."
    ),
)

REPORT = _one(
    ["--report"], FILE_PATH, "FILE.html", "Write a page about the run too: one HTML file that fetches nothing."
)

VERIFY = (
    click.Option(
        ["--verify"],
        type=_COUNT,
        default=16,
        show_default=True,
        metavar="N",
        help="Compare with the FP32 model on N samples that calibration did not see; 0 for none.",
    ),
    _one(["--min-sqnr"], click.FLOAT, "DB", "Fail (exit 5) below this SQNR on any output."),
    _one(
        ["--min-agreement"],
        click.FloatRange(min=0, max=100),
        "PERCENT",
        "Fail (exit 5) below this top-1 agreement on any output of class scores.",
    ),
)


def display(details: str) -> tuple[click.Option, ...]:
    """The options on how the result is shown; `details` says what -v adds."""
    return (
        _flag(["--json"], "Print one JSON document on stdout."),
        _flag(["-q", "--quiet"], "Print errors and warnings only."),
        _flag(["-v", "--verbose"], details),
    )


DISPLAY = display("List every skip, target and group.")
