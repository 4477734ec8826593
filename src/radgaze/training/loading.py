"""The loaders of a training: shuffled by seed and epoch alone, whatever the number of workers."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext
from typing import Any, cast

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from radgaze.errors import UserError
from radgaze.runs.config import Config
from radgaze.runs.data import dataset
from radgaze.store.batch import Batch, collate
from radgaze.store.dataset import GazeDataset
from radgaze.store.store import Store
from radgaze.training.sampling import GazeShuffle, SeededShuffle


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
        rank, processes = self._place(len(self.train_cases))
        return self._loader(self.train_cases, self._shuffle(rank, processes))

    def gaze_turns(self, processes: int) -> float | None:
        """How often a case with gaze comes in an epoch, on average; None where all cases come once."""
        shuffled = self._shuffle(0, processes)
        return shuffled.turns if isinstance(shuffled, GazeShuffle) else None

    def _shuffle(self, rank: int, processes: int) -> SeededShuffle | GazeShuffle:
        wanted, seed = self.config.optimisation, self.config.seed
        if wanted.gaze_fraction is None:
            keep = wanted.last_batch == "keep"
            return SeededShuffle(self.train_cases, seed, wanted.batch_size, rank, processes, keep_last=keep)
        return GazeShuffle(self.train_cases, wanted.gaze_fraction, seed, wanted.batch_size, rank, processes)

    def val_dataloader(self) -> DataLoader[Batch]:
        cases = len(self.validation_cases)
        rank, processes = self._place(cases)
        # Each case in one process; none twice to make them even, which would count in the AUC.
        return self._loader(self.validation_cases, range(rank, cases, processes))

    def _place(self, cases: int) -> tuple[int, int]:
        """This process's number, and how many there are."""
        if self.trainer is None:
            return 0, 1
        processes = self.trainer.world_size
        if cases < processes:
            raise UserError(f"{cases} cases are too few for {processes} processes; ask for fewer devices")
        return self.trainer.global_rank, processes

    def _loader(self, cases: GazeDataset, sampler: Sampler[Any] | range) -> DataLoader[Batch]:
        workers = self.config.trainer.workers
        return DataLoader(
            cast("Dataset[Batch]", cases),  # what `collate` makes of its samples
            batch_size=self.config.optimisation.batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            # Its own generator: the loader would else draw from the one that drop-out draws from.
            generator=torch.Generator().manual_seed(self.config.seed),
            multiprocessing_context=_forkserver() if workers else None,
            persistent_workers=workers > 0,
        )


def _forkserver() -> BaseContext:
    """Workers come from a server that imports torch once; a fork of this process would lack its threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["radgaze.store.dataset"])
    return context
