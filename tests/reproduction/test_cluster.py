"""Jobs on a Ray cluster of this machine; without Ray, how that is told."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from radgaze.errors import UserError
from radgaze.reproduction import cluster, grid
from tests.reproduction.test_local import jobs


def test_without_ray_it_is_told_how_to_install_it_before_anything_is_written(plan, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"radgaze\[cluster\]"):
        grid.reproduce(plan(only=["baseline"]), tmp_path / "grid", engine="ray")
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize(
    ("machines", "trainer", "side_by_side", "share"),
    [
        ([{"CPU": 8.0, "GPU": 2.0}] * 2, {}, None, (4.0, 1.0)),
        ([{"CPU": 8.0, "GPU": 2.0}] * 2, {"devices": 2}, None, (8.0, 2.0)),
        ([{"CPU": 8.0, "GPU": 1.0}], {}, 3, (2.0, 0.33)),
        ([{"CPU": 8.0, "GPU": 1.0}], {"accelerator": "cpu"}, None, (8.0, 0.0)),
        ([{"CPU": 8.0}, {"CPU": 4.0}], {}, None, (4.0, 0.0)),
        ([{"CPU": 2.0}, {}], {}, 8, (1.0, 0.0)),
    ],
)
def test_each_job_asks_for_its_share(machines, trainer, side_by_side, share):
    nodes = [{"Alive": True, "Resources": machine} for machine in machines]
    nodes.append({"Alive": False, "Resources": {"CPU": 99.0, "GPU": 9.0}})
    found = cluster._share(SimpleNamespace(nodes=lambda: nodes), jobs("a", "b", **trainer), side_by_side)
    assert (found["num_cpus"], found["num_gpus"]) == share


@pytest.mark.slow
def test_a_grid_runs_on_a_cluster_and_a_job_that_fails_stops_no_other(plan, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(grid, "write", lambda ended: ended.out / "index.html")
    over = {"trainer": {"max_epochs": 1}, "model": {"architecture": "classifier"}}
    made = plan(over, only=["baseline", "no_decoder"], seeds=1)
    ended, _ = grid.reproduce(made, tmp_path / "grid", engine="ray", side_by_side=2)
    assert list(ended.done) == ["no_decoder/seed-42"]
    assert ended.failed == {"baseline/seed-42": "the model classifier has no mask for the edge mask_gaze"}
