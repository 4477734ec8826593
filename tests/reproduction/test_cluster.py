"""A grid on a Ray cluster of this machine; without Ray, how that is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from radgaze.errors import UserError
from radgaze.reproduction import grid
from radgaze.reproduction.options import ReproduceOptions
from tests.reproduction.conftest import MakePlan


def test_without_ray_it_is_told_how_to_install_it_before_anything_is_written(
    plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"radgaze\[cluster\]"):
        grid.reproduce(plan(only=("baseline",)), tmp_path / "grid", ReproduceOptions(engine="ray"))
    assert not (tmp_path / "grid").exists()


@pytest.mark.slow
def test_a_grid_runs_on_a_cluster_and_a_job_that_fails_stops_no_other(
    plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(grid, "write", lambda ended: ended.out / "index.html")
    over = {"trainer": {"max_epochs": 1}, "model": {"architecture": "classifier"}}
    made = plan(over, only=("baseline", "no_decoder"), seeds=1)
    ended, _ = grid.reproduce(made, tmp_path / "grid", ReproduceOptions(engine="ray", jobs=2))
    assert list(ended.done) == ["no_decoder/seed-42"]
    assert ended.failed == {"baseline/seed-42": "the model classifier has no mask for the edge mask_gaze"}
