"""Write docs/api from the docstrings: every name of `calibrators` and `qdq_cli`, and the records that reports hold.

Source is read, not imported, so that defaults stand as they are written. `make golden` writes the pages again.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Source):(.*)$")
ENTRY = re.compile(r"^    (\*{0,2}\w+): (.*)$")

Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Thing:
    """What a public name stands for.

    Args:
        name: The name.
        module: Where it is defined.
        node: Its definition.
        text: Its docstring.
    """

    name: str
    module: str
    node: Definition
    text: str


@functools.cache
def parsed(module: str) -> ast.Module:
    """Read a module's source."""
    place = REPOSITORY.joinpath(*module.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def exported(package: str) -> list[str]:
    """Return what `__all__` of a package names."""
    for node in parsed(package).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    raise LookupError(f"{package} has no __all__")


def find(module: str, name: str) -> Thing | None:
    """Find the definition that a name of a module leads to; None where it comes from another project."""
    body = parsed(module).body
    for place, node in enumerate(body):
        if name in _names(node):
            behind = body[place + 1] if place + 1 < len(body) else None
            return Thing(name, module, node, _docstring(node, behind))  # type: ignore[arg-type]
    for node in ast.walk(parsed(module)):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and name in (alias.asname or alias.name for alias in node.names)
        ):
            return find(node.module, name) if node.module.startswith(("calibrators", "qdq_cli")) else None
    return None


def _names(node: ast.stmt) -> tuple[str, ...]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        forms = any(isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list)
        return () if forms else (node.name,)  # what does the work stands behind its forms
    if isinstance(node, ast.Assign):
        return tuple(target.id for target in node.targets if isinstance(target, ast.Name))
    return (node.target.id,) if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else ()


def _docstring(node: ast.stmt, behind: ast.stmt | None) -> str:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return ast.get_docstring(node) or ""
    text = behind.value if isinstance(behind, ast.Expr) else None
    return str(text.value) if isinstance(text, ast.Constant) and isinstance(text.value, str) else ""


def reachable(things: Iterable[Thing]) -> list[Thing]:
    """Return the records and enums that the fields of others name, in the order in which they are met."""
    todo, found = list(things), dict[tuple[str, str], Thing]()
    known = {(thing.module, thing.name) for thing in todo}
    while todo:
        thing = todo.pop(0)
        for name in dict.fromkeys(_annotated(thing)):
            inner = find(thing.module, name)
            if inner is None or not isinstance(inner.node, ast.ClassDef) or (inner.module, name) in known:
                continue
            known.add((inner.module, name))
            found[inner.module, name] = inner
            todo.append(inner)
    return list(found.values())


def _annotated(thing: Thing) -> Iterator[str]:
    """Names in the annotations of a class's fields, of its bases, and of the keywords that a function takes."""
    if isinstance(thing.node, ast.ClassDef):
        annotations = [item.annotation for item in thing.node.body if isinstance(item, ast.AnnAssign)]
        bases = thing.node.bases if thing.name.endswith("Keywords") else []
        yield from _names_in(*annotations, *bases)
    elif isinstance(thing.node, ast.FunctionDef) and thing.node.args.kwarg is not None:
        yield from _names_in(*filter(None, [thing.node.args.kwarg.annotation]))


def _names_in(*expressions: ast.expr) -> Iterator[str]:
    return (node.id for each in expressions for node in ast.walk(each) if isinstance(node, ast.Name))


def pages() -> dict[str, str]:
    """Return file name -> text of every page in docs/api."""
    library, program = _things("calibrators"), _things("qdq_cli")
    records = [thing for thing in reachable(program) if thing.module.startswith("qdq_cli")]
    inside = "What the fields of reports and configurations hold, and so the `--json` documents."
    groups = (
        ("calibrators", ast.get_docstring(parsed("calibrators")) or "", library),
        ("qdq_cli", ast.get_docstring(parsed("qdq_cli")) or "", program),
        ("records", inside, records),
    )
    index = ["# API reference", "", "Written from the docstrings; `make golden` writes it again.", ""]
    found: dict[str, str] = {}
    for title, about, things in groups:
        file = f"{title}.md"
        index += [f"## [{title}]({file})", "", about.partition("\n\n")[0], "", *_table(file, things), ""]
        lines = [f"# {title}", "", about]
        for thing in things:
            lines += ["", *_entry(thing)]
        found[file] = "\n".join(lines) + "\n"
    return {"README.md": "\n".join(index).rstrip() + "\n", **found}


def _things(package: str) -> list[Thing]:
    found = (find(package, name) for name in exported(package))
    things = [thing for thing in found if thing is not None]
    return sorted(things, key=lambda thing: (_kind(thing), thing.name.lower()))


def _kind(thing: Thing) -> int:
    """Functions first, then classes, errors, constants."""
    if isinstance(thing.node, ast.FunctionDef):
        return 0
    if isinstance(thing.node, ast.ClassDef):
        return 2 if thing.name.endswith("Error") else 1
    return 3


def anchor(thing: Thing) -> str:
    """Where a name stands on its page; records of several rooms have one name."""
    package = thing.module.partition(".")[0]
    return (thing.name if thing.name in exported(package) else f"{thing.module}.{thing.name}").lower()


def _table(file: str, things: Iterable[Thing]) -> list[str]:
    rows = [f"| [`{thing.name}`]({file}#{anchor(thing)}) | {_first(thing.text)} |" for thing in things]
    return ["| name | |", "| --- | --- |", *rows]


