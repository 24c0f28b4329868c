"""The command line options in sections, one for each record they fill; commands share a section from here.

An option's parameter name is a field of its record, so that `record_of` builds the record from what click parsed.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import click

from qdq_cli.commands.fields import option_of, options_of
from qdq_cli.commands.paths import FILE_PATH
from qdq_cli.commands.sections import HELP, TOPICS, Sections, is_common, name_of, sorted_sections
from qdq_cli.commands.settings import CONFIG, take_settings, tell_settings
from qdq_cli.config.data import SAMPLE_ENDINGS, DataConfig
from qdq_cli.config.execution import ExecutionConfig
from qdq_cli.config.placement import PlanConfig
from qdq_cli.config.preprocess import Overrides
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.config.ranges import RangeConfig
from qdq_cli.screen import console
from qdq_cli.screen.sentences import count_text

Record = TypeVar("Record")
Params = Mapping[str, Any]


class OptionCommand(click.Command):
    """A command whose callback gets all parsed options as one mapping, and whose help shows them in sections."""

    sections: ClassVar[Sections] = {}
    reads_settings = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words, the samples that a shell put in the place of a pattern among them; what they leave open,
        qdq.toml may say.
        """
        names = {name for param in self.params for name in param.opts} & set(_TAKE_SAMPLES)
        words = with_each_sample(args) if names else args
        if self.reads_settings and not ctx.resilient_parsing:
            take_settings(self, ctx, words)
        return super().parse_args(ctx, words)

    def invoke(self, ctx: click.Context) -> None:
        """Call the callback with the parsed options."""
        import logging  # not for the help, which is to be there at once

        log = logging.getLogger("onnx_ir")
        if not log.handlers:  # what onnx-ir logs about a damaged model: users get the error that follows it
            log.addHandler(logging.NullHandler())
        assert self.callback is not None
        tell_settings(ctx)
        with _telling_stages(ctx.params):
            self.callback(ctx.params)

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """The names that show everything; `-h` is an option of its own."""
        return [_EVERY_OPTION, "--help-all"]

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The parameters, those of the help among them."""
        *params, every = super().get_params(ctx)
        every.help = "Show every option."
        return [*params, _SHORT_HELP, every]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one block of options a section: all, or the common ones for `-h`."""
        *_, short, every = self.get_params(ctx)
        assert isinstance(short, click.Option) and isinstance(every, click.Option)
        shown = {**self.sections, HELP: (short, every)}
        if ctx.meta.get(_SHORT):
            shown = {title: tuple(filter(is_common, options)) for title, options in self.sections.items()}
        for title, options in shown.items():
            records = [record for option in options if (record := _help_record(option, ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        more = sum(map(len, self.sections.values())) - sum(map(len, shown.values()))
        if more > 0:
            formatter.write_paragraph()
            formatter.write_text(f"{count_text(more, 'more option')}: {ctx.command_path} {_EVERY_OPTION}")


@contextlib.contextmanager
def _telling_stages(params: Params) -> Iterator[None]:
    """Say what each stage of a command took, where `-v` asks; of one that failed, those that it came to."""
    if not params.get("verbose"):
        yield
        return
    from qdq_cli.process.clock import tallying
    from qdq_cli.screen.stages import stage_lines

    screen = console.Console(quiet=params["quiet"], verbose=True)
    with tallying() as tally:
        try:
            yield
        finally:
            for line in stage_lines(tally):
                screen.detail(line)


_EVERY_OPTION = "--help"
_SHORT = "qdq.short"
"""Where a context notes that the common options alone are asked for."""


def _help_record(option: click.Option, ctx: click.Context) -> tuple[str, str] | None:
    """The lines of one option; one for experts says where more is."""
    record = option.get_help_record(ctx)
    topic = None if option is _SHORT_HELP or _EVERY_OPTION in option.opts else TOPICS.get(name_of(option))
    return record if record is None or topic is None else (record[0], f"{record[1]}  [qdq explain {topic}]")


def _show_short_help(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted:
        ctx.meta[_SHORT] = True
        console.Console().write(ctx.get_help().splitlines())
        ctx.exit()


_SHORT_HELP = click.Option(
    ["-h"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_short_help,
    help="Show the options that most people need.",
)


_TAKE_SAMPLES = ("--calib", "--data")


def with_each_sample(words: Sequence[str]) -> list[str]:
    """Repeat the option before each sample behind the first: what a shell makes of `--calib images/*.jpg`.

    Only words that are called like samples, archives or lists are taken for such, so that a model that follows stays
    one.
    """
    found: list[str] = []
    option = ""
    for place, word in enumerate(words):
        if word == "--":
            return [*found, *words[place:]]
        before = words[place - 1] if place else ""
        if word.startswith("-") and word != "-":
            option = word if word in _TAKE_SAMPLES else ""
        elif option and before != option:
            if not _is_called_like_a_sample(word):
                option = ""
            else:
                found.append(option)
        found.append(word)
    return found


def _is_called_like_a_sample(word: str) -> bool:
    return word.lower().endswith(SAMPLE_ENDINGS)


def command_of(sections: Sections, arguments: tuple[click.Argument, ...], *, settings: bool = True) -> Any:
    """Return a decorator that makes a callback into an `OptionCommand`.

    Args:
        sections: Title of a section in the help -> its options.
        arguments: What stands behind the command without dashes.
        settings: Whether qdq.toml gives the options defaults.
    """
    shown = sorted_sections({**sections, "Settings": CONFIG} if settings else sections)
    options = [option for section in shown.values() for option in section]
    cls = type("OptionCommand", (OptionCommand,), {"sections": shown, "reads_settings": settings})
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


def data_of(params: Params) -> DataConfig:
    """Build the record of the samples, and of what runs them."""
    parts = {"overrides": record_of(Overrides, params), "execution": record_of(ExecutionConfig, params)}
    return record_of(DataConfig, params, parts)


MODEL = click.Argument(["model"], type=FILE_PATH, metavar="MODEL")

DATA = (
    *options_of(DataConfig, "calib", "include_data", "exclude_data", "preprocess"),
    *options_of(Overrides),
    *options_of(DataConfig, "input_shape", "samples", "batch_size", "seed"),
)
STRICT = option_of(DataConfig, "strict")
RUNNING = options_of(ExecutionConfig)
THREADS = options_of(ExecutionConfig, "threads")
"""For commands that run what is written, which the CPU does alone."""

EVERY_SAMPLE = tuple(
    option_of(DataConfig, "samples", "Samples to calibrate on, evenly spread. [default: every one]")
    if option.name == "samples"
    else option
    for option in DATA
)
"""The calibration data of a command that holds nothing back."""

RANGES = (
    *options_of(RangeConfig, "method", "percentile", "manual"),
    click.Option(
        ["--ranges"],
        type=FILE_PATH,
        metavar="FILE",
        help="Ranges from a file, told by its content: a TensorRT calibration cache; ONNX Runtime's table, binary, "
        "JSON or text; JSON {tensor: amax} or {tensor: [min, max]}; what qdq cache export writes. --range wins.",
    ),
    *options_of(RangeConfig, "cache", "cache_missing", "recalibrate"),
)

PLACEMENT = options_of(PlanConfig)

RECOVERY = (
    click.Option(
        ["--recover"],
        is_flag=True,
        default=False,
        help="Recover accuracy: equalize channels, search ranges, round weights to the layers' outputs, correct "
        "biases; each change stays only where the measured error falls.",
    ),
    option_of(QuantizeConfig, "recover"),
)
EXCLUDE_AFTER_RECOVERY = option_of(QuantizeConfig, "exclude_after_recovery")

OUTPUT = options_of(
    QuantizeConfig,
    "output",
    "weights",
    "form",
    "target",
    "cpu",
    "trt",
    "plugins",
    "float_type",
    "scale_type",
    "keep_io_types",
    "dry_run",
)
REPORT = option_of(QuantizeConfig, "report")

VERIFY = options_of(VerifyConfig)


def display(details: str) -> tuple[click.Option, ...]:
    """The options on how the result is shown; `details` says what -v adds."""
    return (
        click.Option(["--json"], is_flag=True, help="Print one JSON document on stdout."),
        click.Option(["-q", "--quiet"], is_flag=True, help="Print errors and warnings only."),
        click.Option(["-v", "--verbose"], is_flag=True, help=f"{details} Say how it was done, and what took how long."),
    )


DISPLAY = display("List every skip, target and group.")
