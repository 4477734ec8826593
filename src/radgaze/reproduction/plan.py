"""What a grid runs: every experiment with every seed, or with every fold of a cross-validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.runs import origin, settings
from radgaze.runs.config import Config
from radgaze.store.store import Store

SEED = 42
"""The first seed; the paper's only one."""

SEEDS = {"faithful": 1, "honest": 3}
"""How many seeds, where the user does not say."""

Protocol = Literal["faithful", "honest"]
Selection = Literal["validation", "test"]


@dataclass(frozen=True)
class Job:
    """One run of the grid.

    Attributes:
        experiment: Its name.
        number: Its seed; in a cross-validation repetition · folds + fold.
        label: What the user is shown, e.g. "seed 42".
        config: The run, resolved.
    """

    experiment: str
    number: int
    label: str = field(compare=False)
    config: Config = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """Where its folder lies under DIR/runs: "baseline/seed-42"."""
        return f"{self.experiment}/seed-{self.number}"

    def __str__(self) -> str:
        return f"{self.experiment} {self.label}"


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: The job.
        reason: Why it failed; None where it is done.
        seconds: How long it took, this time.
    """

    job: Job
    reason: str | None
    seconds: float


@dataclass(frozen=True)
class Plan:
    """A whole grid.

    Attributes:
        protocol: The paper's ("faithful") or ours ("honest").
        selection: Which split's AUC chooses the checkpoint.
        folds: Of the cross-validation, or None.
        store: Path of the store, absolute.
        identity: What the store says it was made from.
        contents: Hashes of what the store holds.
        overrides: Laid over every experiment, nested.
        jobs: Seed by seed, so that the first rows of every table are there soon.
    """

    protocol: Protocol
    selection: Selection
    folds: int | None
    store: str
    identity: Mapping[str, Any]
    contents: Mapping[str, str]
    overrides: Mapping[str, Any]
    jobs: tuple[Job, ...]


def plan(
    data: str | Path,
    *,
    protocol: Protocol = "honest",
    seeds: int | None = None,
    first_seed: int = SEED,
    only: Sequence[str] | None = None,
    selection: Selection = "validation",
    folds: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan a grid on a store.

    The faithful protocol keeps the published split and differs between seeds in initialisation and order
    alone; the honest one draws a stratified split by patient from each seed.

    Args:
        data: The prepared store.
        protocol: The paper's, or ours.
        seeds: How many; by default 1 in the faithful protocol and 3 in the honest one.
        first_seed: The first of them; the others follow it.
        only: Experiments to run; by default all.
        selection: The split whose AUC chooses the checkpoint: "test" is what the original code did.
        folds: Cross-validate instead, as often as there are seeds.
        overrides: Fields of the configuration, nested, laid over each experiment.

    Raises:
        UserError: No such store, experiment or field, or numbers that make no plan.
    """
    overrides = dict(overrides or {})
    count = SEEDS[protocol] if seeds is None else seeds
    if count < 1:
        raise UserError(f"--seeds is {count}; it must be at least 1")
    if folds is not None:
        _check_folds(folds, protocol, overrides)
    store = Store.open(data)
    if protocol == "faithful" and not store.knows_published and "split" not in overrides:
        raise UserError(
            f"{store.path} does not know the published split that --protocol faithful tests on: prepare it "
            "with --split published, or give --split.kind store for the store's own"
        )
    given: dict[str, Any] = {
        "data": str(store.path.resolve()),
        "selection": {"validation": "validate", "test": "test"}[selection],
    }

    def job(experiment: str, number: int, seed: int, label: str, split: dict[str, Any]) -> Job:
        over = experiments.merge({**given, "seed": seed, "split": split}, overrides)
        return Job(experiment, number, label, settings.resolve(experiment, protocol=protocol, **over))

    return Plan(
        protocol=protocol,
        selection=selection,
        folds=folds,
        store=given["data"],
        identity=store.manifest.get("identity", {}),
        contents=origin.contents(store),
        overrides=overrides,
        jobs=tuple(
            job(experiment, *one)
            for one in _repetitions(protocol, [first_seed + k for k in range(count)], folds)
            for experiment in chosen(only)
        ),
    )


def chosen(only: Sequence[str] | None = None) -> list[str]:
    """The experiments asked for, or all of them, in the paper's order.

    Raises:
        UserError: There is none of that name.
    """
    known = experiments.names()
    unknown = [name for name in only or () if name not in known]
    if unknown:
        raise UserError(
            f"--only {' '.join(unknown)}: there is no such experiment; there are {', '.join(known)}"
        )
    return [each.name for each in experiments.catalogue() if each.name in set(only or known)]


def _repetitions(
    protocol: Protocol, seeds: Sequence[int], folds: int | None
) -> Iterator[tuple[int, int, str, dict[str, Any]]]:
    """Number, seed, label and split of each."""
    for repetition, seed in enumerate(seeds):
        if folds is None:
            kind = "published" if protocol == "faithful" else "stratified"
            yield seed, seed, f"seed {seed}", {"kind": kind}
            continue
        for fold in range(folds):
            split = {"kind": "folds", "folds": folds, "fold": fold}
            yield repetition * folds + fold, seed, f"seed {seed} fold {fold + 1}/{folds}", split


def _check_folds(folds: int, protocol: Protocol, overrides: Mapping[str, Any]) -> None:
    if folds < 3:  # one tests, one validates, the others train
        raise UserError(f"--cross-validate is {folds}; it takes at least 3 folds")
    if protocol == "faithful":
        raise UserError(
            "--cross-validate goes with --protocol honest: the faithful protocol has the published split"
        )
    if "split" in overrides:
        raise UserError("--cross-validate makes the splits itself; leave the options --split.… out")
