"""The loaders of a run: shuffled by seed and epoch alone, so that the number of workers changes nothing."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import cast

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

from radgaze.errors import UserError
from radgaze.gaze.spec import GazeMaps
from radgaze.store.batch import Batch, collate
from radgaze.store.dataset import Augmentation, GazeDataset
from radgaze.store.store import Store
from radgaze.training.config import Config


class StoreData(L.LightningDataModule):
    """Training cases of a store, and those that the epoch is chosen by: validation's, unless asked otherwise.

    Args:
        store: The prepared store.
        config: The run.
    """

    def __init__(self, store: Store, config: Config) -> None:
        super().__init__()
        self.store, self.config = store, config
        self.train_cases = dataset(store, config, "train", augment=config.input.augment)
        self.validation_cases = dataset(store, config, config.selection)
        for split, cases in (("train", self.train_cases), (config.selection, self.validation_cases)):
            if not len(cases):
                raise UserError(f"{store.path} holds no case of the split {split!r}: nothing to {split} on")

    def train_dataloader(self) -> DataLoader[Batch]:
        shuffled = SeededShuffle(self.train_cases, self.config.seed)
        # A last batch of one case has no batch statistics; of a few, noisy ones.
        drop = len(self.train_cases) > self.config.optimisation.batch_size
        return self._loader(self.train_cases, sampler=shuffled, drop_last=drop)

    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader(self.validation_cases)

    def _loader(
        self, cases: GazeDataset, sampler: Sampler[int] | None = None, *, drop_last: bool = False
    ) -> DataLoader[Batch]:
        workers = self.config.trainer.workers
        return DataLoader(
            cast("Dataset[Batch]", cases),  # what `collate` makes of its samples
            batch_size=self.config.optimisation.batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=collate,
            drop_last=drop_last,
            pin_memory=torch.cuda.is_available(),
            # Its own generator: the loader would else draw from the one that drop-out draws from.
            generator=torch.Generator().manual_seed(self.config.seed),
            multiprocessing_context=_forkserver() if workers else None,
            persistent_workers=workers > 0,
        )


class SeededShuffle(Sampler[int]):
    """A permutation that depends on seed and epoch alone; it tells the cases their epoch, to augment by."""

    def __init__(self, cases: GazeDataset, seed: int) -> None:
        self.cases, self.seed, self.epoch = cases, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch
        self.cases.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        return iter(torch.randperm(len(self.cases), generator=generator).tolist())


def _forkserver() -> BaseContext:
    """Workers come from a server that imports torch once; a fork of this process would lack its threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["radgaze.store.dataset"])
    return context


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
    gaze = config.gaze
    return GazeDataset(
        store,
        split,
        size=config.input.size,
        fit=config.input.fit,
        gaze=GazeMaps(gaze.weight, gaze.sigma, gaze.unit, gaze.pixels_per_degree, boxes=gaze.boxes),
        augment=Augmentation() if augment else None,
        seed=config.seed,
        cache=config.input.cache,
    )


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
