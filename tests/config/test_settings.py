"""qdq.toml as a value: which table is about which file, what comes later wins, and where things stand in the file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdq_cli.config.settings import Settings, find_settings, read_settings
from qdq_cli.process.errors import UsageError

FILE = """\
# what is told of two models
[defaults]
method = "mse"
samples = 64

[models."a.onnx"]
calib = [
    "images",   # spread
]
samples = 32
cache = "kept/a.qcal"

[models."a.onnx".inspect]
fail-on = ["E"]

[models."nets/*.onnx"]
preprocess = "unit"

[models."nets/b.onnx".quantize]
"output" = "b8.onnx"
"""


def write(folder: Path, text: str = FILE) -> Settings:
    path = folder / "qdq.toml"
    path.write_text(text, encoding="utf-8")
    return read_settings(path)


def told(settings: Settings, command: str, *files: str) -> dict[str, object]:
    return {each.key: each.value for each in settings.for_files([settings.folder / file for file in files], command)}


def test_a_model_gets_the_defaults_and_its_own_table(tmp_path: Path):
    settings = write(tmp_path)
    assert told(settings, "quantize", "a.onnx") == {
        "method": "mse", "samples": 32, "calib": ["images"], "cache": "kept/a.qcal",
    }  # fmt: skip
    assert told(settings, "quantize", "other.onnx") == {"method": "mse", "samples": 64}


def test_a_command_has_settings_of_its_own(tmp_path: Path):
    settings = write(tmp_path)
    assert told(settings, "inspect", "a.onnx")["fail-on"] == ["E"]
    assert "fail-on" not in told(settings, "quantize", "a.onnx")


@pytest.mark.parametrize("file", ["a.onnx", "a.qdq.onnx", "kept/a.qcal", "nets/../a.onnx"])
def test_results_and_caches_belong_to_their_model(file: str, tmp_path: Path):
    (tmp_path / "nets").mkdir()
    assert told(write(tmp_path), "compare", file)["samples"] == 32


def test_a_pattern_is_about_every_model_it_fits(tmp_path: Path):
    settings = write(tmp_path)
    assert told(settings, "quantize", "nets/b.onnx")["preprocess"] == "unit"
    assert told(settings, "quantize", "nets/b.onnx")["output"] == "b8.onnx"
    assert told(settings, "inspect", "b8.onnx") == {"method": "mse", "samples": 64}
    assert "preprocess" not in told(settings, "quantize", "b.onnx")


def test_a_link_leads_to_the_same_model(tmp_path: Path):
    (tmp_path / "a.onnx").touch()
    (tmp_path / "link.onnx").symlink_to("a.onnx")
    assert told(write(tmp_path), "quantize", "link.onnx")["samples"] == 32


def test_settings_know_their_lines(tmp_path: Path):
    lines = {(each.key, each.command): each.line for table in write(tmp_path).tables for each in table.settings}
    assert lines == {
        ("method", ""): 3, ("samples", ""): 10, ("calib", ""): 7, ("cache", ""): 11, ("fail-on", "inspect"): 14,
        ("preprocess", ""): 17, ("output", "quantize"): 20,
    }  # fmt: skip


def test_dotted_keys_and_inline_tables_have_lines_too(tmp_path: Path):
    settings = write(tmp_path, '\n[models]\n"a.onnx".samples = 3\n"b.onnx" = { seed = 1 }\n')
    assert [(table.model, table.line) for table in settings.tables] == [("a.onnx", 3), ("b.onnx", 4)]
    assert [each.line for table in settings.tables for each in table.settings] == [3, 4]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[defaults]\nmethod = "mse\n', "line 2: Illegal character"),
        ("[defaults]\nmethod =\n", "line 2: Invalid value."),
        ("method = 1\n", "line 1: 'method' is no table of this file."),
        ("\n[model.x]\na = 1\n", "line 2: 'model' is no table of this file. Did you mean 'models'?"),
        ("[[models]]\na = 1\n", "line 1: 'models' holds no tables."),
        ("[models]\nx = 1\n", "line 2: 'x' is a value where a table is due."),
        ("defaults = 3\n", "line 1: 'defaults' is a value where a table is due."),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(text: str, said: str, tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        write(tmp_path, text)
    assert f"qdq.toml, {said}" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe", "is not UTF-8 text"), (b"#" * 1_000_001, "has more than 1,000,000 bytes")],
)
def test_what_is_no_text_is_refused(content: bytes, said: str, tmp_path: Path):
    (tmp_path / "qdq.toml").write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read_settings(tmp_path / "qdq.toml")


def test_only_a_file_that_was_named_has_to_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert find_settings(None) is None
    with pytest.raises(UsageError, match=r"mine\.toml cannot be read: No such file"):
        find_settings(Path("mine.toml"))


KEYS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=8)


@given(st.dictionaries(KEYS, st.dictionaries(st.from_regex(r"[a-z-]{1,8}", fullmatch=True), st.integers()), max_size=4))
def test_every_setting_of_every_file_is_found_where_it_stands(models: dict[str, dict[str, int]]):
    text, places = "", {}
    for model, entries in models.items():
        quoted = model.replace("\\", "\\\\").replace('"', '\\"')
        text += f'[models."{quoted}"]\n'
        for key, value in entries.items():
            text += f"{key} = {value}\n"
            places[model, key] = text.count("\n")
    assert tomllib.loads(text).get("models", {}) == models
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        found = write(Path(folder), text)
    assert {(table.model, each.key): each.line for table in found.tables for each in table.settings} == places
