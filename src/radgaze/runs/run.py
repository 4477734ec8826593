"""A run: the folder that training leaves, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl
from torch import nn

from radgaze import attribution, models
from radgaze.attribution.registry import REGISTRY
from radgaze.errors import UserError
from radgaze.files import read_parquet, stay_within
from radgaze.models import registry
from radgaze.models.config import ModelConfig
from radgaze.objectives.config import Map
from radgaze.runs import origin, settings
from radgaze.runs.config import Config
from radgaze.runs.data import batches, dataset, open_store
from radgaze.runs.history import HISTORY, read_history
from radgaze.store.batch import Batch
from radgaze.store.dataset import GazeDataset
from radgaze.store.readers import each_against_others
from radgaze.store.store import Store

PREDICTIONS = "predictions.parquet"


def unmet(generator: str, config: ModelConfig) -> str | None:
    """Say which output a heatmap generator needs and the architecture lacks; None if it lacks nothing."""
    missing = set(REGISTRY[generator].needs) - set(config.network.provides)
    if not missing:
        return None
    able = [name for name in registry.names() if missing <= set(registry.find(name).provides)]
    maps = " and ".join(sorted(missing)).replace("_", " ")
    return (
        f"the model {config.architecture} gives no {maps}, which the heatmap generator {generator} needs; "
        f"--model.architecture {' or '.join(able)} does"
    )


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
        stay_within(path)
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
            StoreChangedError: It holds something else than it did.
        """
        if not Path(self.config.data).is_dir():
            raise UserError(
                f"the store of {self.path}, {self.config.data}, is gone; put it back, or change `data:` in"
                f" {self.path / 'config.yaml'}"
            )
        store = open_store(self.config)
        origin.check(store, self.path, "put that one back, or train a run on this one")
        self._check_cases(store)
        self._check_split(store)
        return store

    def compared(self) -> str | None:
        """Why the store could not be compared with the one that the run was trained on, or not all of it.

        Raises:
            StoreChangedError: It was compared, and holds something else.
        """
        try:
            _ = self.store
        except origin.StoreChangedError:
            raise
        except UserError:
            return origin.GONE
        return origin.UNKNOWN if origin.read(self.path) is None else None

    def check_store(self) -> str | None:
        """What of the store is not as it was when the run was trained; None where nothing, or it is gone."""
        try:
            _ = self.store
        except origin.StoreChangedError as error:
            return str(error)
        except UserError:
            return None
        return None

    def _check_cases(self, store: Store) -> None:
        """Raise StoreChangedError where predictions were made of cases that the store has not, or labels."""
        path = self.path / PREDICTIONS
        if origin.read(self.path) is not None or not path.is_file():
            return
        columns = ["case_id", *(f"label_{name}" for name in store.classes)]
        told, there = self.predictions(), store.cases
        known = [name for name in columns if name in told.columns]
        left = told.select(known).with_columns(pl.col(known[1:]).cast(pl.Int64))
        right = there.select(known).with_columns(pl.col(known[1:]).cast(pl.Int64))
        other = left.join(right, on=known, how="anti")
        if len(known) < len(columns) or other.height:
            raise origin.StoreChangedError(
                f"the store {store.path} is not the one that {self.path} was trained on: "
                f"{other.height or told.height} of {told.height} predicted cases are not in it, or have "
                "other labels; put that one back, or train a run on this one"
            )

    def _check_split(self, store: Store) -> None:
        """Raise StoreChangedError where the predicted cases are not those that validate and test.

        `origin.check` finds it as well, but not of runs from before it kept the split.
        """
        if (self.path / PREDICTIONS).is_file():
            own = self.predictions().select("case_id", "split")
            if own.join(store.cases, on=["case_id", "split"], how="anti").height:
                raise origin.StoreChangedError(origin.drawn_otherwise(self.path))

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
        trained_with = self.config.objective.compares(Map.HEATMAP)
        if name is None:
            name = heatmap.generator if trained_with else "guided_backprop"
        if name not in attribution.names():
            raise UserError(
                f"there is no heatmap generator {name!r}; there are {', '.join(attribution.names())}"
            )
        missing = unmet(name, self.config.model)
        if missing:
            raise UserError(f"{self.path}: {missing}")
        if trained_with and name == heatmap.generator and heatmap.readout is not None:
            return attribution.create(name, model, readout=heatmap.readout)
        return attribution.create(name, model)

    def predictions(self) -> pl.DataFrame:
        """case_id, patient, split, probability_<class>, label_<class> of the validation and test cases.

        Raises:
            UserError: The run was stopped before it made any, or they are damaged.
        """
        path = self.path / PREDICTIONS
        if not path.is_file():
            raise UserError(
                f"{self.path} has no predictions: training was not finished; "
                f"go on with radgaze train --resume {self.path}"
            )
        advice = f"remove it, and make it anew: radgaze train --resume {self.path}"
        table = read_parquet(path, ("case_id", "patient", "split"), advice)
        figures = [name for name in table.columns if name.startswith(("probability_", "label_"))]
        if (
            not all(table[name].dtype.is_numeric() for name in figures)
            or table.null_count().sum_horizontal()[0]
        ):
            raise UserError(f"{path} has cells that are no predictions; {advice}")
        return table

    def history(self) -> pl.DataFrame:
        """A row per epoch: epoch, train/…, validate/…, learning_rate, seconds; empty where there is none.

        Raises:
            UserError: It is damaged.
        """
        path = self.path / HISTORY
        return read_history(path) if path.is_file() else pl.DataFrame({"epoch": []})