def _first(text: str) -> str:
    """The first sentence of a docstring, as a cell."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return (paragraph.partition(". ")[0].rstrip(".") + ".").replace("|", "\\|") if paragraph else ""


def _entry(thing: Thing) -> list[str]:
    node = thing.node
    lines = [f'<a id="{anchor(thing)}"></a>', "", f"## `{thing.name}`", "", "```python"]
    lines += [f"from {_importable(thing)} import {thing.name}", "", *_signature(thing), "```", ""]
    lines += markdown(thing.text)
    if isinstance(node, ast.ClassDef):
        lines += _members(node)
    return lines


def _importable(thing: Thing) -> str:
    package = thing.module.partition(".")[0]
    return package if thing.name in exported(package) else thing.module


def _signature(thing: Thing) -> list[str]:
    node = thing.node
    if isinstance(node, ast.FunctionDef):
        return _function(node)
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, node.bases))
        head = f"class {node.name}({bases}):" if bases else f"class {node.name}:"
        fields = [f"    {line}" for item in node.body for line in _field(item, thing.module)]
        return [head, *(fields or ["    ..."])]
    return [ast.unparse(node)]


def _field(item: ast.stmt, module: str) -> list[str]:
    """A field of a record, a member of an enum, or what makes a class."""
    if isinstance(item, ast.AnnAssign | ast.Assign) and not _names(item)[0].startswith("_"):
        default = default_of(item.value, module) if isinstance(item, ast.AnnAssign) and item.value else item.value
        return [ast.unparse(ast.copy_location(_with_value(item, default), item))]
    return _function(item) if isinstance(item, ast.FunctionDef) and item.name == "__init__" else []


def _with_value(item: ast.AnnAssign | ast.Assign, value: ast.expr | None) -> ast.stmt:
    if isinstance(item, ast.AnnAssign):
        return ast.AnnAssign(item.target, item.annotation, value, item.simple)
    return item


def default_of(value: ast.expr, module: str) -> ast.expr | None:
    """Return the default that a field of a record declares, alone or beside what it says of itself.

    Args:
        value: What the field is set to in the source.
        module: Where that stands.

    Returns:
        None where a value has to be given.
    """
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Name):
        return value
    if value.func.id in ("option", "ruled"):
        return _made(value.args[0])
    if value.func.id == "field":
        given = {keyword.arg: keyword.value for keyword in value.keywords}
        return given["default"] if "default" in given else _made(given["default_factory"])
    declaring = find(module, value.func.id)
    returned = declaring.node.body[-1] if declaring and isinstance(declaring.node, ast.FunctionDef) else None
    if declaring is None or not isinstance(returned, ast.Return) or returned.value is None:
        return value
    return default_of(returned.value, declaring.module)


def _made(value: ast.expr) -> ast.expr | None:
    """What a default is that may be a function that makes it; its name is no constant's then."""
    if isinstance(value, ast.Lambda):
        return value.body
    if not isinstance(value, ast.Name) or value.id.isupper():
        return None if isinstance(value, ast.Name) and value.id == "REQUIRED" else value
    return ast.Call(value, [], [])


def _function(node: ast.FunctionDef) -> list[str]:
    """A function's head: on one line, or an argument a line."""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"def {node.name}({', '.join(_arguments(node.args))}){returns}"
    if len(line) <= 100:
        return [line]
    return [f"def {node.name}(", *(f"    {part}," for part in _arguments(node.args)), f"){returns}"]


def _arguments(arguments: ast.arguments) -> Iterator[str]:
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(arguments.defaults)), *arguments.defaults]
    yield from (_argument(*pair) for pair in zip(plain, defaults, strict=True))
    if arguments.vararg:
        yield f"*{ast.unparse(arguments.vararg)}"
    elif arguments.kwonlyargs:
        yield "*"
    yield from (_argument(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    if arguments.kwarg:
        yield f"**{ast.unparse(arguments.kwarg)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + ("" if default is None else f" = {ast.unparse(default)}")


def _members(node: ast.ClassDef) -> list[str]:
    """The public methods and properties, and the texts of an enum's members."""
    lines: list[str] = []
    for item, behind in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
            lines += [
                "",
                f"### `{node.name}.{item.name}`",
                "",
                "```python",
                *_decorators(item),
                *_function(item),
                "```",
                "",
            ]
            lines += markdown(ast.get_docstring(item) or "")
        elif isinstance(item, ast.Assign) and (text := _docstring(item, behind)):
            lines += ["", f"- `{_names(item)[0]}`: {' '.join(text.split())}"]
    return lines


def _decorators(node: ast.FunctionDef) -> list[str]:
    return [f"@{ast.unparse(found)}" for found in node.decorator_list]


def markdown(text: str) -> list[str]:
    """Turn a docstring into Markdown: arguments and errors become lists, examples code."""
    lines: list[str] = []
    section = ""
    for line in text.splitlines():
        if found := SECTION.match(line):
            section, rest = found[1], found[2].strip()
            lines += [f"**{section}:** {rest}".rstrip(), *([""] if section in ("Args", "Raises") else [])]
        elif section in ("Args", "Raises") and (entry := ENTRY.match(line)):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif section and line.strip():
            lines.append(("  " if section in ("Args", "Raises") else "") + line.strip())
        else:
            section = "" if not section or line.startswith(" ") or not line else section
            lines.append(line.rstrip())
    return lines


def main() -> None:
    """Write the pages."""
    folder = REPOSITORY / "docs" / "api"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
