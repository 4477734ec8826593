"""The plan of a grid: every experiment for every seed, or for every fold of a cross-validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from radgaze import experiments
from radgaze.console import note
from radgaze.errors import UserError
from radgaze.options import FieldError
from radgaze.reproduction.options import ReproduceOptions
from radgaze.reproduction.plans import SPLITS, check_overrides, controlled
from radgaze.reproduction.plans import Job as Job
from radgaze.reproduction.plans import Plan as Plan
from radgaze.reproduction.reasons import plan_reasons
from radgaze.runs import origin, settings
from radgaze.store.store import Store

SEEDS = {"faithful": 1, "honest": 3}
"""Default number of seeds of each protocol."""


@dataclass(frozen=True)
class _Repetition:
    """One seed, or one fold for one seed; see `Job` for number and label."""

    number: int
    seed: int
    label: str
    split: dict[str, object]


def plan(
    data: str | Path | None,
    options: ReproduceOptions = ReproduceOptions(),  # noqa: B008 - frozen
    *,
    overrides: Mapping[str, object] | None = None,
) -> Plan:
    """Plan a grid on a store, or on several of them (`matrix="reasons"`, see `plan_reasons`).

    The faithful protocol uses the published split, and seeds differ only in initialisation and order. The
    honest protocol draws a split of the patients, stratified by class, with each seed; on a store with twins
    it keeps the store's split, since only the test cases of that one have twins.

    Args:
        data: Folder of the prepared store; None where the options name the stores.
        options: Options of the grid.
        overrides: Nested fields of the configuration that replace those of every experiment.

    Raises:
        UserError: There is no such store or field, or the store and the options do not fit together.
    """
    overrides = dict(overrides or {})
    if options.matrix == "reasons":
        if data is not None:
            raise UserError("`matrix=reasons` takes its stores from `stores`; leave out `data`")
        return plan_reasons(options, overrides)
    if data is None:
        raise UserError("`data` is missing: name the prepared store")
    if options.cross_validate is not None and "split" in overrides:
        raise UserError("`cross_validate` makes the splits itself; leave out the fields of `split`")
    check_overrides(overrides)
    store = Store.open(data)
    if options.protocol == "faithful" and not store.knows_published and "split" not in overrides:
        raise UserError(
            f"{store.path} does not know the published split that `protocol='faithful'` tests on: prepare it "
            "with that split, or give `split.kind=store` for the store's own"
        )
    path = str(store.path.resolve())
    selection = SPLITS[options.select]

    def job(name: str, repetition: _Repetition) -> Job:
        planned = {"data": path, "selection": selection, "seed": repetition.seed, "split": repetition.split}
        fields = experiments.merge(planned, overrides)
        experiment, control = experiments.control_of(name)
        if control:
            fields = experiments.merge(fields, {"gaze": {"control": control}})
        config = settings.resolve(experiment, protocol=options.protocol, **fields)
        return Job(name, repetition.number, repetition.label, config)

    kind = _split(options, store)
    _tell_of_split(kind, store, overrides)
    repetitions = list(_repetitions(options, kind))
    names = [
        name
        for experiment in chosen(options.only)
        for name in (experiment, *controlled(job(experiment, repetitions[0]).config, options.controls or ()))
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


def chosen(only: Sequence[str] | None = None) -> list[str]:
    """Return the names of experiments in the order of the paper; for None all but those of `BY_NAME`."""
    catalogue = experiments.catalogue()
    if only is None:
        return [each.name for each in catalogue if each.family not in experiments.BY_NAME]
    return [each.name for each in catalogue if each.name in only]


def _split(options: ReproduceOptions, store: Store) -> str:
    """The kind of the split of each seed, see `plan`."""
    if options.cross_validate is not None:
        return "folds"
    if options.protocol == "faithful":
        return "published"
    return "store" if _has_twins(store) else "stratified"


def _tell_of_split(kind: str, store: Store, overrides: Mapping[str, object]) -> None:
    """Print what the split means for the twins of a store."""
    if kind == "store" and "split" not in overrides:
        note(
            "The store has twins of its test cases, so that all seeds keep its split; "
            "`split.kind=stratified` draws one for each seed, whose test cases have few twins"
        )
    if kind == "folds" and _has_twins(store):
        note(
            "Warning: in `cross_validate` the store's training cases are tested as well, which have no twins "
            "and may show a confounder that follows their class"
        )


def _has_twins(store: Store) -> bool:
    """Whether a test case of the store's own split has a twin."""
    of_test = store.cases.filter(pl.col("split") == "test")["case_id"]
    return bool(store.twins["twin_of"].is_in(of_test.implode()).any())


def _repetitions(options: ReproduceOptions, kind: str) -> Iterator[_Repetition]:
    count = SEEDS[options.protocol] if options.seeds is None else options.seeds
    for repetition, seed in enumerate(range(options.seed, options.seed + count)):
        folds = options.cross_validate
        if folds is None:
            yield _Repetition(seed, seed, f"seed {seed}", {"kind": kind})
            continue
        for fold in range(folds):
            split: dict[str, object] = {"kind": "folds", "folds": folds, "fold": fold}
            label = f"seed {seed} fold {fold + 1}/{folds}"
            yield _Repetition(repetition * folds + fold, seed, label, split)
