"""One small archive for all tests that only read it: confounded to the full, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from radgaze.simulation import SimulationOptions, simulate


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 patients at 128 px, the markers following the class wherever they may."""
    out = tmp_path_factory.mktemp("phantom") / "archive"
    simulate(
        SimulationOptions(out, patients=36, seed=3, pixels=128, confounding=1.0, two_studies=0.2, workers=1)
    )
    return out
