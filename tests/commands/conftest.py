from __future__ import annotations

from pathlib import Path

import pytest

from tests.workspace import Workspace, make_workspace


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    """A folder with a model and calibration data; nothing else."""
    return make_workspace(tmp_path)
