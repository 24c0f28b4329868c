"""Every stage that can last tells how far it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qdq_cli.config.data import DataConfig
from qdq_cli.config.fix import FixConfig
from qdq_cli.config.inspect import InspectConfig
from qdq_cli.config.quantize import QuantizeConfig, VerifyConfig
from qdq_cli.fixing.fix import fix_model
from qdq_cli.inspecting.inspect import inspect_model
from qdq_cli.quantizing.pipeline import quantize_model
from tests.listeners import Ear
from tests.workspace import make_workspace


def test_every_stage_tells(tmp_path: Path):
    space = make_workspace(tmp_path)
    data = DataConfig(calib=(tmp_path / "arrays.npz",))
    quantized = tmp_path / "out.onnx"
    ear = Ear()
    quantize_model(QuantizeConfig(space.model, quantized, data=data, verify=VerifyConfig(samples=2)), ear)
    every = ["loading", "preparing", "planning", "calibrating", "choosing ranges", "writing Q and DQ", "saving"]
    assert np.isin([*every, "predicting", "verifying"], ear.titles).all(), ear.titles
    ear = Ear()
    inspect_model(InspectConfig(space.model), ear)
    assert {"loading", "preparing", "planning", "writing Q and DQ", "checking", "predicting"} == set(ear.titles)
    ear = Ear()
    inspect_model(InspectConfig(quantized), ear)
    assert {"loading", "checking", "predicting"} == set(ear.titles)
    ear = Ear()
    fix_model(FixConfig(quantized, tmp_path / "fixed.onnx", {}, samples=1), ear)
    assert {"loading", "checking", "repairing", "saving", "verifying"} == set(ear.titles)


def test_what_a_stage_tells_ends_where_it_said(tmp_path: Path):
    space = make_workspace(tmp_path)
    ear = Ear()
    inspect_model(InspectConfig(space.model), ear)
    lasts = [total for _, total in ear.stages]
    done = [one for one, total in ear.progress_told if one == total]
    assert done == lasts, "every display comes to its end, and the next one begins then"
