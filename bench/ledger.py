"""What has been measured so far: a JSON file, read back so that an interrupted run goes on where it was."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.figures import Figure

SCHEMA_VERSION = 1
_PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "pillow")


@dataclass(frozen=True)
class Entry:
    """One cell of the table.

    Args:
        fingerprint: Digest of everything the figure depends on.
        figure: What was measured; None where it failed.
        failure: Why there is no figure.
        details: What else is worth knowing, such as the number of samples.
    """

    fingerprint: str
    figure: Figure | None = None
    failure: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def versions() -> dict[str, str]:
    """Versions of the packages that figures depend on."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


class Ledger:
    """Entries by model and column, in the order they were first recorded; every change is on disk at once."""

    def __init__(self, path: Path, limit: int | None) -> None:
        self.path = path
        self.limit = limit
        self.tasks: dict[str, str] = {}
        self.entries: dict[str, dict[str, Entry]] = {}
        if path.is_file():
            self._read(json.loads(path.read_text(encoding="utf-8")))

    def find(self, model: str, fingerprint: str) -> Entry | None:
        """Return the entry with a figure of this fingerprint, in whichever column of the model it is."""
        known = self.entries.get(model, {}).values()
        return next((entry for entry in known if entry.figure and entry.fingerprint == fingerprint), None)

    def select(self, models: Sequence[str], columns: Sequence[str]) -> dict[str, dict[str, Entry]]:
        """Return what is known of these models in these columns, in the order asked for."""
        return {
            model: {column: self.entries[model][column] for column in columns if column in self.entries[model]}
            for model in models
            if model in self.entries
        }

    def record(self, model: str, task: str, column: str, entry: Entry) -> None:
        """Put an entry in, in place of an older one, and write the file."""
        self.tasks[model] = task
        self.entries.setdefault(model, {})[column] = entry
        self.path.parent.mkdir(parents=True, exist_ok=True)
        staged = self.path.with_name(f"{self.path.name}.part")
        staged.write_text(self.text(self.entries), encoding="utf-8")
        staged.replace(self.path)

    def text(self, entries: Mapping[str, Mapping[str, Entry]]) -> str:
        """These entries as JSON: no paths, no dates."""
        models = [
            {
                "name": name,
                "task": self.tasks[name],
                "figures": {column: _as_json(entry) for column, entry in columns.items()},
            }
            for name, columns in entries.items()
        ]
        document = {"schema_version": SCHEMA_VERSION, "versions": versions(), "limit": self.limit, "models": models}
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def _read(self, document: dict[str, Any]) -> None:
        """Take over what was measured with as many test samples, in this version of the file."""
        if document.get("schema_version") != SCHEMA_VERSION or document.get("limit") != self.limit:
            return
        for model in document["models"]:
            self.tasks[model["name"]] = model["task"]
            self.entries[model["name"]] = {key: _from_json(value) for key, value in model["figures"].items()}


def _as_json(entry: Entry) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if entry.figure:
        ends = entry.figure.interval
        document = {
            "metric": entry.figure.metric,
            "value": entry.figure.value,
            "n": entry.figure.count,
            "interval_95": [round(end, 2) for end in ends] if ends else None,
        }
    if entry.failure:
        document["failure"] = entry.failure
    return {**document, **({"details": dict(entry.details)} if entry.details else {}), "fingerprint": entry.fingerprint}


def _from_json(document: dict[str, Any]) -> Entry:
    figure = None
    if "value" in document:
        ends = document["interval_95"]
        interval = (ends[0], ends[1]) if ends else None
        figure = Figure(document["metric"], document["value"], document["n"], interval)
    return Entry(document["fingerprint"], figure, document.get("failure", ""), document.get("details", {}))
