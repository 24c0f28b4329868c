"""Write docs/schema from the records: one JSON Schema (draft 2020-12) for each document that a command prints.

The writer of documents is our own (`qdq_cli.process.documents`), and so is what its schema has to say: a number that is
not finite is null, an enum its value, a path a text. Types come from annotations, descriptions from docstrings.
`make golden` writes the files again.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from qdq_cli.building.engine import EngineReport
from qdq_cli.building.record import BuildReport
from qdq_cli.cache.drift import Difference
from qdq_cli.cache.exchange import RangeFile
from qdq_cli.cache.fit import Fit
from qdq_cli.cache.summary import CacheSummary
from qdq_cli.calibrating.calibrate import CalibrationReport
from qdq_cli.comparing.record import Comparison
from qdq_cli.converting.record import Conversion
from qdq_cli.drafting.draft import Draft
from qdq_cli.explaining.explain import Explanations
from qdq_cli.fixing.record import RepairReport
from qdq_cli.inspecting.record import Inspection
from qdq_cli.inspecting.record_on_cpu import CpuInspection
from qdq_cli.migrating.record import MigrationReport
from qdq_cli.process.documents import SCHEMA_VERSION
from qdq_cli.process.failures import ErrorDocument
from qdq_cli.quantizing.report import Report
from qdq_cli.sensitivity.record import SensitivityReport
from qdq_cli.tuning.record import TuneReport

FOLDER = Path(__file__).parents[1] / "docs" / "schema"

DOCUMENTS: dict[str, type] = {
    "quantize": Report,
    "inspect": Inspection,
    "build": BuildReport,
    "inspect-engine": EngineReport,
    "inspect-cpu": CpuInspection,
    "tune": TuneReport,
    "sensitivity": SensitivityReport,
    "compare": Comparison,
    "convert": Conversion,
    "fix": RepairReport,
    "migrate": MigrationReport,
    "calibrate": CalibrationReport,
    "cache-show": CacheSummary,
    "cache-diff": Difference,
    "cache-ranges": RangeFile,
    "cache-check": Fit,
    "init": Draft,
    "explain": Explanations,
    "error": ErrorDocument,
}
"""Name of a schema -> the record whose document it describes."""

_ENTRY = re.compile(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", re.MULTILINE)
"""A field in the section `Args` of a docstring; two may share a line."""

Schema = dict[str, Any]


def pages() -> dict[str, str]:
    """Return file name -> text of every schema."""
    return {f"{name}.json": json.dumps(schema_of(name, record), indent=2) + "\n" for name, record in DOCUMENTS.items()}


def schema_of(name: str, record: type) -> Schema:
    """Describe the document of a record; the records in it stand under `$defs` by their names."""
    inner = {each.__name__: each for each in _records(record)}
    found = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{name}.json",
        "title": f"qdq {name.replace('-', ' ')}, version {SCHEMA_VERSION}",
        **_object(record),
    }
    found["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    if record is ErrorDocument:
        others = [{"$ref": f"{other}.json"} for other in DOCUMENTS if other != name]
        found["properties"]["report"] = {**found["properties"]["report"], "anyOf": [*others, {"type": "null"}]}
    if inner:
        found["$defs"] = {key: _object(each) for key, each in sorted(inner.items())}
    return found


def _records(record: type) -> list[type]:
    """The records that the fields of a record hold, at any depth."""
    todo, found = [record], list[type]()
    while todo:
        for hint in get_type_hints(todo.pop()).values():
            new = [each for each in _leaves(hint) if dataclasses.is_dataclass(each) and each not in (*found, record)]
            found += new
            todo += new
    names = [each.__name__ for each in found]
    assert len(names) == len(set(names)), f"two records of {record.__name__} have one name: {names}"
    return found


def _leaves(hint: Any) -> Iterator[Any]:
    inner = get_args(hint)
    if not inner:
        yield hint
    for each in inner:
        yield from _leaves(each)


def _object(record: type) -> Schema:
    """Describe a record; every field is there in every document."""
    hints, said = get_type_hints(record), _descriptions(record)
    names = [item.name for item in dataclasses.fields(record)]
    return {
        "description": _summary(record),
        "type": "object",
        "properties": {name: {**_type(hints[name]), **_described(said.get(name))} for name in names},
        "required": names,
    }


def _described(text: str | None) -> Schema:
    return {} if text is None else {"description": text}


def _summary(record: type) -> str:
    return " ".join((inspect.getdoc(record) or "").partition("\n\n")[0].split())


def _descriptions(record: type) -> dict[str, str]:
    """Field -> what the docstring says of it."""
    _, _, section = (inspect.getdoc(record) or "").partition("Args:\n")
    found = _ENTRY.findall(section.partition("\n\n")[0])
    return {name: " ".join(text.split()) for names, text in found for name in names.split(", ")}


def _type(hint: Any) -> Schema:
    """Describe the values of a type as the writer writes them."""
    inner, origin = get_args(hint), get_origin(hint)
    if origin in (Union, UnionType):
        return _any([_type(each) for each in inner])
    if origin is tuple and inner[1:] != (...,):
        return {"type": "array", "prefixItems": [_type(each) for each in inner], "minItems": len(inner), "items": False}
    if origin in (tuple, list):
        return {"type": "array", "items": _type(inner[0])}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _type(inner[1])}
    if dataclasses.is_dataclass(hint):
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    return {"type": _PLAIN[hint]} if hint in _PLAIN else {}


_PLAIN: dict[type, Any] = {
    str: "string",
    Path: "string",
    bool: "boolean",
    int: "integer",
    float: ["number", "null"],
    NoneType: "null",
}
"""Type -> what JSON calls it; a float that is not finite is null."""


def _any(parts: list[Schema]) -> Schema:
    """Join the alternatives of a union: plain ones in one list of types."""
    plain = [part["type"] for part in parts if list(part) == ["type"]]
    types = list(dict.fromkeys(name for part in plain for name in (part if isinstance(part, list) else [part])))
    others = [part for part in parts if list(part) != ["type"]]
    if not others:
        return {"type": types if len(types) > 1 else types[0]}
    return {"anyOf": [*others, *({"type": name} for name in types)]}
