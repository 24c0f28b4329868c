"""What goes to stdout, what to stderr, and the exit code: the result on stdout, everything else on stderr."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.workspace import PATIENCE_SECONDS, Workspace, command, environment, process, qdq

KEYS_OF_THE_DOCUMENT = {
    "": ("schema_version", "model", "output", "opset", "weighted_ops", "activations", "skips", "calibration",
         "verification", "size_bytes", "seconds"),
    "weighted_ops": ("total", "quantized"),
    "activations": ("targets", "groups"),
    "calibration": ("method", "samples", "batch_size", "cache"),
    "size_bytes": ("before", "after"),
    "seconds": ("load", "prepare", "plan", "observe", "choose", "rewrite", "verify", "save"),
}  # fmt: skip
"""What pipelines read; keys may be added but never go."""


def test_the_summary_is_on_stdout_and_nothing_on_stderr(space: Workspace):
    done = space.quantize()
    assert (done.code, done.err) == (0, "")
    labels = [line.split()[0] for line in done.out.splitlines() if not line.startswith(" ")]
    assert labels == ["model", "quantized", "calibration", "verification", "TensorRT", "output", "seconds", "next"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((), ["TensorRT 8.4 to 10: {} --int8 --fp16", "TensorRT 11: {}", "What is not INT8 runs in FP32 there"]),
        (("--float-type", "fp16"), ["TensorRT 10: {} --stronglyTyped", "TensorRT 11: {}"]),
        (("--trt", "8.6"), ["TensorRT 8.6: {} --int8 --fp16"]),
        (("--trt", "11"), ["TensorRT 11: {}"]),
    ],
)
def test_the_last_lines_name_the_command_of_each_release_that_reads_the_result(space: Workspace, asked, expected):
    done = space.quantize("--verify", "0", *asked)
    _, _, last = done.out.rpartition("next ")
    lines = [line.strip() for line in last.splitlines()]
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(start.format(f"trtexec --onnx={space.output}")), done.out
        assert line.endswith((str(space.output), "--fp16", "--stronglyTyped", "changes it."))


def test_json_is_exactly_one_document_with_the_promised_keys(space: Workspace):
    done = space.quantize("--json", "--exclude", "middle")
    document = done.document
    assert done.err == ""
    assert next(iter(document)) == "schema_version"
    assert document["schema_version"] == 2
    for record, keys in KEYS_OF_THE_DOCUMENT.items():
        found = document[record] if record else document
        assert set(keys) <= set(found), record
    assert {"node": "middle", "input": "first_relu", "code": "EXCLUDED"}.items() <= document["skips"][0].items()
    assert document["skips"][0]["reason"]
    assert document["verification"]["outputs"]["scores"].keys() >= {"sqnr_db", "cosine", "top1_agreement"}
    assert document["size_bytes"] == {
        "before": space.model.stat().st_size,
        "after": space.output.stat().st_size,
    }


def test_json_keeps_notes_on_stderr_and_in_the_document(space: Workspace):
    done = space.quantize("--calib", space.images, "--json")
    assert "No preprocessing was chosen" in done.err
    assert any("No preprocessing was chosen" in note for note in done.document["notes"])


def test_json_of_a_dry_run(space: Workspace):
    inspection = space.quantize("--dry-run", "--json").document
    document = inspection["plan"]
    assert document["predicted"]["quantized_layers"] == inspection["summary"]["weighted_quantized"] > 0
    assert (document["output"], document["calibration"], document["verification"]) == (None, None, None)
    assert next(target["tensor"] for target in document["targets"]) == "images"


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (["quantize", "model.onnx"], "data"),
        (["quantize", "missing.onnx"], "model"),
        (["quantize", "model.onnx", "--methd", "mse"], "usage"),
        (["quantize", "model.onnx", "--only", "nothing", "--calib", "arrays.npz"], "usage"),
        (["inspect", "arrays.npz"], "model"),
        (["cache", "show", "arrays.npz"], "data"),
        (["explain", "no-such-code"], "usage"),
    ],
)
def test_json_of_a_failure_is_a_document_of_it(
    space: Workspace, arguments: list[str], kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(space.folder)
    plain, done = qdq(*arguments), qdq(*arguments, "--json")
    assert (plain.out, plain.err, plain.code) == ("", done.err, done.code), "the sentence stays on stderr"
    found = done.document
    assert list(found) == ["schema_version", "error", "report"]
    assert (found["error"]["kind"], found["error"]["exit_code"], found["report"]) == (kind, done.code, None)
    told = f"error: {found['error']['message']}\n"
    assert done.err == told + (f"hint: {found['error']['hint']}\n" if found["error"]["hint"] else "")


def test_a_value_that_looks_like_the_option_asks_for_no_document(space: Workspace):
    assert qdq("quantize", "--", "--json").out == ""


def test_quiet_prints_nothing_but_errors_and_warnings(space: Workspace):
    done = space.quantize("--calib", space.images, "--preprocess", "unit", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    guessed = space.quantize("--calib", space.images, "-q")
    assert (guessed.code, guessed.out) == (0, "")
    assert guessed.err.startswith("warning: No preprocessing was chosen")
    assert space.output.is_file()
    failed = qdq("quantize", space.model, "-q")
    assert (failed.code, failed.out) == (4, "")
    assert failed.err.startswith("error: ")


def test_quiet_json_is_the_document_alone(space: Workspace):
    done = space.quantize("--calib", space.images, "--preprocess", "unit", "-q", "--json")
    assert json.loads(done.out)["schema_version"] == 2
    assert done.err == ""


def test_verbose_lists_targets_with_ranges_and_every_skip(space: Workspace):
    plain = space.quantize("--exclude", "middle")
    verbose = space.quantize("--exclude", "middle", "-v")
    assert "first_relu -> residual:1" not in plain.out
    assert "first_relu -> residual:1" in verbose.out
    assert "EXCLUDED" not in plain.out
    assert "EXCLUDED" in verbose.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["quantize", "--help"], 0),
        ([], 0),
        (["nonsense"], 2),
        (["quantize"], 2),
        (["quantize", "model.onnx", "--nonsense"], 2),
        (["quantize", "model.onnx", "--samples", "0"], 2),
        (["quantize", "model.onnx", "--mean", "a,b"], 2),
        (["quantize", "missing.onnx", "--dry-run"], 3),
        (["quantize", "model.onnx"], 4),
        (["quantize", "model.onnx", "--calib", "nowhere"], 4),
        (["quantize", "model.onnx", "--calib", "arrays.npz", "--min-sqnr", "190"], 5),
    ],
)
def test_exit_codes(space: Workspace, arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(space.folder)
    before = space.listing()
    done = qdq(*arguments)
    assert done.code == code
    assert bool(done.out) == (code in (0, 5))  # what was measured is shown where a limit is not met
    assert bool(done.err) == (code != 0)
    assert space.listing() == before


def test_a_limit_that_is_not_met_prints_the_document_too(space: Workspace):
    before = space.listing()
    done = space.quantize("--min-sqnr", "190", "--json")
    assert done.code == 5
    error, found = done.document["error"], done.document["report"]
    assert (error["kind"], error["exit_code"], error["message"]) == ("limit", 5, found["unmet_limit"])
    assert (found["output"], found["size_bytes"]["after"]) == (None, None)
    assert found["unmet_limit"] in done.err and "--min-sqnr is 190 dB" in found["unmet_limit"]
    assert found["verification"]["outputs"]["scores"]["sqnr_db"] < 190
    assert found["predicted"]["quantized_layers"] == found["weighted_ops"]["quantized"] == 4
    assert space.listing() == before
    met = space.quantize("--json").document
    assert met["unmet_limit"] is None
    (limit,) = found["verification"].pop("limits")
    assert (limit["output"], limit["limit"], limit["standing"]) == ("scores", "min_sqnr", "missed")
    assert met["verification"].pop("limits") == []
    assert met["verification"] == found["verification"]
    assert space.quantize("--min-sqnr", "190", "-q").out == ""


def test_usage_errors_read_like_all_others(space: Workspace):
    done = qdq("quantize", space.model, "--smaples", "3")
    problem, hint = done.err.splitlines()
    assert problem == "error: No such option '--smaples'. Did you mean '--samples'?"
    assert hint == "hint: Try 'qdq quantize --help'."


def test_no_arguments_show_the_help():
    assert qdq().out == qdq("--help").out


def test_a_real_process_gives_the_same(space: Workspace):
    done = process("quantize", "model.onnx", "--calib", "arrays.npz", "--json", cwd=space.folder)
    assert (done.code, done.err) == (0, "")
    assert done.document["model"] == "model.onnx"
    failed = process("quantize", "model.onnx", cwd=space.folder)
    assert (failed.code, failed.out) == (4, "")
    assert failed.err.count("\n") == 2
    assert "Traceback" not in failed.err


def test_a_reader_that_goes_away_is_no_failure(space: Workspace):
    line = subprocess.list2cmdline(command("quantize", "model.onnx", "--calib", "arrays.npz", "--json"))
    done = subprocess.run(
        ["bash", "-c", f"({line}; echo $? > code) | true"],
        cwd=space.folder, env=environment(), capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert done.stderr == ""
    assert (space.folder / "code").read_text().strip() == "0"
    assert space.output.is_file()


def test_closed_streams_are_no_failure(space: Workspace):
    line = subprocess.list2cmdline(command("quantize", "model.onnx", "--calib", "images"))
    done = subprocess.run(["bash", "-c", f"{line} >&- 2>&-"], cwd=space.folder, env=environment(), check=False)
    assert done.returncode == 0
    assert space.output.is_file()


def test_a_full_stdout_is_a_sentence(space: Workspace):
    line = subprocess.list2cmdline(command("quantize", "model.onnx", "--calib", "arrays.npz", "--json"))
    done = subprocess.run(
        ["bash", "-c", f"{line} >/dev/full"], cwd=space.folder, env=environment(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr == "error: The result cannot be printed: No space left on device.\n"
