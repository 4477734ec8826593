"""Tasks on a Ray cluster of this machine; without Ray, how that is told."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from radgaze import plugins
from radgaze.errors import UserError
from radgaze.execution import cluster, process
from radgaze.models import factories
from tests.execution.test_local import quiet, tasks


def test_without_ray_it_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"radgaze\[cluster\]"):
        cluster.load()


@pytest.mark.parametrize(
    ("machines", "options", "side_by_side", "request_"),
    [
        ([{"CPU": 8.0, "GPU": 2.0}] * 2, {"gpus": 1}, None, (4.0, 1.0)),
        ([{"CPU": 8.0, "GPU": 2.0}] * 2, {"gpus": 2}, None, (8.0, 2.0)),
        ([{"CPU": 8.0, "GPU": 1.0}], {"gpus": 1}, 3, (2.0, 0.33)),
        ([{"CPU": 8.0, "GPU": 1.0}], {"gpus": 0}, None, (8.0, 0.0)),
        ([{"CPU": 8.0}, {"CPU": 4.0}], {"gpus": 1}, None, (4.0, 0.0)),
        ([{"CPU": 2.0}, {}], {"gpus": 1}, 8, (1.0, 0.0)),
    ],
)
def test_each_task_requests_its_share(
    machines: list[dict[str, float]],
    options: dict[str, int],
    side_by_side: int | None,
    request_: tuple[float, float],
    tmp_path: Path,
) -> None:
    nodes = [{"Alive": True, "Resources": machine} for machine in machines]
    nodes.append({"Alive": False, "Resources": {"CPU": 99.0, "GPU": 9.0}})
    found = cluster.requested(nodes, tasks(tmp_path, "", "a", "b", **options), side_by_side)
    assert (found["num_cpus"], found["num_gpus"]) == request_


def test_a_cluster_is_given_the_plugins_and_the_trusted_names_of_this_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: dict[str, object] = {}
    fake = SimpleNamespace(init=lambda address, **options: asked.update(options), shutdown=lambda: None)
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setenv(plugins.ASKED, "mine")
    monkeypatch.setenv(factories.VARIABLE, "mine.network")
    monkeypatch.setenv("SECRET", "word")
    with cluster.connected("head:6379"):
        pass
    assert asked["runtime_env"] == {"env_vars": {plugins.ASKED: "mine", factories.VARIABLE: "mine.network"}}


@pytest.mark.parametrize("places", [1, 2, 3, 4, 5, 7, 12])
@pytest.mark.parametrize(
    "machines",
    [
        [{"CPU": 16.0, "GPU": 3.0}],
        [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 6.0, "GPU": 1.0}],
        [{"CPU": 7.0}, {"CPU": 7.0}, {"CPU": 7.0}],
        [{"CPU": 32.0}, {"CPU": 12.0}],
    ],
)
def test_as_many_tasks_as_wanted_fit_side_by_side(
    machines: list[dict[str, float]], places: int, tmp_path: Path
) -> None:
    nodes = [{"Alive": True, "Resources": machine} for machine in machines]
    request = cluster.requested(nodes, tasks(tmp_path, "", "a", gpus=1), places)
    assert sum(fitting(machine, request) for machine in machines) >= places


def fitting(machine: dict[str, float], request: dict[str, float]) -> int:
    """The tasks that a machine has room for at once; Ray divides no task among GPUs."""
    cores = machine["CPU"] // request["num_cpus"]
    each = request["num_gpus"]
    on_gpus = machine.get("GPU", 0.0) * ((1.0 + 1e-9) // each) if each else cores
    return int(min(cores, on_gpus))


def test_a_machine_that_does_not_see_the_folder_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "start", None)  # nothing is started
    (task,) = tasks(tmp_path, "", "a")
    reason, seconds = cluster.run_on_machine(task, str(tmp_path / "nowhere" / "grid.json"), 1)
    assert reason is not None
    assert f"does not see {tmp_path / 'nowhere'}" in reason
    assert seconds == 0.0


@pytest.mark.slow
def test_tasks_run_on_a_cluster_and_one_that_fails_stops_no_other(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    code = "sys.exit('no gaze' if name == 'a' else 0)"
    (tmp_path / "grid.json").touch()
    outcomes = cluster.run(
        tasks(tmp_path, code, "a", "b"), quiet, visible=tmp_path / "grid.json", side_by_side=2
    )
    assert {outcome.name: outcome.reason for outcome in outcomes} == {"a": "no gaze", "b": None}
