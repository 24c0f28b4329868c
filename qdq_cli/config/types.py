"""Types of single operators: what `--type-of` says, and files of such lines."""

from __future__ import annotations

from pathlib import Path

from qdq_cli.config.forms import QuantType
from qdq_cli.process.errors import UsageError
from qdq_cli.screen.sentences import any_of, did_you_mean

LARGEST_FILE = 1_000_000
"""Bytes; a file of types has a line an operator at most."""

TYPES = tuple(kind.value for kind in (QuantType.INT8, QuantType.FP8, QuantType.INT8_WEIGHTS, QuantType.INT4_WEIGHTS))
"""Types that can be measured: those that ONNX Runtime's CPU computes as they are written."""

_NAMES = tuple(kind.value for kind in QuantType)


def named_types(given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in texts that hold one or several with commas, each once.

    Raises:
        UsageError: One is no type that can be measured.
    """
    words = tuple(word.strip() for text in given for word in text.split(","))
    for word in words:
        if word not in TYPES:
            raise UsageError(
                f"--types '{word}' is no type that can be measured on a CPU: take {any_of(TYPES)}.",
                did_you_mean(word, TYPES),
            )
    return tuple(dict.fromkeys(words))


def kinds_named(names: tuple[str, ...]) -> tuple[QuantType, ...]:
    """Return the types of some names, in the order of `TYPES`."""
    return tuple(QuantType(name) for name in TYPES if name in names)


def lines_of(given: tuple[str, ...]) -> tuple[str, ...]:
    """Return `GLOB=TYPE` texts as they are, and the lines of files in the place of their paths.

    A line of a file is such a text; empty lines and those that begin with # say nothing.

    Raises:
        UsageError: A text is neither, or a file cannot be read.
    """
    found: list[str] = []
    for text in given:
        found += [text] if "=" in text else _file_lines(text)
    for text in found:
        rule_of(text)
    return tuple(found)


def rule_of(text: str) -> tuple[str, QuantType]:
    """Parse `GLOB=TYPE`, split at the last `=`: names may hold any character.

    Raises:
        UsageError: It is something else, or there is no such type.
    """
    pattern, _, name = (part.strip() for part in text.rpartition("="))
    if not pattern or name not in _NAMES:
        near = did_you_mean(name, _NAMES) if pattern else ""
        raise UsageError(
            f"--type-of '{text}' is no GLOB=TYPE, such as '/head/*=fp8'; the types are {any_of(_NAMES)}.", near
        )
    return pattern, QuantType(name)


def _file_lines(path: str) -> list[str]:
    """Return the lines of a file that say something.

    Raises:
        UsageError: It is not there, is no text, or is far too large.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--type-of '{path}' is neither GLOB=TYPE nor a text file that can be read.",
            "Write '/head/*=fp8', or a file of such lines.",
        ) from error
    if len(data) > LARGEST_FILE:
        raise UsageError(f"--type-of '{path}' has more than {LARGEST_FILE} bytes.", "A file has a line an operator.")
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
