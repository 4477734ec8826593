"""The store of a run, with the run's split. Does not import torch."""

from __future__ import annotations

from pathlib import Path

from radgaze.runs.config import Config
from radgaze.store.store import Store


def open_store(config: Config) -> Store:
    """Open the store of a run, with the run's split.

    Raises:
        UserError: The store cannot be opened, or cannot be split in this way.
    """
    split = config.split
    seed = config.seed if split.seed is None else split.seed
    store = Store.open(Path(config.data))
    return store.resplit(split.kind, seed=seed, folds=split.folds, fold=split.fold)
