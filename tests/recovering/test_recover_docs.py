"""docs/recover.md is true: its commands run, its output is the program's, its tables and numbers are the program's."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from calibrators.equalization import EXPONENTS
from qdq_cli.config.recovery import DEFAULT_RECOVERY, RECOVERY_STEPS
from qdq_cli.judging import trials
from qdq_cli.judging.aside import JUDGE_SAMPLES
from qdq_cli.recovering import changes, equalize, rows
from qdq_cli.recovering.record import LayerGain, Recovery, StepGain
from tests.test_docs import run_line, sessions, shell_lines, table
from tests.workspace import REPOSITORY, SAMPLES, make_example_folder, qdq

PAGE = (REPOSITORY / "docs" / "recover.md").read_text(encoding="utf-8")
SENTENCES = " ".join(PAGE.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example_folder(tmp_path_factory.mktemp("recover")).folder


@pytest.mark.parametrize("line", shell_lines(PAGE))
def test_a_command_of_the_page_runs(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    done = run_line(line)
    assert done.code == 0, done.err


def without_numbers(text: str) -> str:
    """What was gained depends on the processor in the last digits, what is accepted on those, seconds on the load.

    On one with AVX2 but no VNNI, the summary says besides that ONNX Runtime saturates by default.
    """
    words = re.sub(r"\bseconds .*?\)", "seconds", " ".join(text.split()))
    words = re.sub(r"By default ONNX Runtime gives .*?(?=TensorRT predicted:)", "", words)
    return re.sub(r"[+-]?\d+(\.\d+)?", "#", words)


def test_the_output_is_the_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shutil.copy(SAMPLES / "digits_vit.onnx", tmp_path)
    shutil.copytree(SAMPLES / "images" / "digits", tmp_path / "images" / "digits")
    monkeypatch.chdir(tmp_path)
    ((command, expected, code),) = sessions(PAGE)
    done = qdq(*shlex.split(command)[1:])
    assert done.code == code, done.err
    assert without_numbers(done.out) == without_numbers(expected)
    shown, found = ([float(value) for value in re.findall(r"SQNR ([\d.]+) dB", text)] for text in (expected, done.out))
    # which changes are accepted hangs on last digits: 41.4 dB with AVX-512, 40.4 with AVX2 alone
    assert found == pytest.approx(shown, abs=1.5)
    assert found[1] >= found[0] - 0.5, "recovery takes nothing away"


def test_the_table_of_steps_is_the_programs():
    rows_of = table(PAGE, "Steps")
    assert [row[0].strip("`") for row in rows_of] == list(RECOVERY_STEPS)
    assert tuple(row[0].strip("`") for row in rows_of if row[2] == "yes") == DEFAULT_RECOVERY


@pytest.mark.parametrize("record", [Recovery, StepGain, LayerGain])
def test_the_fields_of_the_record_are_on_the_page(record: type):
    assert {name for name in record.__dataclass_fields__ if f"`{name}`" not in PAGE} == set()


def test_the_numbers_are_the_programs():
    assert f"at most {JUDGE_SAMPLES}, is set aside" in SENTENCES
    assert f"by at least {100 * changes._MARGIN:g} %" in SENTENCES
    assert (changes._SPLITS, len(EXPONENTS)) == (2, 4), "halves and quarters; four exponents"
    assert f"the first {equalize._MAX_COMPONENTS} sets" in SENTENCES
    assert (equalize._PATIENCE, SENTENCES.count("until six sets in a row gain nothing")) == (6, 2)
    assert f"at most {trials._KEPT_BYTES >> 20} MB for the outputs" in SENTENCES
    assert f"at most {rows._ROWS_BYTES >> 20} MB for what the layers" in SENTENCES


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^):#]+)\)", PAGE))))
def test_a_link_leads_somewhere(target: str):
    assert (REPOSITORY / "docs" / target).exists()
