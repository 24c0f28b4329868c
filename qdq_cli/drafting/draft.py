"""Settings of a model as the text of a file: what is known as values, what may be wanted as comments."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from calibrators.cache_file import write_atomically
from qdq_cli.config.init import InitConfig
from qdq_cli.config.settings import read_settings
from qdq_cli.data.inputs import InputSpec
from qdq_cli.data.shapes import shape_text
from qdq_cli.drafting.known import Known, look_at
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.errors import UsageError
from qdq_cli.process.printable import printable_line
from qdq_cli.process.writable import check_writable

_HEAD = """\
# What qdq reads in this folder. Keys are long options without their dashes; the command line wins over them.
# [defaults] is for every model, [models."MODEL"] for one, [models."MODEL".inspect] for one command.
"""


@dataclass(frozen=True)
class Draft:
    """Settings that were written for a model.

    Args:
        schema_version: Version of this document.
        model: Path of the model.
        output: The file they are in.
        inputs: Name, type and shape of each input.
        preprocess: The preprocessing written down; "" for none.
        reason: Why; "" where it was chosen.
        calib: Calibration data written down.
        added: Whether the file was there before.
        text: The table of the model.
    """

    schema_version: int
    model: str
    output: str
    inputs: tuple[str, ...]
    preprocess: str
    reason: str
    calib: tuple[str, ...]
    added: bool
    text: str


def draft_settings(
    config: InitConfig, complete: Callable[[InitConfig, Known], InitConfig] = lambda config, _known: config
) -> Draft:
    """Look at a model and write its settings, whole or not at all.

    Args:
        config: What was asked for.
        complete: Adds what somebody answers, where anybody can be asked; called once the model is known.

    Raises:
        UsageError: The file cannot be written, is there already, or is about the model already.
        ModelError: The model cannot be read.
    """
    _require_room(config)
    known = look_at(config.model)
    return _written(complete(config, known), known)


def _require_room(config: InitConfig) -> None:
    """Make sure that settings can be written, before anybody is asked anything.

    Raises:
        UsageError: The file cannot be written, is there already, or is about the model already.
    """
    check_writable(config.output, "the file of settings")
    if not config.output.exists():
        return
    if not config.add:
        raise UsageError(
            f"{config.output} is there already.", "--add adds a table for the model to it; -o names another file."
        )
    if _place(config.model, config) in read_settings(config.output).models:
        raise UsageError(f"{config.output} has a table for {config.model} already.", "Change it with an editor.")


def _written(config: InitConfig, known: Known) -> Draft:
    """Write the settings; what was answered may name a file, so room for it is looked for again."""
    _require_room(config)
    preprocess = config.preprocess or known.preprocess
    table = "\n".join(_lines(config, known, preprocess)) + "\n"
    before = config.output.read_text(encoding="utf-8").rstrip("\n") + "\n" if config.output.exists() else _HEAD
    write_atomically(config.output, f"{before}\n{table}".encode())
    return Draft(
        SCHEMA_VERSION,
        str(config.model),
        str(config.output),
        tuple(map(str, known.inputs)),
        preprocess,
        "" if config.preprocess else known.reason,
        tuple(map(str, config.calib or _found(known))),
        before != _HEAD,
        table,
    )


def _found(known: Known) -> tuple[Path, ...]:
    return () if known.calib is None else (known.calib,)


def _lines(config: InitConfig, known: Known, preprocess: str) -> Iterator[str]:
    model = _text(_place(config.model, config))
    yield f"[models.{model}]"
    for spec in known.inputs:
        yield f"# {printable_line(_input(spec))}"
    calib = config.calib or _found(known)
    places = ", ".join(_text(_place(path, config)) for path in calib)
    yield f"calib = [{places}]" if calib else '# calib = ["images"]  # a folder, an archive, a list, an .npz'
    if preprocess:
        why = "" if config.preprocess else f"  # {printable_line(known.reason)}"
        yield f"preprocess = {_text(preprocess)}{why}"
    if config.input_shape:
        yield f"input-shape = [{', '.join(map(_text, config.input_shape))}]"
    yield from (f"# input-shape = [{_text(_shape(spec))}]" for spec in known.open_inputs if not config.input_shape)
    yield f'trt = "{config.trt.value}"' if config.trt else '# trt = "11"  # the release that must read the result'
    cache = _text(f"{Path(_place(config.model, config)).stem}.qcal")
    yield f"# cache = {cache}  # what calibration saw: quantize again with it, without the data"
    yield _limit("min-sqnr", config.min_sqnr, "20", "dB; quantize and compare fail below it, tune reaches it")
    yield _limit("min-agreement", config.min_agreement, "98", "percent of the samples with the same best class")
    yield ""
    yield f"[models.{model}.inspect]"
    yield '# fail-on = ["E"]  # and min-int8-macs, max-standalone: limits of qdq inspect'


def _input(spec: InputSpec) -> str:
    return f"input {spec.name}: {spec.dtype.name} {shape_text(spec.shape)}"


def _limit(key: str, value: float | None, usual: str, meaning: str) -> str:
    return f"# {key} = {usual}  # {meaning}" if value is None else f"{key} = {value:g}"


def _shape(spec: InputSpec) -> str:
    """An example of a shape, with the sizes that are open left to fill in."""
    return f"{spec.name}:" + "x".join(str(dim) if isinstance(dim, int) else "?" for dim in spec.shape)


def _place(path: Path, config: InitConfig) -> str:
    """A path as the file says it: seen from its folder where that is near, with slashes on every system."""
    folder = Path(os.path.abspath(config.output)).parent  # noqa: PTH100 - links stay
    absolute = Path(os.path.abspath(path))  # noqa: PTH100
    if ":" in str(path) and not path.exists():  # module:function
        return str(path)
    return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else absolute.as_posix()


def _text(text: str) -> str:
    """Write a text as TOML does: JSON's way, and DEL escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
