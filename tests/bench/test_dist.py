"""What is built for the package index: addresses, the README as the index shows it, and what a wheel may hold.

Building fetches the build backend, so that is `make dist`; what it writes into sources and looks for is tested here.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from bench.dist import index_readme, problems_of, stage
from tests.workspace import REPOSITORY, environment

ADDRESS = "https://example.com/owner/qdq"


def test_what_is_built_has_addresses_and_absolute_links(tmp_path: Path):
    stage(tmp_path, ADDRESS)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["urls"]) == {"Homepage", "Documentation", "Repository", "Issues", "Changelog"}
    assert all(url.startswith(ADDRESS) for url in project["urls"].values())
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert problems_of(["qdq_cli/py.typed", "calibrators/py.typed", "qdq_cli/__main__.py"],
                       ["LICENSE", "README.md", "pyproject.toml"], readme) == []  # fmt: skip
    for place in re.findall(rf"\]\({ADDRESS}/(?:blob|raw)/v[\d.]+/([^)#]+)", readme):
        assert (REPOSITORY / place).exists(), place
    assert (tmp_path / "qdq_cli" / "py.typed").is_file()


def test_pictures_are_taken_raw():
    text = index_readme("![p](docs/p.png) [a](docs/a.md#b)", ADDRESS, "v1")
    assert text == f"![p]({ADDRESS}/raw/v1/docs/p.png) [a]({ADDRESS}/blob/v1/docs/a.md#b)"


def test_what_is_missing_or_too_much_is_named():
    found = problems_of(["qdq_cli/py.typed", "tests/a.py", "qdq-0.1.0.dist-info/METADATA"], ["LICENSE"], "[a](b.md)")
    assert found == [
        "the wheel lacks calibrators/py.typed", "the wheel lacks qdq_cli/__main__.py", "the wheel holds tests/a.py",
        "the sdist lacks README.md", "the sdist lacks pyproject.toml",
        "the README links b.md, which leads nowhere from the index",
    ]  # fmt: skip


def test_the_package_is_a_program(tmp_path: Path):
    line = [sys.executable, "-m", "qdq_cli", "--version"]
    done = subprocess.run(line, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("qdq ")


def test_the_classifiers_name_a_python_from_the_lowest_that_is_required():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    minors = [int(found) for found in re.findall(r"Python :: 3\.(\d+)", " ".join(project["classifiers"]))]
    assert minors == sorted(minors)
    assert project["requires-python"] == f">=3.{minors[0]}"
