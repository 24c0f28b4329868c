"""Every command reads qdq.toml: the command line wins over it, what it gave is said, mistakes have file and line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from qdq_cli.commands.every import every_command
from qdq_cli.commands.options import OptionCommand
from tests.building.fake import use_fake_compiler
from tests.workspace import REPOSITORY, Workspace, make_example_folder, qdq


@pytest.fixture
def here(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(space.folder)
    return space


def say(text: str, name: str = "qdq.toml") -> None:
    Path(name).write_text(text, encoding="utf-8")


def report(*words: str) -> dict[str, object]:
    done = qdq(*words, "--json")
    assert done.code == 0, done.err
    found: dict[str, object] = done.document
    return found


TOLD = """
[models."model.onnx"]
calib = "arrays.npz"
method = "minmax"
samples = 4
verify = 0
"""


def calibration(*words: str) -> tuple[object, object]:
    found = report("quantize", "model.onnx", *words)["calibration"]
    assert isinstance(found, dict)
    return found["method"], found["samples"]


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(here: Workspace):
    say(TOLD)
    assert calibration() == ("minmax", 4)
    assert calibration("--method", "entropy") == ("entropy", 4)
    assert calibration("--no-config", "--calib", "arrays.npz", "--verify", "0") == ("auto", 10)


def test_what_came_from_the_file_is_said(here: Workspace):
    say(TOLD)
    done = qdq("quantize", "model.onnx", "--method", "mse")
    assert done.err.startswith('note: From qdq.toml: calib = "arrays.npz", samples = 4, verify = 0.\n')
    assert "From qdq.toml" not in qdq("quantize", "model.onnx", "-q").err


def test_the_one_model_of_a_file_need_not_be_named(here: Workspace):
    say(TOLD)
    done = qdq("quantize")
    assert done.code == 0
    assert "From qdq.toml: the model model.onnx, calib" in done.err
    say(TOLD + '[models."other.onnx"]\nsamples = 2\n')
    assert "Missing argument 'MODEL'" in qdq("quantize").err


def test_a_file_elsewhere_means_the_files_beside_it(
    here: Workspace, tmp_path_factory: pytest.TempPathFactory, monkeypatch
):
    say(TOLD + 'preprocess = "unit"\n', "mine.toml")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    done = qdq("calibrate", here.model, "--config", here.folder / "mine.toml", "-o", "made.qcal", "--json")
    assert done.code == 0, done.err
    assert done.document["samples"]["cache"] == 4


def test_repeated_options_switches_and_numbers(here: Workspace):
    say('[defaults]\nexclude = ["first", "mid*"]\nresiduals = false\nskip-last = true\ntrt = 8.6\n')
    found = report("quantize", "model.onnx", "--calib", "arrays.npz", "--verify", "0")
    skips = found["skips"]
    assert isinstance(skips, list)
    assert {skip["node"] for skip in skips} >= {"first", "middle", "scores"}
    assert found["trt"] == "8.6"


def test_one_command_can_be_told_on_its_own(here: Workspace):
    say('[models."model.onnx".inspect]\nmin-int8-macs = 100\nexclude = "first"\n')
    done = qdq("inspect", "model.onnx")
    assert done.code == 5
    assert qdq("quantize", "model.onnx", "--dry-run").code == 0


def test_the_samples_of_calibration_serve_comparing_too(here: Workspace):
    say(TOLD)
    assert qdq("quantize", "model.onnx", "-q").code == 0
    assert report("compare", "model.onnx", "model.qdq.onnx")["samples"] == 4


LINES = {
    "quantize": "model.onnx --dry-run",
    "calibrate": "model.onnx",
    "convert": "model.onnx",
    "tune": "model.onnx --min-sqnr 1",
    "sensitivity": "model.onnx",
    "inspect": "model.onnx",
    "build": "model.onnx",
    "compare": "model.onnx model.qdq.onnx",
    "fix": "model.qdq.onnx -o fixed.onnx",
    "migrate": "model.qdq.onnx -o migrated.onnx",
    "cache show": "model.qcal",
    "cache diff": "last-release.qcal model.qcal",
    "cache merge": "share-1.qcal share-2.qcal -o both.qcal",
    "cache export": "model.qcal --format ort -o ranges.bin",
    "cache import": "calibration.cache",
    "cache check": "model.onnx model.qcal",
}
"""Words of each command that reads settings."""


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_example_folder(tmp_path_factory.mktemp("settings"))


def test_the_list_below_has_every_command():
    readers = {
        words for words, each in every_command().items() if isinstance(each, OptionCommand) and each.reads_settings
    }
    assert set(LINES) == readers
    assert set(every_command()) - readers == {"explain", "init", "completion"}


@pytest.mark.parametrize("words", LINES)
def test_every_command_reads_it(words: str, example: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(example.folder)
    use_fake_compiler(monkeypatch)
    say(f'[defaults."{words}"]\nquiet = true\n[models."model.onnx"]\ncalib = "images"\n')
    done = qdq(*words.split(), *LINES[words].split())
    assert done.code == 0, done.err
    assert done.out == ""
    say(f'[defaults."{words}"]\nquiet = 3\n')
    wrong = qdq(*words.split(), *LINES[words].split(), "--json")
    assert (wrong.code, wrong.document["error"]["kind"]) == (2, "usage")
    assert wrong.document["error"]["message"] == "qdq.toml, line 2: quiet is 3; expected true or false."
    Path("qdq.toml").unlink()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[defaults]\nmetod = "mse"\n', "line 2: 'metod' is no option of any command.\nhint: Did you mean 'method'?"),
        ('[defaults]\n\nsamples = "x"\n', "line 3: samples is \"x\": 'x' is not a valid integer"),
        ("[defaults]\nsamples = 0\n", "line 2: samples is 0: 0 is not in the range x>=1."),
        ("[defaults]\nsamples = true\n", "line 2: samples is true, which the option does not take."),
        ("[defaults]\nsamples = [1, 2]\n", "line 2: samples is [1, 2]: '1,2' is not a valid integer"),
        ('[defaults]\nmethod = "msee"\n', "line 2: method is \"msee\": 'msee' is not one of"),
        ("[defaults]\nno-residuals = true\n", "no option of any command.\nhint: Write residuals = false."),
        ("[defaults.inspct]\nlayers = true\n", "line 2: 'inspct' is no command.\nhint: Did you mean 'inspect'?"),
        ("[defaults.inspect]\ncalib = 'x'\n", "line 2: 'calib' is no option of qdq inspect."),
        ("[models.model.onnx]\nseed = 1\n", "hint: A file name stands in quotation marks: [models.\"model.onnx\"]."),
        ("[defaults]\noutput = 'a.onnx'\n", "names a file, which only one command can write.\nhint: Write it below"),
        ("[defaults]\njson = true\n", "hint: How a result is shown is said on the command line."),
        ("[defaults]\nrange = ['a']\n", "line 2: range is [\"a\"]: "),
        ("[defaults]\ncalib = ['']\n", "line 2: calib is [\"\"]: an empty text is no path"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence_with_file_line_and_hint(text: str, said: str, here: Workspace):
    say(text)
    done = qdq("quantize", "model.onnx", "--dry-run")
    assert (done.code, done.out) == (2, "")
    assert f"error: qdq.toml, {said}" in done.err or said in done.err
    assert "\nhint: " in done.err


def test_help_is_there_whatever_the_file_says(here: Workspace):
    say("[defaults\n")
    assert qdq("quantize", "--help").code == 0
    assert qdq("quantize", "model.onnx", "--dry-run", "--no-config").code == 0
    assert qdq("quantize", "model.onnx", "--dry-run").code == 2


def test_a_wrong_command_line_is_told_as_without_a_file(here: Workspace):
    say(TOLD)
    assert "No such option '--nonsense'" in qdq("quantize", "model.onnx", "--nonsense").err.replace(":", "")


def test_every_option_of_every_command_takes_what_it_is_told_as_text():
    """Each default that the help shows can be written into the file."""
    for words, command in every_command().items():
        for param in command.params:
            if isinstance(param, click.Option) and isinstance(param.default, str | int | float) and not param.is_flag:
                ctx = click.Context(command, info_name=words)
                assert param.type_cast_value(ctx, str(param.default)) is not None, (words, param.name)


PAGE = (REPOSITORY / "docs" / "settings.md").read_text(encoding="utf-8")


def test_the_page_is_true(example: Workspace, monkeypatch: pytest.MonkeyPatch):
    """Its file is one, its commands run with it, and its error is the program's."""
    monkeypatch.chdir(example.folder)
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    (block,) = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.splitlines():
        assert qdq(*shlex.split(line.partition("#")[0])[1:]).code == 0, line
    say(shown.replace("min-sqnr = 20", "min-sqnr = 2"))
    assert qdq("quantize").code == 0
    assert Path("page.html").is_file()
    say("[defaults]\n\nmin-snr = 20\n")
    assert qdq("inspect", "model.onnx").err in PAGE
    Path("qdq.toml").unlink()
