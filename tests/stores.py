"""Stores for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from radgaze.sources.cohort import Cohort
from radgaze.store import preparation
from radgaze.store.options import PrepareOptions
from radgaze.store.store import Store


def prepare(cohort: Cohort, out: str | Path, **options: Any) -> Store:
    """Prepare a store with `PrepareOptions` given as arguments."""
    return preparation.prepare(cohort, PrepareOptions(out, **options))
