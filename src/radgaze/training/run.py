"""A run: the folder that training leaves, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl
from torch import nn

from radgaze import attribution, models
from radgaze.errors import UserError
from radgaze.objectives.triangle import active_edges
from radgaze.store.batch import Batch
from radgaze.store.dataset import GazeDataset
from radgaze.store.readers import each_against_others
from radgaze.store.store import Store
from radgaze.training import settings
from radgaze.training.config import Config
from radgaze.training.data import batches, dataset, open_store


@dataclass(frozen=True)
class Run:
    """A trained run.

    Attributes:
        path: Its folder.
        config: Its resolved configuration.
    """

    path: Path
    config: Config

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """The run in a folder.

        Raises:
            UserError: The folder is not a run.
        """
        path = Path(path)
        if not path.is_dir():
            raise UserError(f"{path}: no such folder; a run is what `radgaze train --out` wrote")
        return cls(path, settings.read(path / "config.yaml"))

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return self.config.experiment

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the logits."""
        return models.load(self.path / "model")[1]

    @cached_property
    def store(self) -> Store:
        """The store it was trained on.

        Raises:
            UserError: It is no longer where it was.
        """
        if not Path(self.config.data).is_dir():
            raise UserError(
                f"the store of {self.path}, {self.config.data}, is gone; put it back, or change `data:` in"
                f" {self.path / 'config.yaml'}"
            )
        return open_store(self.config)

    def model(self, device: str = "cpu") -> nn.Module:
        """The trained model, in evaluation mode."""
        return models.load(self.path / "model")[0].to(device)

    def dataset(self, split: str) -> GazeDataset:
        """The cases of a split as the run saw them, without augmentation."""
        return dataset(self.store, self.config, split)

    def batches(
        self, split: str, batch_size: int | None = None, case_ids: Sequence[str] | None = None
    ) -> Iterator[Batch]:
        """The cases of a split in order, or those named, as batches."""
        return batches(self.dataset(split), batch_size or self.config.optimisation.batch_size, case_ids)

    def readers(
        self, split: str, case_ids: Sequence[str], batch_size: int = 16
    ) -> Iterator[tuple[Batch, Batch]]:
        """The gaze of one reader and that of all the others, for cases that several read.

        Each reader of a case is the one once, in batches of their own. Readings by someone of no name count
        as readers of their own.
        """
        return each_against_others(
            self.store,
            case_ids,
            lambda store, ids: batches(dataset(store, self.config, split), batch_size, ids),
        )

    def generator(self, model: nn.Module, name: str | None = None) -> attribution.Generator:
        """A heatmap generator for the run's model: the one named, its own, or guided back-propagation."""
        heatmap = self.config.objective.heatmap
        trained_with = any("heatmap" in edge for edge in active_edges(self.config.objective))
        if name is None:
            name = heatmap.generator if trained_with else "guided_backprop"
        if name not in attribution.names():
            raise UserError(
                f"there is no heatmap generator {name!r}; there are {', '.join(attribution.names())}"
            )
        if name == "pylon" and not self.config.model.has_class_maps:
            raise UserError(
                f"the model {self.config.model.architecture} of {self.path} makes no class maps, which the"
                " heatmap generator pylon shows; it takes a run of --experiment pylon"
            )
        if trained_with and name == heatmap.generator and heatmap.readout is not None:
            return attribution.create(name, model, readout=heatmap.readout)
        return attribution.create(name, model)

    def predictions(self) -> pl.DataFrame:
        """case_id, patient, split, probability_<class>, label_<class> of the validation and test cases.

        Raises:
            UserError: The run was stopped before it made any.
        """
        path = self.path / "predictions.parquet"
        if not path.is_file():
            raise UserError(
                f"{self.path} has no predictions: training was not finished; "
                f"go on with radgaze train --resume {self.path}"
            )
        return pl.read_parquet(path, glob=False)

    def history(self) -> pl.DataFrame:
        """A row per epoch: epoch, train/…, validate/…, learning_rate, seconds; empty where there is none."""
        path = self.path / "history.csv"
        return pl.read_csv(path, glob=False) if path.is_file() else pl.DataFrame({"epoch": []})
