"""The source of the documentation site: every link leads somewhere, and each command has a page of all its options.

mkdocs itself is not needed for that; `make docs` runs it, strictly.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from posixpath import normpath

import click
import pytest

from bench.repository import relinked
from bench.site import write_site
from qdq_cli.commands.every import every_command

LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    write_site(folder, "")
    return folder


def pages(site: Path) -> dict[str, str]:
    found = (site / "pages").rglob("*.md")
    return {path.relative_to(site / "pages").as_posix(): path.read_text(encoding="utf-8") for path in found}


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The headings of a page as the site names them, and the anchors that are written in it."""
    heads = re.findall(r"^#+ (.*)$", without_code(re.sub(r"`([^`\n]*)`", r"\1", text)), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", re.sub(r"\\(.)", r"\1", head)).strip().lower() for head in heads)
    return {re.sub(r"[-\s]+", "-", head) for head in plain} | set(re.findall(r'<a id="([^"]+)"', text))


def test_every_link_of_every_page_leads_somewhere(site: Path):
    every, broken = pages(site), []
    for name, text in every.items():
        for target in LINK.findall(without_code(text)):
            path, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            found = normpath(f"{Path(name).parent.as_posix()}/{path}") if path else name
            if not (site / "pages" / found).is_file() or (anchor and anchor not in anchors(every.get(found, ""))):
                broken.append(f"{name}: {target}")
    assert broken == []


def test_every_page_is_in_the_contents_once(site: Path):
    def names(part: object) -> list[str]:
        if isinstance(part, str):
            return [part]
        inner = part.values() if isinstance(part, dict) else part
        return [name for each in inner for name in names(each)]  # type: ignore[attr-defined]

    listed = names(json.loads((site / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(listed) == sorted(pages(site))


@pytest.mark.parametrize("words", every_command())
def test_a_command_has_a_page_of_all_its_options(words: str, site: Path):
    command = every_command()[words]
    text = (site / "pages" / "commands" / f"{words.replace(' ', '-')}.md").read_text(encoding="utf-8")
    assert (command.help or "").splitlines()[0] in text.replace("\\", "")
    options = [param for param in command.params if isinstance(param, click.Option)]
    for option in options:
        assert option.opts[-1] in text
    assert text.count("\n| <code>") == len(options)
    assert f"qdq {words}" in (site / "pages" / "commands" / "index.md").read_text(encoding="utf-8")


def test_links_are_those_of_text_alone():
    text = "[a](docs/a.md) ![p](p.png) `[b](b.md)` [c](https://x.y/z) [d](#d) [e](e.py) [`g`](docs/a.md)\n"
    text += "```\n[f](f.md)\n```\n"
    new = {"docs/a.md": "a.md", "p.png": "pictures/p.png"}.get
    expected = (
        "[a](a.md) ![p](pictures/p.png) `[b](b.md)` [c](https://x.y/z) [d](#d) e [`g`](a.md)\n```\n[f](f.md)\n```\n"
    )
    assert relinked(text, "README.md", new) == expected
    assert relinked("[a](../docs/a.md#x)", "docs/b.md", new) == "[a](a.md#x)"
