"""The order of the rooms: every arrow points down, those inside functions and those for type checkers too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_promises import FILES, imports, place

ROOMS = (
    "main",  # the package itself, its entry point and what it exports
    "commands",
    "calls",
    "explaining",
    "tuning",
    "sensitivity",
    "migrating",
    "fixing",
    "comparing",
    "building",
    "inspecting",
    "converting",
    "drafting",
    "cache",
    "quantizing",
    "recovering",
    "judging",
    "calibrating",
    "targets",
    "casting",
    "preparing",
    "placement",
    "timing",
    "running",
    "model",
    "data",
    "config",
    "screen",
    "solving",
    "process",
    "calibrators",
)
"""From the top down. A module may import from its own room and from those below."""

BARRED = {
    "commands": {"numpy", "numba", "highspy", "onnx", "onnx_ir", "onnxruntime", "PIL", "tqdm"},
    "explaining": {"numpy", "numba", "highspy", "onnx", "onnx_ir", "onnxruntime", "click", "tqdm", "PIL"},
    "calls": {"onnxruntime", "click", "tqdm", "PIL"},
    "tuning": {"click", "tqdm", "PIL"},
    "sensitivity": {"click", "tqdm", "PIL"},
    "migrating": {"onnxruntime", "click", "tqdm", "PIL"},
    "fixing": {"click", "tqdm", "PIL"},
    "comparing": {"onnxruntime", "click", "tqdm", "PIL"},
    "building": {"onnxruntime", "click", "tqdm", "PIL"},
    "inspecting": {"onnxruntime", "click", "tqdm", "PIL"},
    "converting": {"onnxruntime", "click", "tqdm", "PIL"},
    "drafting": {"onnx", "onnx_ir", "onnxruntime", "click", "tqdm", "PIL"},
    "cache": {"click", "tqdm"},
    "quantizing": {"click", "tqdm", "PIL"},
    "recovering": {"click", "tqdm", "PIL"},
    "judging": {"click", "tqdm", "PIL"},
    "calibrating": {"click", "tqdm", "PIL"},
    "targets": {"onnxruntime", "click", "tqdm", "PIL"},
    "casting": {"onnxruntime", "click", "tqdm", "PIL"},
    "preparing": {"onnxruntime", "click", "tqdm", "PIL"},
    "placement": {"onnxruntime", "click", "tqdm", "PIL"},
    "timing": {"onnxruntime", "onnx", "onnx_ir", "click", "tqdm", "PIL"},
    "running": {"click", "tqdm", "PIL"},
    "model": {"onnxruntime", "click", "tqdm", "PIL"},
    "data": {"onnxruntime", "onnx_ir", "click", "tqdm"},
    "config": {"numpy", "onnx", "onnx_ir", "onnxruntime", "click", "tqdm", "PIL"},
    "screen": {"numpy", "onnx", "onnx_ir", "onnxruntime", "PIL"},
    "solving": {"onnx", "onnx_ir", "onnxruntime", "click", "tqdm", "PIL"},
    "process": {"onnx", "onnx_ir", "onnxruntime", "click", "tqdm", "PIL"},
}
"""Libraries that a room does without."""


def room_of(module: str) -> str:
    """The room of a module of ours: the package below `qdq_cli`, or `calibrators`."""
    parts = module.split(".")
    if parts[0] == "calibrators":
        return "calibrators"
    return parts[1] if len(parts) > 1 and (REPOSITORY_PACKAGE / parts[1]).is_dir() else "main"


REPOSITORY_PACKAGE = next(path.parent for path in FILES if place(path) == "qdq_cli/__init__.py")
MODULES = {
    place(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path
    for path in FILES
}  # fmt: skip


def arrows() -> Iterator[tuple[str, str]]:
    """Every import of one module of ours by another."""
    for name, path in MODULES.items():
        for target in set(imports(path)):
            if target in MODULES and target != name:
                yield name, target


def test_every_module_has_a_room():
    assert {room_of(name) for name in MODULES} == set(ROOMS)


def test_arrows_point_down():
    floor = {room: number for number, room in enumerate(ROOMS)}
    up = sorted(f"{a} -> {b}" for a, b in arrows() if floor[room_of(a)] > floor[room_of(b)])
    assert up == []


ABOUT_TENSORRT = ("main", "commands", "explaining", "migrating", "fixing", "building", "inspecting", "targets")
"""Rooms that speak of TensorRT by name: its own commands, what explains its codes, and what is made of them all."""


def test_one_target_is_known_to_its_room_and_its_commands_alone():
    """Whatever else needs it gets it as data: a `Target`."""
    found = [f"{a} -> {b}" for a, b in arrows() if "targets.tensorrt" in b and room_of(a) not in ABOUT_TENSORRT]
    assert found == []


def test_no_circle_of_modules():
    """Within a room too: take away, again and again, what imports nothing that is left."""
    left: dict[str, set[str]] = {name: set() for name in MODULES}
    for name, target in arrows():  # each file is parsed once, not once for every module
        left[name] |= {target} - PACKAGES_OF_ALL
    while free := {name for name, needs in left.items() if not needs & left.keys()}:
        left = {name: needs for name, needs in left.items() if name not in free}
    assert sorted(left) == []


PACKAGES_OF_ALL = {name for name, path in MODULES.items() if path.name == "__init__.py"}
"""`from package import module` names the package too, which holds nothing but a docstring."""


@pytest.mark.parametrize("room", BARRED)
def test_rooms_do_without_these_libraries(room: str):
    found = [
        f"{place(path)} imports {target}"
        for name, path in MODULES.items()
        if room_of(name) == room
        for target in imports(path)
        if target.partition(".")[0] in BARRED[room]
    ]
    assert found == []


def test_every_room_says_what_is_in_it():
    rooms = {path.parent for path in FILES if path.parent != REPOSITORY_PACKAGE}
    assert [place(room) for room in rooms if not (Path(room) / "__init__.py").is_file()] == []


def test_the_folders_of_tests_are_those_of_the_rooms():
    """Beside them stand the tests of the whole, of the benchmarks, and files that tests read."""
    others = {"bench", "foreign", "golden", "old_caches", "__pycache__"}
    assert {path.name for path in Path(__file__).parent.iterdir() if path.is_dir()} - others <= set(ROOMS)
