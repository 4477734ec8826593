"""Searches of tiny runs, and a stand-in for a trial whose AUC is a formula of what was drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from radgaze import experiments
from radgaze.runs.config import Config
from radgaze.store.store import Store
from radgaze.tuning.options import TuneOptions
from radgaze.tuning.planning import plan
from radgaze.tuning.study import Search
from radgaze.tuning.trial import Pruned, Report
from tests.training.conftest import TINY, config, store

__all__ = ["config", "store"]

MakeConfig = Callable[..., Config]
"""See `config`."""

MakeSearch = Callable[..., Search]
"""See `search`."""


@pytest.fixture
def search(store: Store) -> MakeSearch:
    """`search("baseline", trainer={"max_epochs": 9})`: a search of tiny runs on the store."""

    def make(experiment: str = "set3_guided", *, space: Path | None = None, **options: Any) -> Search:
        named = {name: options.pop(name) for name in ("seed", "protocol", "min_epochs") if name in options}
        given = experiments.merge(TINY, options)
        chosen = TuneOptions(trials=1, space=space, **named)  # `tune` takes others
        return plan(experiment, str(store.path), chosen, given=given)

    return make


class Formula:
    """Stands for a trial: its AUC rises over the epochs to 0.9 − |γ − 0.4|, so that γ = 0.4 is best."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, float, int]] = []

    def __call__(self, config: Config, out: Path, report: Report) -> float:
        gamma, epochs = config.objective.gamma, config.trainer.max_epochs
        auc = 0.0
        for epoch in range(1, epochs + 1):
            auc = (0.9 - abs(gamma - 0.4)) * (0.5 + 0.5 * epoch / epochs)
            if report(epoch, auc) and epoch < epochs:
                self.ran.append((out.name, gamma, epoch))
                raise Pruned
        self.ran.append((out.name, gamma, epochs))
        return auc


@pytest.fixture
def formula() -> Formula:
    return Formula()
