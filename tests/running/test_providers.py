"""Execution providers: those that are not there have a package, those that are there run, and who ran is recorded."""

from __future__ import annotations

from dataclasses import replace

import onnxruntime as ort
import pytest

import qdq_cli
from calibrators import read_cache, write_cache
from qdq_cli.config.execution import PROVIDERS, ExecutionConfig
from qdq_cli.process.errors import UsageError
from qdq_cli.running.providers import CPU, TABLE, arguments_of, one_run_at_a_time, require_providers
from tests.calls.tensors import SAMPLES, convnet
from tests.workspace import make_workspace, qdq

THERE = set(ort.get_available_providers())
MISSING = [word for word in PROVIDERS if TABLE[word].name not in THERE]


def test_every_provider_has_a_row():
    assert tuple(TABLE) == PROVIDERS
    assert all(provider.package.startswith("onnxruntime") for provider in TABLE.values())


@pytest.mark.parametrize("word", MISSING)
def test_one_that_is_not_there_is_named_with_its_package(word, tmp_path):
    space = make_workspace(tmp_path)
    done = space.quantize("--provider", word)
    assert done.code == 2
    assert f"has no provider {word}, only cpu" in " ".join(done.err.split())
    assert TABLE[word].package in done.err
    assert not space.output.exists()


@pytest.mark.parametrize("provider", [(), ("cpu",)])
def test_a_device_needs_a_provider_that_has_any(provider, tmp_path):
    space = make_workspace(tmp_path)
    done = space.quantize("--device", 3, *(word for name in provider for word in ("--provider", name)))
    assert (done.code, space.output.exists()) == (2, False)
    assert "cpu has none to choose" in done.err and "--provider cuda" in done.err


def test_a_name_that_is_none():
    with pytest.raises(UsageError, match=r"ExecutionConfig\.provider holds 'cudda'"):
        ExecutionConfig(provider=("cudda",))


def test_the_order_is_kept_and_the_cpu_runs_what_is_left():
    found = arguments_of(ExecutionConfig(provider=("tensorrt", "cuda"), device="1"))
    assert [name for name, _ in found] == ["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU]
    assert [options.get("device_id") for _, options in found] == ["1", "1", None]
    assert arguments_of(ExecutionConfig(provider=("cpu", "cuda")))[0] == (CPU, {})
    assert arguments_of(ExecutionConfig(provider=("openvino",), device="GPU"))[0][1] == {"device_type": "GPU"}
    assert arguments_of(ExecutionConfig()) == [(CPU, {})]


def test_some_run_one_batch_at_a_time():
    assert one_run_at_a_time(("cuda", "directml"))
    assert not one_run_at_a_time(("cuda", "cpu"))
    assert not one_run_at_a_time(())


def test_the_cpu_by_name_is_the_cpu():
    plain, named = (qdq_cli.quantize(convnet(), SAMPLES[:8], provider=provider) for provider in ((), "cpu"))
    assert plain.model == named.model
    assert named.report.calibration.provider == "cpu"
    require_providers(ExecutionConfig(provider=("cpu",)))


def made_elsewhere(path):
    """Change a cache as if it came from another provider."""
    table = read_cache(path)
    versions = (*table.provenance.versions, ("provider", "cuda"))
    write_cache(replace(table, provenance=replace(table.provenance, versions=versions)), path)


def test_a_cache_of_another_provider_serves_who_asks_for_none(tmp_path):
    space = make_workspace(tmp_path)
    cache = tmp_path / "m.qcal"
    assert qdq("calibrate", space.model, "--calib", space.arrays, "-o", cache, "--json").document["provider"] == "cpu"
    made_elsewhere(cache)
    report = qdq("quantize", space.model, "--cache", cache, "-o", space.output, "--json").document
    assert report["calibration"]["provider"] == "cuda"
    assert "run by cuda" in qdq("quantize", space.model, "--cache", cache, "-o", space.output).out
    refused = qdq("quantize", space.model, "--cache", cache, "-o", space.output, "--provider", "cpu")
    assert refused.code == 4
    assert "ran on the provider cuda" in " ".join(refused.err.split())
    more = qdq("calibrate", space.model, "--calib", space.arrays, "-o", cache, "--append")
    assert more.code == 4
    assert "versions" in more.err


@pytest.mark.skipif("OpenVINOExecutionProvider" not in THERE, reason="this ONNX Runtime has no OpenVINO")
def test_openvino_observes_and_the_cpu_verifies(tmp_path):
    space = make_workspace(tmp_path)
    cache = tmp_path / "m.qcal"
    options = ("--provider", "openvino", "--device", "CPU", "--cache", cache, "--json")
    report = qdq("quantize", space.model, "--calib", space.arrays, "-o", space.output, *options).document
    assert report["calibration"]["provider"] == "openvino"
    assert ("provider", "openvino") in read_cache(cache).provenance.versions
    assert all(found["sqnr_db"] > 20 for found in report["verification"]["outputs"].values())
