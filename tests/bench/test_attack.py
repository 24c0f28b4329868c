"""The attack finds what it looks for, does the same case again, and finds nothing in the first of its cases."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from bench.attack.cases import lay_out
from bench.attack.command import main
from bench.attack.corpus import make_corpus
from bench.attack.models import models
from bench.attack.mutations import mutated_model
from bench.attack.trial import FINDINGS, attempt, emptied, files_in, findings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads what Linux says of a process")


def test_the_first_cases_break_nothing(capsys: pytest.CaptureFixture[str]):
    code = main(["--runs", "60", "--seed", "1"])
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "60 runs, 0 findings" in printed
    rows = [row.split() for row in printed.splitlines() if row.startswith("model ")]
    runs, *ended, found = map(int, rows[0][1:])
    assert (runs, found) == (sum(ended), 0)


def test_a_case_follows_from_its_numbers(tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    corpus = make_corpus(tmp_path / "corpus")
    seen = set()
    for number in range(12):
        made = []
        for _ in range(2):
            with emptied(tmp_path) as folder:
                made.append((lay_out(corpus, 5, number, folder), files_in(folder)))
        assert made[0] == made[1]
        seen.add(str(made[0]))
    assert len(seen) == 12
    with emptied(tmp_path) as folder:
        assert str((lay_out(corpus, 6, 0, folder), files_in(folder))) not in seen


def run_script(folder: Path, body: str, writes: tuple[str, ...] = (), *, as_json: bool = False) -> list[str]:
    """What the attack says of a run that does what a script does and ends with its variable `code`."""
    names: dict[str, int] = {"code": 0}

    def work() -> int:
        exec(body, names)
        return names["code"]

    (folder / "model.onnx").write_bytes(models()["convolutions"].SerializeToString())
    (folder / "temporary").mkdir()
    before = files_in(folder)
    return findings(attempt(work, folder), before, folder, writes, as_json)


@pytest.mark.parametrize(
    ("finding", "body"),
    [
        ("traceback", "import sys; print('Traceback (most recent call last):', file=sys.stderr)"),
        ("traceback", "raise ValueError"),
        ("signal", "import os; os.abort()"),
        ("hang", "import os, signal; os.kill(os.getpid(), signal.SIGXCPU)"),
        ("memory", "held = b'x' * (3 << 30)"),
        ("memory", "import sys; code = 3; print('error: The machine ran out of memory.', file=sys.stderr)"),
        ("exit code", "code = 1"),
        ("exit code", "code = 3"),
        ("left over", "open('.qdq-x.tmp', 'w')"),
        ("left over", "open('temporary/x', 'w')"),
        ("left over", "import sys; open('out.onnx', 'w'); code = 3; print('error: x.', file=sys.stderr)"),
        ("torn", "open('out.onnx', 'wb').write(open('model.onnx', 'rb').read()[:-40])"),
        ("torn", ""),
        ("raw letters", "print('\\x1b[2J')"),
        ("raw letters", "print('  ::error::x')"),
        ("input changed", "open('model.onnx', 'a').write('x')"),
    ],
)
def test_what_is_broken_is_found(tmp_path: Path, finding: str, body: str):
    assert finding in FINDINGS
    assert finding in run_script(tmp_path, body, ("out.onnx",))


def test_a_sound_run_breaks_nothing(tmp_path: Path):
    body = "import shutil; shutil.copy('model.onnx', 'out.onnx'); print('{}')"
    assert run_script(tmp_path, body, ("out.onnx",), as_json=True) == []
    refused = "import sys; code = 4; print('error: No.', file=sys.stderr)"
    (tmp_path / "other").mkdir()
    assert run_script(tmp_path / "other", refused, ("out.onnx",)) == []


def test_a_document_that_is_none_is_found(tmp_path: Path):
    assert run_script(tmp_path, "print('{')", as_json=True) == ["torn"]


def test_models_are_mutated_everywhere():
    """The changes reach nodes, attributes, weights, bodies and functions, and most leave a model that parses."""
    for model in models().values():
        data = model.SerializeToString(deterministic=True)
        made = {mutated_model(np.random.default_rng(seed), data) for seed in range(40)}
        assert len(made) > 25
        assert all(onnx.load_from_string(other) for other in made)
