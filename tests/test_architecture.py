"""docs/architecture.md is true: its rooms are those of the package, in the picture too, and its examples work."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibrators import Histogram, NoDataError
from qdq_cli.placement import operators
from qdq_cli.placement.plan import make_plan
from qdq_cli.preparing.prepare import prepare
from qdq_cli.recovering.changes import changed
from qdq_cli.targets.tensorrt.table import TENSORRT
from tests.networks import Network
from tests.recovering.test_steps import LAYERS, stand
from tests.test_rooms import ROOMS
from tests.workspace import REPOSITORY

PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
Run = Callable[[str], dict[str, Any]]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run the code below a heading; rows that it adds to the operator table are taken out again."""
    monkeypatch.setattr(operators, "OPERATORS", dict(operators.OPERATORS))

    def run(heading: str) -> dict[str, Any]:
        _, _, section = PAGE.partition(f"## {heading}\n")
        names: dict[str, Any] = {}
        exec(re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)[0], names)
        return names

    return run


def test_every_room_has_its_sentence():
    assert tuple(re.findall(r"^\| `(\w+)` \| [A-Z].*\. \|$", PAGE, flags=re.MULTILINE)) == ROOMS[1:]


def test_the_picture_has_the_rooms_in_their_order():
    drawn = re.findall(r">(\w+)</text>", (REPOSITORY / "docs" / "architecture.svg").read_text(encoding="utf-8"))
    rooms = [word for word in drawn if word in ROOMS]  # first those of the stages
    assert tuple(rooms[1 - len(ROOMS) :]) == ROOMS[1:]


FOLDERS = (REPOSITORY, REPOSITORY / "docs", REPOSITORY / "docs" / "decisions")
PAGES = sorted(path for folder in FOLDERS for path in folder.glob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(path: Path):
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_paths_lead_somewhere():
    named = re.findall(r"`([\w/]+\.py)`", PAGE)
    assert len(named) > 15
    places = REPOSITORY, REPOSITORY / "qdq_cli"
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_every_decision_is_listed_and_has_its_parts():
    folder = REPOSITORY / "docs" / "decisions"
    listed = re.findall(
        r"^\| \[\d\d\]\((.+?)\) \|", (folder / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))
    parts = ["Question", "Options", "Decided", "What follows", "Think again when"]
    for name in listed:
        assert re.findall(r"^## (.+)$", (folder / name).read_text(encoding="utf-8"), flags=re.MULTILINE) == parts, name


def test_a_row_lets_a_scale_go_across_an_operator(example: Run):
    net = Network()
    x = net.relu(net.conv(net.input("x", (4, 16, 8, 8)), 16, scale=None))
    back = net.op("ReverseSequence", x, net.constant(np.full(16, 4, np.int64)))
    model = prepare(net.model(net.conv(back, 16, scale=None))).model
    before = make_plan(model, TENSORRT)
    after = make_plan(model, example("Add an operator")["with_reversing"])
    assert [group.tensors for group in before.groups if back in group.tensors] == [(back,)]
    assert [set(group.tensors) >= {x, back} for group in after.groups if back in group.tensors] == [True]


def test_a_method_chooses_ranges(example: Run):
    deviations = example("Add a method")["deviations"]
    values = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    plain, scaled = Histogram(), Histogram()
    plain.observe(np.append(values, np.float32(50.0)))
    scaled.observe(np.append(values, np.float32(50.0)) * 4)
    assert deviations(plain).amax == pytest.approx(8.1, abs=0.1)
    assert deviations(scaled) == deviations(plain).scaled(4.0)
    with pytest.raises(NoDataError):
        deviations(Histogram())


def test_a_step_proposes_a_change(example: Run, tmp_path: Path):
    _, bench, candidate = stand(tmp_path, LAYERS["conv"], 0.5)
    (change,) = example("Add a step of recovery")["widen"]([bench], candidate)
    wider = changed(candidate, [change])
    assert wider.ranges[bench.layer.group] == candidate.ranges[bench.layer.group].scaled(1.1)
    before, after = bench.held_errors(candidate, wider)
    assert after < before  # the range was cut to a half
