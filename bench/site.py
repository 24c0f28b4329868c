"""`python -m bench.site FOLDER`: the documentation as the source of a site, which mkdocs makes of it (`make docs`).

Pages are those of the repository, with links that lead to each other; what is no page is linked in the repository,
where its address is known. Each command has a page made of its own help.
"""

from __future__ import annotations

import argparse
import html
import inspect
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from bench.repository import ROOT, address, relinked
from qdq_cli.commands.every import every_command
from qdq_cli.commands.options import OptionCommand

HOME = "index.md"

PAGES = {
    "README.md": HOME,
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "sample_models/README.md": "sample-models.md",
}
"""Place of a page in the repository, outside of docs/ -> its name on the site."""

SECTIONS: dict[str, tuple[str, ...]] = {
    "Guides": (
        "calibration-data", "settings", "inspect", "compare", "recover", "tune", "calibration-cache", "convert",
        "float-types", "migrate", "build", "report", "pipelines", "python",
    ),
    "Reference": ("findings", "rules", "rule-cases", "json", "conformance"),
    "About": ("accuracy", "architecture"),
}  # fmt: skip
"""Part of the site -> pages of docs/ in it; those that are named nowhere come last in About."""


def write_site(folder: Path, repository: str) -> None:
    """Write mkdocs.yml and the folder `pages` beside it.

    Args:
        folder: Where; what is there is replaced.
        repository: Address of the repository; "" where it has none.
    """
    shutil.rmtree(folder, ignore_errors=True)
    targets = {**PAGES, **{f"docs/{name}": name for name in _kept()}}
    for place, name in targets.items():
        (folder / "pages" / name).parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith(".md"):
            shutil.copy2(ROOT / place, folder / "pages" / name)
            continue
        text = (ROOT / place).read_text(encoding="utf-8")
        (folder / "pages" / name).write_text(_page(text, (place, name), targets, repository), encoding="utf-8")
    for name, text in command_pages().items():
        (folder / "pages" / name).parent.mkdir(exist_ok=True)
        (folder / "pages" / name).write_text(text, encoding="utf-8")
    (folder / "pages" / "site.css").write_text(STYLE, encoding="utf-8")
    (folder / "mkdocs.yml").write_text(json.dumps(configuration(repository), indent=2), encoding="utf-8")  # is YAML too


def _kept() -> Iterator[str]:
    """The files of docs/, seen from there."""
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.suffix in (".md", ".svg", ".png", ".json"):
            yield path.relative_to(ROOT / "docs").as_posix()


def _page(text: str, page: tuple[str, str], targets: dict[str, str], repository: str) -> str:
    """A page of the repository as one of the site."""
    place, name = page

    def target(found: str) -> str | None:
        if (known := targets.get(found) or targets.get(f"{found}/README.md")) is not None:
            return Path(os.path.relpath(known, Path(name).parent)).as_posix()
        return f"{repository}/blob/main/{found}" if repository else None

    return relinked(text, place, target)


def command_pages() -> dict[str, str]:
    """Return name -> text of a page for each command, made of its help, and of a list of them."""
    pages = {f"commands/{words.replace(' ', '-')}.md": _command(words, each) for words, each in every_command().items()}
    rows = [
        f"| [`qdq {words}`]({words.replace(' ', '-')}.md) | {_cell((each.help or '').partition(chr(10))[0])} |"
        for words, each in every_command().items()
    ]
    head = "# Commands\n\nMade of the help of the program: `qdq COMMAND --help`.\n\n| command | |\n| --- | --- |\n"
    return {"commands/index.md": head + "\n".join(rows) + "\n", **pages}


def _command(words: str, command: click.Command) -> str:
    ctx = click.Context(command, info_name=f"qdq {words}", help_option_names=["-h", "--help"])
    usage = " ".join(["qdq", words, *command.collect_usage_pieces(ctx)])
    lines = [f"# qdq {words}", "", "```text", usage, "```", ""]
    for block in inspect.cleandoc(command.help or "").split("\n\n"):
        lines += _block(block)
    for title, options in (command.sections if isinstance(command, OptionCommand) else {}).items():
        lines += [f"## {title}", "", "| option | |", "| --- | --- |"]
        for option in options:
            if (record := option.get_help_record(ctx)) is not None:
                lines.append(f"| <code>{_code(record[0])}</code> | {_cell(record[1])} |")
        lines.append("")
    return "\n".join(lines)


