"""A run: the folder that training writes, with its configuration, model, store and predictions.

Importing this does not import torch, nor does opening a run: a wrong folder is told at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import polars as pl

from radgaze import models
from radgaze.errors import UserError, call
from radgaze.files import as_path, read_parquet
from radgaze.models import factories
from radgaze.models.config import given_of, with_given
from radgaze.objectives.config import Map
from radgaze.runs import origin, settings, vote
from radgaze.runs.config import Config
from radgaze.runs.history import HISTORY, read_history
from radgaze.runs.memory import keep_memory_of
from radgaze.runs.run_store import open_store
from radgaze.runs.vote import Vote
from radgaze.store.digest import file_digest
from radgaze.store.store import Store

if TYPE_CHECKING:
    from torch import nn

    from radgaze.attribution import Generator
    from radgaze.store.batch import Batch
    from radgaze.store.dataset import GazeDataset

PREDICTIONS = "predictions.parquet"
WITHOUT_GAZE = "without_gaze"
"""Folder, in that of a run that reads gaze, of the run of the same weights without it."""


@dataclass(frozen=True)
class Run:
    """A trained run.

    Attributes:
        path: Folder of the run.
        config: Resolved configuration.
    """

    path: Path
    config: Config = field(repr=False)

    @classmethod
    def open(cls, path: Path | str, *, model: object = None, trust: bool = False) -> Self:
        """Open the run in a folder.

        Args:
            path: The folder.
            model: For a run of a network of your own: a `torch.nn.Module` of the same architecture, which is
                copied and gets the trained weights, or a function that makes one. None for what the factory
                makes that the run names.
            trust: Whether a factory that the run names may be imported, which runs its code.

        Raises:
            UserError: The folder is missing or not a run, or its configuration is damaged; or `model` is
                given for a run of one of radgaze's networks.
        """
        path = as_path(path, "path")
        run = cls(path, settings.of_run(path))
        if trust:
            run._trust()
        return run if model is None else run.with_network(model)

    def with_network(self, network: object) -> Self:
        """Return the run with the module, or the function that makes it, of its own network, see `open`.

        Raises:
            UserError: The run's network is one of radgaze's.
        """
        if not self.config.model.is_own:
            name = self.config.model.architecture
            raise UserError(f"the network of {self.path} is radgaze's own {name}: leave `model` out")
        return replace(self, config=replace(self.config, model=with_given(self.config.model, network)))

    def _trust(self) -> None:
        """Allow the factories that the run, or the runs of a vote, name to be imported."""
        voters = () if self.vote is None else self.vote.voters
        for config in (self.config, *(settings.of_run(self.path / voter.path) for voter in voters)):
            if config.model.factory is not None:
                factories.allow(config.model.factory)

    @property
    def name(self) -> str:
        """Name of the run: of its folder, or for one in `WITHOUT_GAZE` of the run that reads gaze."""
        folder = self.path.resolve()
        return f"{folder.parent.name}, without gaze" if folder.name == WITHOUT_GAZE else folder.name

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return self.config.experiment

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the logits."""
        return models.load_classes(self.voters[0].path / "model")

    @cached_property
    def exclusive(self) -> bool:
        """Whether each case has exactly one of the classes, so that the most probable is predicted.

        Runs from before this was recorded have it of a softmax, or else of the labels of the predicted cases.

        Raises:
            UserError: The record of the store is damaged.
        """
        if self.config.objective.classification == "softmax":
            return True
        recorded = origin.read(self.path)
        if recorded is not None and recorded.exclusive is not None:
            return recorded.exclusive
        try:
            predictions = self.predictions()
        except UserError:  # training was not finished
            return False
        labels = pl.sum_horizontal(f"label_{name}" for name in self.classes)
        return bool(predictions.select((labels == 1).all()).item())

    @property
    def weights(self) -> Path:
        """File of the trained weights."""
        return self.path / "model" / "model.safetensors"

    @cached_property
    def vote(self) -> Vote | None:
        """The vote that the run is; None for a run that was trained."""
        return vote.read(self.path)

    @cached_property
    def voters(self) -> tuple[Run, ...]:
        """The trained runs whose predictions and maps are combined: those of a vote, or this one alone.

        Raises:
            UserError: A run of the vote is gone, or was trained again; or their probabilities are of
                different kinds.
        """
        if self.vote is None:
            return (self,)
        network = given_of(self.config.model)
        runs = tuple(_voter(self.path / voter.path, network) for voter in self.vote.voters)
        for run, voter in zip(runs, self.vote.voters, strict=True):
            same = run.weights.is_file() and file_digest(run.weights) == voter.weights
            if not same or len(run.classes) != len(voter.thresholds):
                raise UserError(
                    f"{run.path} has other weights than when it voted in {self.path}; vote again, into "
                    "another folder"
                )
        kinds = {run.config.objective.classification for run in runs}
        if len(kinds) > 1:
            raise UserError(
                f"the runs of the vote {self.path} differ in `objective.classification`, "
                f"{' against '.join(sorted(kinds))}, so that their probabilities do not fit together; vote "
                "over runs with the same"
            )
        return runs

    @cached_property
    def store(self) -> Store:
        """The store on which the run was trained.

        Raises:
            UserError: The store is missing or cannot be opened.
            StoreChangedError: The content of the store has changed.
        """
        if not Path(self.config.data).is_dir():
            raise UserError(
                f"the store of {self.path}, {self.config.data}, is gone; put it back, or change "
                f"`data` in {self.path / 'config.yaml'}"
            )
        store = open_store(self.config)
        origin.check(store, self.path, "put that one back, or train a run on this one")
        self._check_cases(store)
        self._check_split(store)
        return store

    def compared(self) -> str | None:
        """State why the store could not, or not fully, be compared with the one that the run was trained on.

        Returns:
            The reason; None where the store was compared and is the same.

        Raises:
            StoreChangedError: The store was compared, and has changed.
        """
        try:
            _ = self.store
        except origin.StoreChangedError:
            raise
        except UserError:
            return origin.GONE
        return origin.UNKNOWN if origin.read(self.path) is None else None

    def check_store(self) -> str | None:
        """Describe how the store has changed since training; None where it has not, or cannot be read."""
        try:
            _ = self.store
        except origin.StoreChangedError as error:
            return str(error)
        except UserError:
            return None
        return None

    def _check_cases(self, store: Store) -> None:
        """Raise StoreChangedError where the store lacks predicted cases, or has other labels for them."""
        path = self.path / PREDICTIONS
        if origin.read(self.path) is not None or not path.is_file():
            return
        columns = ["case_id", *(f"label_{name}" for name in store.classes)]
        predicted = self.predictions()
        shared = [name for name in columns if name in predicted.columns]
        left, right = (
            table.select(shared).with_columns(pl.col(shared[1:]).cast(pl.Int64))
            for table in (predicted, store.cases)
        )
        missing = left.join(right, on=shared, how="anti").height
        if len(shared) < len(columns) or missing:
            raise origin.StoreChangedError(
                f"the store {store.path} is not the one that {self.path} was trained on: "
                f"{missing or predicted.height} of {predicted.height} predicted cases are not in it, or have "
                "other labels; put that one back, or train a run on this one"
            )

    def _check_split(self, store: Store) -> None:
        """Raise StoreChangedError where the predicted cases are not the validation and test cases.

        `origin.check` finds this too, but not in runs from before the split was recorded.
        """
        if (self.path / PREDICTIONS).is_file():
            predicted = self.predictions().select("case_id", "split")
            if predicted.join(store.cases, on=["case_id", "split"], how="anti").height:
                raise origin.StoreChangedError(origin.other_split(self.path))

    def model(self, device: str = "cpu") -> nn.Module:
        """Load the trained model onto a device, in evaluation mode; see also `keep_memory_of`.

        Raises:
            UserError: The run is a vote, or its model is damaged.
        """
        if self.vote is not None:
            raise UserError(
                f"{self.path} is a vote of {len(self.vote.voters)} runs and has no model of its own; do "
                "this with one of them"
            )
        keep_memory_of(self.config.model)
        return models.load(self.path / "model", given=given_of(self.config.model))[0].to(device)

    def dataset(self, split: str) -> GazeDataset:
        """Make the data set of a split with the run's settings, without augmentation.

        It keeps no images in memory: they are read once or twice, where training reads them every epoch.
        """
        from radgaze.runs.data import dataset, uncached

        return dataset(self.store, uncached(self.config), split)

    def with_evidence(self, split: str) -> list[str]:
        """Return the ids of a split's cases with gaze, boxes or regions, in the order of the store."""
        cases = self.dataset(split)
        chosen = cases.gazed | cases.marked
        return [case_id for case_id, has in zip(cases.case_ids, chosen.tolist(), strict=True) if has]

    def batches(
        self, split: str, batch_size: int | None = None, case_ids: Sequence[str] | None = None
    ) -> Iterator[Batch]:
        """Load the cases of a split as batches.

        Args:
            split: Name of the split.
            batch_size: Number of cases in a batch; None for that of training.
            case_ids: Ids of the cases to load, in this order; None for all cases.

        Raises:
            UserError: The split has no case of an id.
        """
        from radgaze.runs.data import batches

        return batches(self.dataset(split), batch_size or self.config.optimisation.batch_size, case_ids)

    def readers(
        self, split: str, case_ids: Sequence[str], batch_size: int = 16
    ) -> Iterator[tuple[Batch, Batch]]:
        """Load each reader's gaze with the gaze of all other readers, for cases with several readers.

        Each reader of a case comes first in exactly one pair. A reading without a reader's name counts as a
        separate reader.

        Args:
            split: Name of the split.
            case_ids: Ids of the cases; those with one reader are left out.
            batch_size: Number of cases in a batch.

        Yields:
            Batches of the same cases: with the gaze of one reader, and with that of all the others.
        """
        from radgaze.runs.data import batches, dataset, uncached
        from radgaze.store.readers import each_against_others

        config = uncached(self.config)
        return each_against_others(
            self.store,
            case_ids,
            lambda store, ids: batches(dataset(store, config, split), batch_size, ids),
        )

    def generator(self, model: nn.Module, name: str | None = None) -> Generator:
        """Create a heatmap generator for the run's model.

        Args:
            model: Model of the run.
            name: Name of the generator; None for the one used in training, or guided back-propagation for a
                run that was trained without heatmaps.

        Raises:
            UserError: There is no such generator, or it does not apply to this model.
        """
        from radgaze import attribution
        from radgaze.attribution.registry import REGISTRY
        from radgaze.objectives import heatmaps
        from radgaze.objectives.terms import compares
        from radgaze.runs.requirements import unmet

        heatmap = self.config.objective.heatmap
        trained_with = compares(self.config.objective, Map.HEATMAP)
        if name is None:
            usual = "backprop" if "guided_backprop" in self.config.model.lacks else "guided_backprop"
            name = heatmap.generator if trained_with else usual
        if name not in attribution.names():
            raise UserError(
                f"there is no heatmap generator {name!r}; there are {', '.join(attribution.names())}"
            )
        missing = unmet(name, self.config.model)
        if missing:
            raise UserError(f"{self.path}: {missing}")
        if trained_with and name == heatmap.generator:
            return heatmaps.create(model, replace(heatmap, compiled=False), "max")
        refused = REGISTRY[name].unsupported(models.scoring(model), self.config.input.size)
        if refused:
            raise UserError(f"{self.path}: the method {name} does not apply: {refused}")
        return attribution.create(name, model)

    def predictions(self) -> pl.DataFrame:
        """Read the predictions of the validation and test cases.

        Returns:
            A row per case: case_id, patient, split, probability_<class>… and label_<class>….

        Raises:
            UserError: Training, or a vote, was stopped before it predicted, or the file is damaged.
        """
        path = self.path / PREDICTIONS
        made, again = "training", call("train", resume=self.path)
        if self.vote is not None:
            made, again = "the vote", "the command that made the vote"
        if not path.is_file():
            raise UserError(f"{self.path} has no predictions: {made} was not finished; go on with {again}")
        advice = f"remove it, and make it again with {again}"
        table = read_parquet(path, ("case_id", "patient", "split"), advice)
        values = table.select(pl.col("^(probability|label)_.*$"))
        numbers = all(dtype.is_numeric() for dtype in values.dtypes)
        whole = numbers and all(values.select(pl.all().cast(pl.Float64).is_finite().all()).row(0))
        if not whole or table.null_count().sum_horizontal()[0]:
            raise UserError(f"{path} has cells that are no predictions; {advice}")
        return table

    def history(self) -> pl.DataFrame:
        """Read the history: a row per epoch, see `read_history`; empty where there is no file.

        Raises:
            UserError: The file is damaged.
        """
        path = self.path / HISTORY
        return read_history(path) if path.is_file() else pl.DataFrame({"epoch": []})


def _voter(path: Path, network: object) -> Run:
    """Open a run of a vote; one of an own network with the object that the vote was opened with, if any."""
    run = Run.open(path)
    return run.with_network(network) if network is not None and run.config.model.is_own else run
