"""Frozen records as JSON documents: the keys are the field names."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
"""Version of every document that is printed with `--json`; its first key."""


def as_json(record: Any) -> Any:
    """Turn a record into what `json.dumps` writes; numbers JSON cannot hold (NaN, Inf) become null."""
    match record:
        case Mapping():
            return {str(key): as_json(value) for key, value in record.items()}
        case tuple() | list():
            return [as_json(value) for value in record]
        case Enum():
            return record.value
        case Path():
            return str(record)
        case float():
            return record if math.isfinite(record) else None
    if dataclasses.is_dataclass(record):
        return {item.name: as_json(getattr(record, item.name)) for item in dataclasses.fields(record)}
    return record
