"""Preparing on a cluster of two nodes gives the bytes that preparing here gives, also when a node is lost."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from radgaze.errors import UserError
from radgaze.sources.cohort import Cohort
from radgaze.store.store import Store
from tests.store.cohorts import contents, make_cohort
from tests.stores import prepare

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    made = make_cohort(tmp_path_factory.mktemp("images"), 90)
    Path(made.cases["image"][7]).write_bytes(b"no image")
    return made


@pytest.fixture(scope="module")
def here(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepare(cohort, tmp_path_factory.mktemp("here") / "store", size=64, workers=1)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Two nodes of one processor each, in processes of this machine."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 * 2**20})
    made.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    made.wait_for_nodes()
    yield made
    made.shutdown()  # type: ignore[no-untyped-call]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_nodes_make_the_same_store(cohort: Cohort, here: Store, cluster: Cluster, tmp_path: Path) -> None:
    found = prepare(cohort, tmp_path / "store", size=64, engine="ray", ray_address=cluster.address)
    assert contents(found.path) == contents(here.path)
    assert found.manifest["identity"] == here.manifest["identity"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_that_is_lost_midway_costs_time_only(
    cohort: Cohort, here: Store, cluster: Cluster, tmp_path: Path
) -> None:
    second = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    journal = tmp_path / "store.partial" / "journal.jsonl"

    def lose() -> None:
        until = time.monotonic() + 120
        while not (journal.is_file() and journal.stat().st_size) and time.monotonic() < until:
            time.sleep(0.01)
        cluster.remove_node(second, allow_graceful=False)

    thread = threading.Thread(target=lose)
    thread.start()
    found = prepare(cohort, tmp_path / "store", size=64, engine="ray", ray_address=cluster.address)
    thread.join()
    assert contents(found.path) == contents(here.path)


def test_without_ray_it_is_told_how_to_install_it_before_anything_is_written(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"radgaze\[cluster\]"):
        prepare(cohort, tmp_path / "store", size=64, engine="ray")
    assert not list(tmp_path.iterdir())


def test_an_address_is_for_a_cluster(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`ray_address` needs `engine=ray`"):
        prepare(cohort, tmp_path / "store", size=64, ray_address="127.0.0.1:6379")
