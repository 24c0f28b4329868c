"""Print constraints for pip that hold every dependency in pyproject.toml at the lowest version it allows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

EXTRAS = ("fast", "test")


def main() -> None:
    """Print one line a dependency: its name and the version behind `>=`."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (line for extra in EXTRAS for line in project["optional-dependencies"][extra])
    for line in dict.fromkeys((*project["dependencies"], *extras)):
        found = re.match(r"([\w.-]+)>=([\w.]+)", line)
        if found is None:
            raise SystemExit(f"pyproject.toml gives no lowest version in '{line}'.")
        print(f"{found[1]}=={found[2]}")  # noqa: T201


if __name__ == "__main__":
    main()
