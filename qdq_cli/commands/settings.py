"""qdq.toml as the defaults of options: the command line wins over it, and it over the program's own defaults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from qdq_cli.commands.paths import FILE_PATH, FilePath
from qdq_cli.config.settings import FILE_NAME, Setting, Settings, find_settings
from qdq_cli.screen import console
from qdq_cli.screen.sentences import did_you_mean

CONFIG = (
    click.Option(
        ["--config"],
        type=FILE_PATH,
        metavar="FILE",
        expose_value=False,
        help=f"Read the options of your models from this file. [default: {FILE_NAME} in the current folder]",
    ),
    click.Option(
        ["--no-config"], is_flag=True, expose_value=False, help=f"Read neither {FILE_NAME} nor a file like it."
    ),
)
"""The options that every command with options of its own has."""

_UNSET = ("help", "help_all", "config", "no_config", "json", "format_")
"""Parameters that only a command line can give."""

_WRITTEN = ("output", "report", "svg", "dot", "plot")
"""Parameters that name a file which is written: no two commands may write the same."""

_TAKEN = "qdq_cli.settings"
"""Under this name a context keeps which settings were taken."""


def take_settings(command: click.Command, ctx: click.Context, words: list[str]) -> None:
    """Make what qdq.toml says about the files of a command line the defaults of the command's options.

    Args:
        command: The command.
        ctx: Its context, before the words are parsed.
        words: The words behind the command.

    Raises:
        UsageError: Something in the file is wrong; file and line are named.
        click.UsageError: The words cannot be parsed.
    """
    given, _, _ = command.make_parser(ctx).parse_args(list(words))
    if given.get("no_config") or any(given.get(str(each.name)) for each in command.get_params(ctx) if each.is_eager):
        return
    named = given.get("config")
    settings = find_settings(None if named is None else Path(FILE_PATH.convert(named, None, ctx)))
    if settings is None:
        return
    path = ctx.command_path.partition(" ")[2]
    _check_keys(settings)
    _take_model(settings, command, ctx, given)
    files = [*_files(command, given), *filter(None, [(ctx.default_map or {}).get("model")])]
    taken: dict[str, Setting] = {}
    for setting in settings.for_files(files, path):
        param = _param_of(command, setting.key)
        if param is not None and not (param.name in _WRITTEN and not setting.command):
            ctx.default_map = {**(ctx.default_map or {}), str(param.name): _value(settings, setting, param, ctx)}
            taken[str(param.name)] = setting
    ctx.meta[_TAKEN] = (settings.path, taken)


def tell_settings(ctx: click.Context) -> None:
    """Say on stderr which options came from qdq.toml."""
    path, taken = ctx.meta.get(_TAKEN, (None, {}))
    from_file = ParameterSource.DEFAULT_MAP
    told = [f"{each.key} = {_shown(each.value)}" for name, each in taken.items() if _source(ctx, name) is from_file]
    if _source(ctx, "model") is from_file:
        told.insert(0, f"the model {ctx.params['model']}")
    if told:
        console.Console(quiet=bool(ctx.params.get("quiet"))).note(f"From {path}: {', '.join(told)}.")


def _source(ctx: click.Context, name: str) -> ParameterSource | None:
    return ctx.get_parameter_source(name)


def _take_model(settings: Settings, command: click.Command, ctx: click.Context, given: Mapping[str, Any]) -> None:
    """Take the model of the file where the command line names none and the file is about one."""
    first = next((param for param in command.params if isinstance(param, click.Argument)), None)
    if first is None or first.name != "model" or not _is_missing(given.get("model")) or len(settings.models) != 1:
        return
    (model,) = settings.models
    if (path := settings.folder / model).is_file():
        ctx.default_map = {"model": str(path)}


def _is_missing(value: object) -> bool:
    """Whether the parser found no word for an argument; what stands for that differs between versions of click."""
    return not isinstance(value, str)


def _files(command: click.Command, given: Mapping[str, Any]) -> Iterator[str]:
    """The files that the arguments of a command line name."""
    for param in command.params:
        if isinstance(param, click.Argument) and isinstance(param.type, FilePath):
            value = given.get(str(param.name))
            yield from (word for word in ([value] if isinstance(value, str) else _words(value)))


def _words(value: object) -> Iterable[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, tuple | list) else []


def _param_of(command: click.Command, key: str) -> click.Parameter | None:
    """The option that a key stands for: by a long name, or by what it means in other commands (calib, data)."""
    options = [param for param in command.params if isinstance(param, click.Option) and param.name not in _UNSET]
    named = (param for param in options if f"--{key}" in param.opts)
    return next(named, None) or next((param for param in options if param.name == key.replace("-", "_")), None)


def _check_keys(settings: Settings) -> None:
    """Make sure that each key is an option of its command, or of any where it stands for all.

    Raises:
        UsageError: One is not.
    """
    commands = _every_command()
    for table in settings.tables:
        for each in table.settings:
            if each.command and each.command not in commands:
                hint = did_you_mean(each.command, tuple(commands))
                if each.command == "onnx":  # a dot outside of quotation marks parts keys
                    hint = f'A file name stands in quotation marks: [models."{table.model}.onnx"].'
                raise settings.error(each.line, f"'{each.command}' is no command.", hint)
            asked = [commands[each.command]] if each.command else list(commands.values())
            found = [param for command in asked if (param := _param_of(command, each.key)) is not None]
            if not found:
                raise _unknown(settings, each, asked)
            if not each.command and all(param.name in _WRITTEN for param in found):
                name = f'[models."{table.model}".COMMAND]' if table.model else "[defaults.COMMAND]"
                hint = f"Write it below {name}, such as quantize for COMMAND."
                raise settings.error(each.line, f"'{each.key}' names a file, which only one command can write.", hint)


def _unknown(settings: Settings, setting: Setting, commands: list[click.Command]) -> Exception:
    keys = {name.removeprefix("--") for command in commands for param in command.params for name in param.opts}
    asked = f"no option of qdq {setting.command}" if setting.command else "no option of any command"
    if setting.key in ("json", "format"):
        hint = "How a result is shown is said on the command line."
    elif (positive := setting.key.removeprefix("no-")) in keys:
        hint = f"Write {positive} = false."
    else:
        hint = did_you_mean(setting.key, sorted(keys)) or "Keys are long options without their dashes."
    return settings.error(setting.line, f"'{setting.key}' is {asked}.", hint)


def _every_command() -> dict[str, click.Command]:
    """Every command by its words."""
    from qdq_cli.commands.every import every_command

    return every_command()


def _value(settings: Settings, setting: Setting, param: click.Parameter, ctx: click.Context) -> Any:
    """Return a setting as the option's default, after making sure that the option takes it.

    Raises:
        UsageError: It does not; file and line are named.
    """
    value = setting.value
    if isinstance(param, click.Option) and param.is_flag:
        if not isinstance(value, bool):
            raise settings.error(
                setting.line, f"{setting.key} is {_shown(value)}; expected true or false.", "Write it without quotes."
            )
        return value
    many = value if isinstance(value, list) else [value]
    if any(isinstance(each, bool | dict | list) or each is None for each in many):
        hint = f"See qdq {ctx.command_path.partition(' ')[2]} --help."
        raise settings.error(setting.line, f"{setting.key} is {_shown(value)}, which the option does not take.", hint)
    texts = [_rebased(settings, param, str(each)) for each in many]
    words: Any = texts if param.multiple else ",".join(texts)
    try:
        param.type_cast_value(ctx, words)
    except click.BadParameter as error:
        said = " ".join(error.message.split())
        said = said if said.endswith((".", "?")) else f"{said}."
        hint = f"See qdq {ctx.command_path.partition(' ')[2]} --help."
        raise settings.error(setting.line, f"{setting.key} is {_shown(value)}: {said}", hint) from None
    return words


def _rebased(settings: Settings, param: click.Parameter, text: str) -> str:
    """A path as seen from the current folder; what is none stays."""
    from qdq_cli.data.functions import is_function

    if settings.folder == Path() or not text:
        return text
    path = settings.folder / text
    if isinstance(param.type, FilePath):
        return text if is_function(Path(text)) else str(path)
    return str(path) if param.name == "preprocess" and path.is_file() else text


def _shown(value: object) -> str:
    """Write a value as TOML does."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"'
        case list():
            return f"[{', '.join(map(_shown, value))}]"
    return str(value)
