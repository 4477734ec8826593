"""A run of a second, the page over it, and a client of the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from radgaze.runs.run import Run
from radgaze.store.store import Store
from radgaze.viewing.app import make_app
from radgaze.viewing.network import Network
from radgaze.viewing.service import Limits, Service
from tests.predicting.conftest import trained
from tests.store.cohorts import make_cohort
from tests.stores import prepare

ADDRESS = "http://127.0.0.1:8765"
LARGEST = 2
"""Largest file in MiB."""


@pytest.fixture(scope="package")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("viewing")


@pytest.fixture(scope="package")
def store(archive: Path) -> Store:
    return prepare(make_cohort(archive / "images", cases=16), archive / "store", size=64, workers=1)


@pytest.fixture(scope="package")
def run(archive: Path, store: Store) -> Run:
    return trained(store, archive / "run")


@pytest.fixture(scope="package")
def networks(run: Run) -> list[Network]:
    """One run twice, side by side."""
    return [Network.of(run.path, "cpu"), Network.of(run.path, "cpu")]


@pytest.fixture(scope="package")
def client(networks: list[Network], run: Run) -> Iterator[TestClient]:
    with TestClient(make_app(Service(networks, run.store, Limits(LARGEST))), base_url=ADDRESS) as made:
        yield made
