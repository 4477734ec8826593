"""The loaders of training cases, whose order depends on seed and epoch, not on the number of workers."""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext
from typing import cast

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
    """The training cases of a store, and the cases by which the epoch is chosen (`Config.selection`).

    Args:
        store: Prepared store.
        config: Configuration of the run.

    Raises:
        UserError: One of the two splits has no case.
    """

    def __init__(self, store: Store, config: Config) -> None:
        super().__init__()
        self.store, self.config = store, config
        self.train_cases = dataset(
            store,
            config,
            "train",
            augment=config.input.augment,
            per_class=True,
            controlled=True,
            parts=True,
            lungs=config.counterfactual.uses_lungs,
        )
        # A model that reads gaze is chosen by what it was given in training; other models read none there.
        controlled = config.model.reads_gaze
        self.validation_cases = dataset(store, config, config.selection, controlled=controlled, parts=True)
        for split, cases in (("train", self.train_cases), (config.selection, self.validation_cases)):
            if not len(cases):
                raise UserError(f"{store.path} holds no case of the split {split!r}: nothing to {split} on")

    def train_dataloader(self) -> DataLoader[Batch]:
        rank, processes = self._place(len(self.train_cases))
        return self._loader(self.train_cases, self._shuffle(rank, processes))

    def gaze_turns(self, processes: int) -> float | None:
        """The mean number of draws of a case with gaze in an epoch; None if each case is drawn once.

        Args:
            processes: Number of processes that train together.
        """
        shuffled = self._shuffle(0, processes)
        return shuffled.turns if isinstance(shuffled, GazeShuffle) else None

    def _shuffle(self, rank: int, processes: int) -> SeededShuffle | GazeShuffle:
        cases, seed, settings = self.train_cases, self.config.seed, self.config.optimisation
        if settings.gaze_fraction is None:
            keep = settings.last_batch == "keep"
            return SeededShuffle(cases, seed, settings.batch_size, rank, processes, keep_last=keep)
        return GazeShuffle(cases, settings.gaze_fraction, seed, settings.batch_size, rank, processes)

    def val_dataloader(self) -> DataLoader[Batch]:
        cases = len(self.validation_cases)
        rank, processes = self._place(cases)
        # Each case in one process; none twice to make them even, which would count in the AUC.
        return self._loader(self.validation_cases, range(rank, cases, processes))

    def _place(self, cases: int) -> tuple[int, int]:
        """The number of this process, and of all processes."""
        if self.trainer is None:
            return 0, 1
        processes = self.trainer.world_size
        if cases < processes:
            raise UserError(
                f"{cases} cases are too few for {processes} processes; give fewer `trainer.devices`"
            )
        return self.trainer.global_rank, processes

    def _loader(
        self, cases: GazeDataset, sampler: Sampler[int] | Sampler[tuple[int, int]] | range
    ) -> DataLoader[Batch]:
        workers = self.config.trainer.workers
        return DataLoader(
            cast("Dataset[Batch]", cases),  # the loader's type is that of the batches which `collate` makes
            batch_size=self.config.optimisation.batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            # A separate generator: the loader would else draw from the one that drop-out draws from.
            generator=torch.Generator().manual_seed(self.config.seed),
            multiprocessing_context=_forkserver() if workers else None,
            persistent_workers=workers > 0,
        )


def _forkserver() -> BaseContext:
    """Workers come from a server that imports torch once; a fork of this process would lack its threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["radgaze.store.dataset"])
    return context
