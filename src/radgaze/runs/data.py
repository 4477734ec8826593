"""The cases of a run: its store with its split, and each split as the run sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from torch.utils.data import DataLoader, Subset

from radgaze.errors import UserError
from radgaze.gaze.spec import GazeMaps
from radgaze.runs.config import Config
from radgaze.store.batch import Batch, collate
from radgaze.store.dataset import Augmentation, GazeDataset
from radgaze.store.memory import available_memory
from radgaze.store.store import Store


def open_store(config: Config) -> Store:
    """The run's store with the run's split.

    Raises:
        UserError: It cannot be opened, or split so.
    """
    split = config.split
    seed = config.seed if split.seed is None else split.seed
    store = Store.open(Path(config.data))
    return store.resplit(split.kind, seed=seed, folds=split.folds, fold=split.fold)


def dataset(store: Store, config: Config, split: str, *, augment: bool = False) -> GazeDataset:
    """The cases of one split as a run sees them."""
    gaze, cache = config.gaze, config.input.cache
    if cache == "auto":
        cache = _fits(int((store.cases["split"] == split).sum()), config)
    return GazeDataset(
        store,
        split,
        size=config.input.size,
        fit=config.input.fit,
        gaze=GazeMaps(gaze.weight, gaze.sigma, gaze.unit, gaze.pixels_per_degree, boxes=gaze.boxes),
        augment=Augmentation() if augment else None,
        seed=config.seed,
        cache=cache,
    )


def _fits(cases: int, config: Config) -> bool:
    """Whether the cases' images take less than a quarter of the free memory, in all processes together."""
    devices = str(config.trainer.devices)
    copies = (int(devices) if devices.isdigit() else 1) * (1 + config.trainer.workers)
    return cases * config.input.size**2 * copies < available_memory() / 4


def batches(cases: GazeDataset, batch_size: int, case_ids: Sequence[str] | None = None) -> Iterator[Batch]:
    """The cases in order, as batches; only those named, in the order named, where names are given.

    Raises:
        UserError: A case is not among them.
    """
    wanted: GazeDataset | Subset[object] = cases
    if case_ids is not None:
        place = {case_id: i for i, case_id in enumerate(cases.case_ids)}
        missing = [case_id for case_id in case_ids if case_id not in place]
        if missing:
            raise UserError(f"no such case here: {', '.join(missing[:3])}")
        wanted = Subset(cases, [place[case_id] for case_id in case_ids])
    yield from DataLoader(wanted, batch_size=batch_size, collate_fn=collate)
