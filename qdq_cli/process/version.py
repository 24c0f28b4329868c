"""The version of this tool."""

from __future__ import annotations

import importlib.metadata


def tool_version() -> str:
    """Return the version of this tool."""
    try:
        return importlib.metadata.version("qdq")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that was not installed
        return "0+checkout"
