"""The small store of made cases, and a run on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.training.conftest import TINY, store

__all__ = ["run", "store"]


@pytest.fixture(scope="session")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A U-Net of one epoch."""
    wanted = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    config = settings.resolve("baseline", data=str(store.path), **wanted)
    out: Path = tmp_path_factory.mktemp("pseudo") / "run"
    return train(config, out)
