"""Where the models of a call lie while it runs: in files of their own if they come from memory, and never changed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import google.protobuf.message
import onnx
import onnx_ir as ir

from calibrators import CalibratorError
from qdq_cli.model import files
from qdq_cli.model.maps import from_proto
from qdq_cli.process.errors import DataError, ModelError, QdqError, UsageError

Record = TypeVar("Record")

_EXPECTED = "a path, bytes, an onnx.ModelProto, an onnx_ir.Model or a Result"


class Place:
    """A temporary folder of a call. It is there as long as the call's result is, and gone with it.

    Attributes:
        folder: The folder.
    """

    def __init__(self) -> None:
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="qdq-"))
        except OSError as error:
            raise ModelError(
                f"No folder can be made in {tempfile.gettempdir()}: {error.strerror}.", "Name another one in TMPDIR."
            ) from error
        self._others: list[Kept] = []  # their folders have to stay, and are named as little as this one
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def model(self, given: object, name: str = "model") -> Path:
        """Return the file of a model, which is written here where the model comes from memory.

        Args:
            given: The model.
            name: What errors call it: the parameter.

        Raises:
            UsageError: It is nothing that can be a model.
            ModelError: It cannot be written.
        """
        if isinstance(given, Kept):
            self._others.append(given)
            return given.path
        if isinstance(given, str | os.PathLike):
            return Path(os.fsdecode(given)) if os.fspath(given) else _no_model(given, name)
        path = self.folder / f"{name}.onnx"
        if isinstance(given, bytes | bytearray | memoryview):
            _write_bytes(path, given)
        elif isinstance(given, onnx.ModelProto):
            self._write_proto(path, given, name)
        elif isinstance(given, ir.Model):
            _write(path, given.clone())
        else:
            return _no_model(given, name)
        return path

    def _write_proto(self, path: Path, proto: onnx.ModelProto, name: str) -> None:
        """Write a protobuf, its weights beside it where one file cannot hold them."""
        outside = [each for each in proto.graph.initializer if each.data_location == onnx.TensorProto.EXTERNAL]
        if outside:
            file = next((entry.value for entry in outside[0].external_data if entry.key == "location"), "")
            raise ModelError(
                f"The {name} keeps the weight '{outside[0].name}' in the file '{file}', and does not say in which "
                "folder that is.",
                "Give the path of the model, or load it with onnx.load(path), which takes its weights in.",
            )
        try:
            content = proto.SerializeToString()
        except (ValueError, google.protobuf.message.EncodeError):  # more than protobuf writes into one piece
            _write(path, from_proto(proto))
        else:
            _write_bytes(path, content)

    def unnamed(self, text: str) -> str:
        """Take the names of such folders out of a text: nobody knows them."""
        for folder in (self.folder, *(other.path.parent for other in self._others)):
            text = text.replace(f"{folder}{os.sep}", "")
        return text

    def relabelled(self, record: Record) -> Record:
        """Return a record whose texts do not name the folder."""
        changes = {
            field.name: changed
            for field in dataclasses.fields(record)  # type: ignore[arg-type]
            if (changed := self._without_folder(found := getattr(record, field.name))) is not found
        }
        return dataclasses.replace(record, **changes) if changes else record  # type: ignore[type-var]

    def unsaved(self, record: Record) -> Record:
        """Return the record of a result that has no file of the caller's yet."""
        return self.relabelled(_without_output(record))

    def _without_folder(self, value: Any) -> Any:
        if isinstance(value, str):
            text = self.unnamed(value)
            return value if text == value else text
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self.relabelled(value)
        if isinstance(value, tuple) and all(isinstance(each, str) for each in value):
            texts = tuple(map(self.unnamed, value))
            return value if texts == value else texts
        return value

    @contextlib.contextmanager
    def speaking(self) -> Iterator[None]:
        """Let errors speak of keywords instead of options, and of nothing that lies in the folder.

        Raises:
            QdqError: What the block raises, so worded; errors of `calibrators` as a DataError.
        """
        try:
            yield
        except CalibratorError as error:
            raise DataError(self._worded(error.message), self._worded(error.hint)) from error
        except QdqError as error:
            error.message, error.hint = self._worded(error.message), self._worded(error.hint)
            error.said = tuple(map(self.unnamed, error.said))
            error.args = (error.message,)
            if dataclasses.is_dataclass(error.found) and not isinstance(error.found, type):
                error.found = self.relabelled(error.found)
                if hasattr(error, "report"):
                    error.report = error.found
            raise

    def _worded(self, text: str) -> str:
        return with_keywords(self.unnamed(text))


class Kept:
    """A model that a call made, in its folder.

    Attributes:
        path: The file.
    """

    path: Path


def _without_output(record: Record) -> Record:
    """Leave out where the result is, also in the report of a run within a run."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        if field.name == "output":
            changes[field.name] = None if "None" in str(field.type) else ""
        elif field.name == "quantize":
            changes[field.name] = _without_output(value)
    return dataclasses.replace(record, **changes)  # type: ignore[type-var]


def _no_model(given: object, name: str) -> Path:
    raise UsageError(f"{name} is {given!r:.60} ({type(given).__name__}); expected {_EXPECTED}.")


def _write_bytes(path: Path, content: bytes | bytearray | memoryview) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ModelError(
            f"The model cannot be written to {tempfile.gettempdir()}: {error.strerror}.",
            "Name a folder with room in TMPDIR, or give the path of a file.",
        ) from error


def _write(path: Path, model: ir.Model) -> None:
    with files.staged(model, path, external=False) as staged:
        staged.commit()


_OPTION = re.compile(r"(?<![\w-])--(?:no-)?([a-z][a-z0-9-]*)")
_COMMAND = re.compile(r"\bqdq [a-z]+")
_FIELD = re.compile(r"\b[A-Z][A-Za-z]*(?:Config|Overrides|Evaluation)\.([a-z_0-9]+)|\bEvaluation\.([a-z_]+)")
_KEYWORDS: Mapping[str, str] = {
    "range": "ranges", "manual": "ranges", "recover_step": "recover", "eval": "evaluate", "command": "evaluate",
    "VerifyConfig.samples": "verify",
}  # fmt: skip
"""Options and fields whose keyword is called otherwise."""


def with_keywords(text: str) -> str:
    """Write keywords for the options in a sentence, and for the fields of records; commands stay as they are."""
    if not _COMMAND.search(text):
        text = text.replace("--dry-run -v", "dry_run=True, whose result has them in its plan")
        text = _OPTION.sub(lambda match: _keyword(match[1].replace("-", "_")), text)
    return _FIELD.sub(lambda match: _KEYWORDS.get(match[0]) or _keyword(match[1] or match[2]), text)


def _keyword(name: str) -> str:
    return _KEYWORDS.get(name, name)
