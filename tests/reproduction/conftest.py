"""A small store, and plans of grids whose runs take seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from radgaze import experiments
from radgaze.reproduction.options import ReproduceOptions
from radgaze.reproduction.planning import Plan
from radgaze.reproduction.planning import plan as make_plan
from radgaze.store.store import Store
from tests.training.conftest import TINY, store

__all__ = ["store"]

MakePlan = Callable[..., Plan]
"""See `plan`."""


@pytest.fixture
def plan(store: Store) -> MakePlan:
    """`plan({…}, only=("baseline",))`: a grid of tiny runs on the store, with fields and options."""

    def make(overrides: dict[str, Any] | None = None, **options: Any) -> Plan:
        chosen = ReproduceOptions(**options)
        return make_plan(store.path, chosen, overrides=experiments.merge(TINY, overrides or {}))

    return make
