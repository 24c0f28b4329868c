"""The API reference in docs/api is what the docstrings say, and nothing public is missing in it."""

from __future__ import annotations

import re

import pytest

import calibrators
import qdq_cli
from bench.reference import REPOSITORY, markdown, pages

PAGES = pages()


def test_the_pages_are_those_of_the_docstrings(request: pytest.FixtureRequest):
    folder = REPOSITORY / "docs" / "api"
    for name, text in PAGES.items():
        if request.config.getoption("--update-golden"):
            folder.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        found = (folder / name).read_text(encoding="utf-8")
        assert found == text, f"docs/api/{name} differs; `make golden` rewrites it, review the diff"
    assert {path.name for path in folder.iterdir()} == set(PAGES)


@pytest.mark.parametrize("package", [calibrators, qdq_cli])
def test_everything_exported_is_there(package):
    page = PAGES[f"{package.__name__}.md"]
    assert set(re.findall(r"^## `(\w+)`$", page, flags=re.MULTILINE)) == set(package.__all__)


def test_links_of_the_index_lead_somewhere():
    links = re.findall(r"\((\w+\.md)(?:#([\w.]+))?\)", PAGES["README.md"])
    assert len(links) > 100
    assert [link for link in links if link[1] and f'<a id="{link[1]}"></a>' not in PAGES[link[0]]] == []


def test_anchors_are_unique():
    for page in PAGES.values():
        anchors = re.findall(r'<a id="([^"]+)"></a>', page)
        assert len(anchors) == len(set(anchors))


def test_a_docstring_becomes_lists():
    text = "Do it.\n\nArgs:\n    x: A number,\n        above 0.\n\nRaises:\n    ValueError: Not so.\n\nSource: a paper."
    assert "\n".join(markdown(text)) == (
        "Do it.\n\n**Args:**\n\n- `x`: A number,\n  above 0.\n\n"
        "**Raises:**\n\n- `ValueError`: Not so.\n\n**Source:** a paper."
    )
