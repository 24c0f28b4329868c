"""Ranges given by hand, read from a file: `{tensor: amax}` as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from qdq_cli.errors import DataError

_EXAMPLE = 'Write {"conv1_out": 6.0, "fc": 2.5}: the name of a tensor, and the largest absolute value to keep.'


def read_ranges(path: Path) -> dict[str, float]:
    """Read a JSON object of tensor name -> amax (the tensor's units, above 0).

    Raises:
        DataError: The file cannot be read, or holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"The ranges file {path} cannot be read: {error.strerror}.", "Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"The ranges file {path} is not JSON: {error}.", _EXAMPLE) from error
    if not isinstance(document, dict):
        raise DataError(f"The ranges file {path} holds no object of tensor names.", _EXAMPLE)
    for name, amax in document.items():
        if isinstance(amax, bool) or not isinstance(amax, (int, float)) or not 0 < amax <= sys.float_info.max:
            raise DataError(f"The range of '{name}' in {path} is {amax!r}; expected a number above 0.", _EXAMPLE)
    return {name: float(amax) for name, amax in document.items()}