def _block(block: str) -> list[str]:
    """A paragraph of the help; what click leaves as it is written, becomes code."""
    if not block.startswith("\b"):
        return [_prose(" ".join(block.split())), ""]
    title, _, rest = block.removeprefix("\b\n").partition("\n")
    if not title.endswith(":"):
        return ["```text", title, rest, "```", ""]
    return [f"**{title.removesuffix(':')}**", "", "```bash", inspect.cleandoc(rest), "```", ""]


def _code(text: str) -> str:
    """Write the names of an option in HTML: a table would take the bars between choices for its own."""
    return html.escape(text).replace("|", "&#124;")


def _cell(text: str) -> str:
    return _prose(" ".join(text.split())).replace("|", "\\|")


def _prose(text: str) -> str:
    """Write a sentence in Markdown; options and what is between brackets are no markup."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([\[\]<>*_{}])", r"\\\1", part) for part in parts)


def navigation() -> list[object]:
    """Return the contents of the site."""
    named = {name for names in SECTIONS.values() for name in names}
    rest = [
        Path(name).stem for name in _kept() if name.endswith(".md") and "/" not in name and Path(name).stem not in named
    ]
    guides, reference, about = ([f"{name}.md" for name in names] for names in SECTIONS.values())
    commands = ["commands/index.md", *(name for name in command_pages() if name != "commands/index.md")]
    api = [
        "api/README.md",
        *sorted(name for name in _kept() if name.startswith("api/") and not name.endswith("README.md")),
    ]
    decisions = sorted(name for name in _kept() if name.startswith("decisions/"))
    decisions = ["decisions/README.md", *(name for name in decisions if not name.endswith("README.md"))]
    others = [*about, *(f"{name}.md" for name in rest), *(name for name in PAGES.values() if name != HOME)]
    return [
        {"qdq": HOME}, {"Guides": guides}, {"Commands": commands}, {"Reference": [*reference, {"Python API": api}]},
        {"About": [*others, {"Decisions": decisions}]},
    ]  # fmt: skip


def configuration(repository: str) -> dict[str, object]:
    """Return what mkdocs.yml says."""
    palette = [
        {"media": "(prefers-color-scheme)", "toggle": {"icon": "material/brightness-auto", "name": "Light"}},
        {"media": "(prefers-color-scheme: light)", "scheme": "default", "primary": "custom", "accent": "green",
         "toggle": {"icon": "material/brightness-7", "name": "Dark"}},
        {"media": "(prefers-color-scheme: dark)", "scheme": "slate", "primary": "custom", "accent": "green",
         "toggle": {"icon": "material/brightness-4", "name": "As the system"}},
    ]  # fmt: skip
    features = [
        "navigation.tabs",
        "navigation.top",
        "navigation.footer",
        "content.code.copy",
        "search.highlight",
        "toc.follow",
    ]
    theme = {"name": "material", "font": False, "palette": palette, "features": features}
    return {
        "site_name": "qdq",
        "site_description": "Post-training quantization of ONNX models for TensorRT, on a CPU",
        **({"repo_url": repository} if repository else {}),
        "docs_dir": "pages",
        "site_dir": "html",
        "use_directory_urls": False,
        "theme": {**theme, "icon": {"logo": "material/layers-triple"}},
        "extra_css": ["site.css"],
        "plugins": ["search"],
        "markdown_extensions": ["tables", {"toc": {"permalink": True}}, "pymdownx.superfences", "pymdownx.highlight"],
        "validation": {"links": {"not_found": "warn", "anchors": "warn", "unrecognized_links": "warn"}},
        "nav": navigation(),
    }


STYLE = """\
/* No row of a table is wider than the page: long names break, wide tables scroll. */
:root { --md-primary-fg-color: #1b5e3f; --md-primary-bg-color: #fff; }
[data-md-color-scheme="slate"] { --md-primary-fg-color: #12402b; }
.md-grid { max-width: 76rem; }
.md-typeset table:not([class]) { font-size: .7rem; }
.md-typeset table:not([class]) td { overflow-wrap: anywhere; min-width: 5rem; }
.md-typeset table:not([class]) td:first-child { overflow-wrap: normal; min-width: 9rem; }
.md-typeset table:not([class]) td:first-child code { white-space: normal; }
"""


def main() -> None:
    """Write the source of the site."""
    parser = argparse.ArgumentParser(prog="python -m bench.site", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repository", default="", metavar="URL", help="where the repository can be read")
    chosen = parser.parse_args()
    write_site(chosen.folder, (chosen.repository or address()).rstrip("/"))


if __name__ == "__main__":
    main()
