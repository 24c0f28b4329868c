"""Preprocessing as text: the user's JSON or TOML file, constants of the command line, the canonical JSON."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from calibrators.regular_file import open_regular
from qdq_cli.config.preprocess import CHOICES, PRESETS, Constants, Overrides, Preprocessing
from qdq_cli.data.foreign_preprocessing import translated
from qdq_cli.data.inputs import near_names
from qdq_cli.process.errors import UsageError

_FOREIGN = {
    "size": "The size comes from the model's input, or from --input-shape.",
    "input": "A model that takes images has one input, so it needs no name.",
    "image_mean": "Here it is called mean.",
    "image_std": "Here it is called std.",
    "rescale_factor": "Here it is called scale.",
    "crop_pct": "Here it is called crop.",
    "resample": "Here it is called interpolation.",
    "base": "Here it is called preset.",
}
"""Keys of other programs' files -> what to say about them."""

LARGEST_FILE = 8192
"""Bytes; reading a dotted key of TOML takes time and memory that grow with the square of its length."""

_ONLY_WITH = {"crop": "crop", "shorter": "crop", "fill": "pad", "position": "pad"}
"""Key -> the resize mode it belongs to."""


def find_preprocessing(choice: str) -> Preprocessing:
    """Find what `--preprocess` names: a preset, or else a .json or .toml file.

    Raises:
        UsageError: Neither, or the file does not say a preprocessing.
    """
    if choice in PRESETS:
        return PRESETS[choice]
    path = Path(choice)
    if path.suffix.lower() not in (".json", ".toml"):
        raise UsageError(
            f"--preprocess '{choice}' is no preset, and no .json or .toml file.", near_names(choice, tuple(PRESETS))
        )
    return load_preprocessing(path)


def load_preprocessing(path: Path) -> Preprocessing:
    """Read a preprocessing file: an object whose keys are the fields of `Overrides`, on top of an optional "preset".

    A constant is a number, a text such as "1/255", or a list of one or three of them. Without a preset, everything that
    is left out is neutral (0..255, stretched). Files of transformers, timm and torchvision are read as such.

    Raises:
        UsageError: The file cannot be read, an unknown or repeated key, a value of the wrong type or outside its range.
    """
    try:
        return _from_document(_read(path), path.name)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from error


def to_json(preprocessing: Preprocessing) -> str:
    """Write all fields but `assumed` as canonical JSON: equal records give equal text. `from_json` reads it back."""
    document = {f.name: getattr(preprocessing, f.name) for f in fields(preprocessing) if f.compare}
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> Preprocessing:
    """Read what `to_json` wrote.

    Raises:
        UsageError: The text is not such a document.
    """
    document = _parse_json(text)
    if not isinstance(document, dict) or not isinstance(name := document.pop("name", None), str):
        raise UsageError("The preprocessing text is not an object with a name.")
    if document.get("shorter", 0) is None:
        del document["shorter"]
    return replace(Preprocessing(), name=name, **_overrides(document).given())


def _read(path: Path) -> object:
    try:
        with open_regular(path) as file:
            data = file.read(LARGEST_FILE + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"The preprocessing file cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError("The preprocessing file is not UTF-8 text.") from error
    if len(data) > LARGEST_FILE:
        raise UsageError(
            f"The preprocessing file has more than {LARGEST_FILE:,} bytes; a few lines are enough.",
            'E.g. {"scale": "1/255", "color": "bgr"}.',
        )
    return _parse_json(text) if path.suffix.lower() == ".json" else _parse_toml(text)


def _parse_json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The preprocessing is not valid JSON: {error}.") from error


def _parse_toml(text: str) -> object:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"The preprocessing is not valid TOML: {error}.") from error


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a key is there twice")
    return document


def _from_document(document: object, name: str) -> Preprocessing:
    if not isinstance(document, dict):
        raise UsageError("The preprocessing is not an object with keys.", 'E.g. {"scale": "1/255", "color": "bgr"}.')
    document = document if (foreign := translated(document)) is None else foreign
    preset = document.pop("preset", None)
    if preset is not None and str(preset) not in PRESETS:
        raise UsageError(f"Preprocessing preset is {preset!r}.", near_names(str(preset), tuple(PRESETS)))
    changes = _overrides(document)
    result = replace((PRESETS[preset] if preset else Preprocessing()).override(changes), name=name)
    for key, mode in _ONLY_WITH.items():
        if key in document and result.resize != mode:
            raise UsageError(
                f"Preprocessing {key} is given, but resize is {result.resize}.", f'It needs resize "{mode}".'
            )
    return result


def _overrides(document: dict[str, Any]) -> Overrides:
    for key in document:
        if key not in _READERS:
            hint = _FOREIGN.get(key) or near_names(key, ("preset", *_READERS))
            raise UsageError(f"Preprocessing has no key {key!r}.", hint)
    return Overrides(**{key: _READERS[key](key, value) for key, value in document.items()})


def _constants(key: str, value: object) -> Constants:
    values = value if isinstance(value, list) else [value]
    return tuple(_number(key, each) for each in values)


def _number(key: str, value: object) -> float:
    """Read a number or a text "A/B"; bool is no number here, although it is one in Python."""
    try:
        if isinstance(value, str):
            top, slash, bottom = value.partition("/")
            return float(top) / float(bottom) if slash else float(top)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    except (ValueError, ZeroDivisionError, OverflowError):
        pass
    raise UsageError(f"Preprocessing {key} is {value!r}; expected a number.", 'A fraction may be written as "1/255".')


def _whole(key: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise UsageError(f"Preprocessing {key} is {value!r}; expected a whole number.")


def _word(key: str, value: object) -> str:
    if isinstance(value, str) and value.lower() in CHOICES[key]:
        return value.lower()
    hint = near_names(value.lower(), CHOICES[key]) if isinstance(value, str) else ""
    raise UsageError(f"Preprocessing {key} is {value!r}; expected {' or '.join(CHOICES[key])}.", hint)


_READERS: dict[str, Callable[[str, object], Any]] = {
    **dict.fromkeys(("scale", "mean", "std", "fill"), _constants),
    **dict.fromkeys(CHOICES, _word),
    "crop": _number,
    "shorter": _whole,
}
"""Key of a file -> what reads its value; the keys are the fields of `Overrides`."""
