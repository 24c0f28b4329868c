"""`import qdq_cli`: every command as a function, and nothing heavy until one is called for."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import qdq_cli
from qdq_cli import (
    DEFAULT_RECOVERY,
    CompareConfig,
    DataConfig,
    QuantizeConfig,
    SensitivityConfig,
    TuneConfig,
    VerifyConfig,
    compare_models,
    find_sensitivities,
    quantize_model,
    tune_model,
)
from tests.test_promises import HEAVY
from tests.workspace import Workspace, environment, make_workspace


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("exports"))


def test_every_name_is_there():
    assert set(dir(qdq_cli)) >= set(qdq_cli.__all__) - set(qdq_cli._LATER)
    assert all(getattr(qdq_cli, name).__name__ == name for name in qdq_cli._LATER)
    assert set(qdq_cli._LATER) < set(qdq_cli.__all__)
    assert qdq_cli.__all__ == sorted(qdq_cli.__all__, key=lambda name: (not name.isupper(), name))


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'qdq_cli' has no attribute 'quantise_model'"):
        qdq_cli.quantise_model  # noqa: B018


def test_importing_it_brings_nothing_heavy():
    code = f"import sys, qdq_cli; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_commands_as_functions(space: Workspace):
    data, output = DataConfig(calib=(space.arrays,)), Path(space.output)
    config = QuantizeConfig(space.model, data=data, output=output, recover=DEFAULT_RECOVERY)
    report = quantize_model(config)
    assert report.recovery is not None
    found = compare_models(CompareConfig(space.model, output, data))
    assert found.outputs["scores"].sqnr_db > 20
    plain = dataclasses.replace(config, recover=())
    assert find_sensitivities(SensitivityConfig(plain)).operators
    tuned = tune_model(TuneConfig(dataclasses.replace(plain, verify=VerifyConfig(min_sqnr=20))))
    assert tuned.met
