"""The lines that install what is missing are those of pyproject.toml."""

from __future__ import annotations

import shlex
import tomllib

import pytest

from qdq_cli.process.extras import EXTRAS, install_line
from tests.workspace import REPOSITORY


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_line_installs_what_the_extra_requires(extra: str):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = [requirement.partition(";")[0] for requirement in project["optional-dependencies"][extra]]
    assert shlex.split(install_line(extra)) == ["pip", "install", *required]
