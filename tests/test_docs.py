"""The pages in docs/ are true: every command shown runs and prints what the page says; the tables are the program's."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from qdq_cli.main import run
from qdq_cli.targets.tensorrt.findings import RULES
from qdq_cli.targets.tensorrt.gpus import GPUS, Use
from qdq_cli.targets.tensorrt.remedies import REMEDIES
from qdq_cli.targets.tensorrt.simulation import Reason
from tests.foreign import make_ort_models
from tests.workspace import Outcome, qdq

DOCS = Path(__file__).parent.parent / "docs"
MODELS = {"ort.onnx": "ort_tensorrt.onnx", "defaults.onnx": "ort_defaults.onnx", "qat.onnx": "qat_resnet.onnx"}
"""Name on the page -> file in tests/foreign."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, source in MODELS.items():
        shutil.copy(Path(make_ort_models.__file__).parent / source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tmp_path


def sessions(page: str) -> list[tuple[str, str, int]]:
    """(command, output shown, exit code) of each console block; a block may end in `[exit N]`."""
    found = []
    for block in re.findall(r"```console\n\$ (.*?)```", page, flags=re.DOTALL):
        command, _, shown = block.partition("\n")
        code = re.search(r"^\[exit (\d)\]\n\Z", shown, flags=re.MULTILINE)
        text = shown if code is None else shown[: code.start()]
        found.append((command, text, int(code.group(1)) if code else 0))
    return found


def shell_lines(page: str) -> list[str]:
    """The lines of the shell blocks of a page, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
    return [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]


def run_line(line: str) -> Outcome:
    """Run a line of a page, which has to be one of this program."""
    program, *arguments = shlex.split(line)
    assert program == "qdq"
    return qdq(*arguments)


@pytest.mark.parametrize("page", ["inspect.md"])
def test_commands_print_what_the_page_shows(page, folder, capsys):
    shown = sessions((DOCS / page).read_text(encoding="utf-8"))
    assert len(shown) > 5
    for command, expected, code in shown:
        arguments = shlex.split(command)
        assert arguments[0] == "qdq"
        assert run(arguments[1:]) == code, command
        out, err = capsys.readouterr()
        assert _matches(expected, out + err), f"{command}\n{out}{err}"


def _matches(expected: str, text: str) -> bool:
    """Compare with a shown text in which a line "..." stands for any lines."""
    pattern = "".join("(?:.*\n)*?" if line == "...\n" else re.escape(line) for line in expected.splitlines(True))
    return re.fullmatch(pattern, text) is not None


def table(page: str, title: str) -> list[list[str]]:
    _, _, rest = page.partition(f"## {title}\n")
    rows, _, _ = rest.partition("\n## ")
    lines = [line for line in rows.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_table_of_codes_is_the_programs():
    page = (DOCS / "inspect.md").read_text(encoding="utf-8")
    versions = {rule.code: ", ".join(version.value for version in rule.profiles) for rule in RULES.values()}
    expected = [
        [f"`{rule.code}`", rule.rule, "all" if len(rule.profiles) == 4 else versions[rule.code], rule.expected]
        for rule in RULES.values()
    ]
    assert table(page, "Lint codes") == expected


def test_the_table_of_gpus_is_the_programs():
    page = (DOCS / "inspect.md").read_text(encoding="utf-8")
    assert table(page, "Types and GPUs") == [
        [
            f"`{gpu.value}`",
            f"{row.architecture}: {row.devices}",
            ", ".join(use.value for use in Use if use in row.runs),
        ]
        for gpu, row in GPUS.items()
    ]


def test_the_table_of_reasons_is_the_programs():
    page = (DOCS / "inspect.md").read_text(encoding="utf-8")
    assert [(row[0].strip("`"), row[2]) for row in table(page, "Reasons")] == [
        (reason.value, REMEDIES[reason]) for reason in Reason
    ]
