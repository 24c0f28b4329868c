"""`import qdq_cli`: every command as a function, and nothing heavy until one is called for."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

import calibrators
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
from tests.test_promises import HEAVY, parsed
from tests.workspace import Workspace, environment, make_workspace, qdq

PACKAGES = {package.__name__: package for package in (qdq_cli, calibrators)}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("exports"))


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_is_there(name: str):
    """Nothing but what is in the list, in the list of a reader of `dir` and in that of type checkers too."""
    package = PACKAGES[name]
    assert set(package._MODULES) == set(package.__all__) <= set(dir(package))
    made = (getattr(package, one) for one in package.__all__ if isinstance(getattr(package, one), type | FunctionType))
    assert {one.__name__ for one in made} <= set(package.__all__)
    block = next(node for node in parsed(Path(package.__file__)).body if isinstance(node, ast.If))
    checked = [
        (node.module, alias.name) for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert sorted(checked) == sorted((module, one) for one, module in package._MODULES.items())


def test_the_names_of_the_program_are_in_order():
    assert qdq_cli.__all__ == sorted(qdq_cli.__all__, key=lambda name: (not name.isupper(), name))


def test_a_name_of_the_library_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'calibrators' has no attribute 'histograms'"):
        calibrators.histograms  # noqa: B018


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'qdq_cli' has no attribute 'quantise_model'"):
        qdq_cli.quantise_model  # noqa: B018


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_it_brings_nothing_heavy():
    """Nor any module of ours; records and the version bring nothing heavy either, nor does a record that is refused."""
    code = (
        "import sys, qdq_cli\n"
        "ours = [name for name in sys.modules if name.startswith('qdq_cli.')]\n"
        "qdq_cli.QuantizeConfig('m.onnx', trt='10'), qdq_cli.ExportConfig, qdq_cli.__version__\n"
        "try: qdq_cli.QuantizeConfig('m.onnx', form='regions')\n"
        f"except qdq_cli.UsageError: print(ours, sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    assert python(code) == "[] []"


def test_library_users_do_not_wait_for_sympy(space: Workspace):
    """Nor does the package change how they import it themselves."""
    code = (
        "import sys\n"
        "from qdq_cli import DataConfig, InspectConfig, QuantizeConfig, inspect_model, quantize_model\n"
        "finders = list(sys.meta_path)\n"
        f"quantize_model(QuantizeConfig({str(space.model)!r}, data=DataConfig({str(space.arrays)!r})))\n"
        f"inspect_model(InspectConfig({str(space.output)!r}))\n"
        "print('onnx_ir' in sys.modules, 'sympy.core' in sys.modules)\n"
        "assert not any('qdq_cli' in type(finder).__module__ for finder in finders)\n"
        "import sympy\n"
        "print(sympy.Integer(2) + 3)"
    )
    assert python(code) == "True False\n5"


def test_the_version_is_that_of_the_command():
    assert f"qdq {qdq_cli.__version__}\n" == qdq("--version").out
    assert "__version__" in dir(qdq_cli)


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
