"""The plan of a grid: every experiment for every seed, or for every fold of a cross-validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.options import FieldError
from radgaze.reproduction.options import Protocol, ReproduceOptions, Selection
from radgaze.runs import origin, settings
from radgaze.runs.config import Config
from radgaze.runs.requirements import unsuited
from radgaze.store.store import Store

SEEDS = {"faithful": 1, "honest": 3}
"""Default number of seeds of each protocol."""


@dataclass(frozen=True)
class Job:
    """One run of the grid.

    Attributes:
        experiment: Name of the experiment, with its control (`experiments.with_control`).
        number: Seed of the run; in a cross-validation, repetition · folds + fold.
        label: Label in messages, such as "seed 42".
        config: Resolved configuration of the run.
    """

    experiment: str
    number: int
    label: str = field(compare=False)
    config: Config = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """Path of the run's folder below `runs`, such as "baseline/seed-42"."""
        return f"{self.experiment}/seed-{self.number}"

    @property
    def processes(self) -> int:
        """Number of processes that train together."""
        devices = self.config.trainer.devices
        return max(1, int(devices)) if str(devices).lstrip("-").isdecimal() else 1

    @property
    def gpus(self) -> int:
        """Number of GPUs to train on, 0 for the CPU; 1 where no number is configured, since more would
        enlarge the batches."""
        return 0 if self.config.trainer.accelerator == "cpu" else self.processes

    def __str__(self) -> str:
        return f"{self.experiment} {self.label}"


@dataclass(frozen=True)
class Plan:
    """A whole grid.

    Attributes:
        protocol: The paper's ("faithful") or ours ("honest").
        selection: Split whose AUC selects the checkpoint.
        folds: Number of folds of the cross-validation; None without one.
        store: Absolute path of the store.
        identity: Identity of the preparation of the store, from its manifest.
        contents: Hashes of the store's contents, see `origin.contents`.
        overrides: Nested fields that replace those of every experiment.
        jobs: The runs, seed by seed, so that every experiment soon has a run.
    """

    protocol: Protocol
    selection: Selection
    folds: int | None
    store: str
    identity: Mapping[str, object]
    contents: Mapping[str, str]
    overrides: Mapping[str, object]
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class _Repetition:
    """One seed, or one fold for one seed; see `Job` for number and label."""

    number: int
    seed: int
    label: str
    split: dict[str, object]


def plan(
    data: str | Path,
    options: ReproduceOptions = ReproduceOptions(),  # noqa: B008 - frozen
    *,
    overrides: Mapping[str, object] | None = None,
) -> Plan:
    """Plan a grid on a store.

    The faithful protocol uses the published split, and seeds differ only in initialisation and order. The
    honest protocol draws a split of the patients, stratified by class, with each seed.

    Args:
        data: Folder of the prepared store.
        options: Options of the grid.
        overrides: Nested fields of the configuration that replace those of every experiment.

    Raises:
        UserError: There is no such store or field, or the store and the options do not fit together.
    """
    overrides = dict(overrides or {})
    if options.cross_validate is not None and "split" in overrides:
        raise UserError("`cross_validate` makes the splits itself; leave out the fields of `split`")
    for name, value in experiments.flat(overrides).items():
        if isinstance(value, float) and not isfinite(value):  # JSON has no such number
            raise UserError(f"`{name}` must be a finite number, got {value}")
    store = Store.open(data)
    if options.protocol == "faithful" and not store.knows_published and "split" not in overrides:
        raise UserError(
            f"{store.path} does not know the published split that `protocol='faithful'` tests on: prepare it "
            "with that split, or give `split.kind=store` for the store's own"
        )
    path = str(store.path.resolve())
    selection = {"validation": "validate", "test": "test"}[options.select]

    def job(name: str, repetition: _Repetition) -> Job:
        planned = {"data": path, "selection": selection, "seed": repetition.seed, "split": repetition.split}
        fields = experiments.merge(planned, overrides)
        experiment, control = experiments.control_of(name)
        if control:
            fields = experiments.merge(fields, {"gaze": {"control": control}})
        config = settings.resolve(experiment, protocol=options.protocol, **fields)
        return Job(name, repetition.number, repetition.label, config)

    repetitions = list(_repetitions(options))
    names = [
        name
        for experiment in chosen(options.only)
        for name in (experiment, *_controlled(job(experiment, repetitions[0]).config, options.controls or ()))
    ]
    if options.controls and not any(experiments.control_of(name)[1] for name in names):
        raise FieldError(
            "controls", f"{', '.join(options.controls)} fits none of the experiments; leave it out"
        )

    return Plan(
        protocol=options.protocol,
        selection=options.select,
        folds=options.cross_validate,
        store=path,
        identity=store.manifest.get("identity", {}),
        contents=origin.contents(store),
        overrides=overrides,
        jobs=tuple(job(name, repetition) for repetition in repetitions for name in names),
    )


def _controlled(config: Config, controls: Sequence[str]) -> Iterator[str]:
    """Yield the names of an experiment with each of the controls that it can have, see `unsuited`.

    Raises:
        UserError: The configuration has a control itself.
    """
    if controls and config.gaze.control != "none":
        raise UserError("`controls` sets `gaze.control` of each run itself; leave one of the two out")
    for control in dict.fromkeys(controls):
        gaze = replace(config.gaze, control=control)  # type: ignore[arg-type]  # the options check the name
        if unsuited(replace(config, gaze=gaze)) is None:
            yield experiments.with_control(config.experiment, control)


def chosen(only: Sequence[str] | None = None) -> list[str]:
    """Return the names of experiments in the order of the paper; for None all but those of `BY_NAME`."""
    catalogue = experiments.catalogue()
    if only is None:
        return [each.name for each in catalogue if each.family not in experiments.BY_NAME]
    return [each.name for each in catalogue if each.name in only]


def _repetitions(options: ReproduceOptions) -> Iterator[_Repetition]:
    count = SEEDS[options.protocol] if options.seeds is None else options.seeds
    for repetition, seed in enumerate(range(options.seed, options.seed + count)):
        folds = options.cross_validate
        if folds is None:
            kind = "published" if options.protocol == "faithful" else "stratified"
            yield _Repetition(seed, seed, f"seed {seed}", {"kind": kind})
            continue
        for fold in range(folds):
            split: dict[str, object] = {"kind": "folds", "folds": folds, "fold": fold}
            label = f"seed {seed} fold {fold + 1}/{folds}"
            yield _Repetition(repetition * folds + fold, seed, label, split)
