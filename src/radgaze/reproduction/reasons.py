"""The plan of the matrix "reasons": experiments and their controls of gaze on several stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

from radgaze import experiments
from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.options import FieldError
from radgaze.reproduction.options import CLEAN, SEED, ReproduceOptions, named_stores
from radgaze.reproduction.plans import SPLITS, Job, Plan, PlannedStore, check_overrides, controlled
from radgaze.runs import origin, settings
from radgaze.runs.config import Config
from radgaze.store.store import Store

SEEDS = 5
"""Default number of seeds."""

EXPERIMENTS = (
    *("baseline", "no_decoder", "set1_guided", "set3_guided", "exchange", "exchange_guided"),
    *("rrr", "gain_ext", "energy", "background"),
)
"""Default experiments."""

CONTROLS = ("shuffled", "lungs")
"""Default controls of gaze."""

REFERENCE = "baseline"
"""The experiment that is trained on the clean store."""


@dataclass(frozen=True)
class _Cell:
    """An experiment, with its control, on a store."""

    store: str
    experiment: str


def plan_reasons(options: ReproduceOptions, overrides: Mapping[str, object]) -> Plan:
    """Plan a grid on the stores of `options.stores`, with their own splits.

    On the clean store only the baseline is trained, the reference of the gap that the others close.

    Args:
        options: Options of the grid.
        overrides: Nested fields of the configuration that replace those of every run.

    Raises:
        UserError: A store cannot be read, two have different classes, or a field does not exist.
    """
    check_overrides(overrides)
    templates = named_stores(options.stores or ())
    first, count = options.seed, SEEDS if options.seeds is None else options.seeds
    seeds = range(first, first + count)
    paths = {
        (name, seed): str(Path(template.replace(SEED, str(seed))).resolve())
        for name, template in templates.items()
        for seed in seeds
    }
    stores = _opened(paths)

    named = CONTROLS if options.controls is None else options.controls
    chosen = [*_experiments(options)]
    configs: dict[str, Config] = {}

    def config(name: str) -> Config:
        if name not in configs:
            configs[name] = _resolved(name, options, overrides)
        return configs[name]

    if options.controls is None and any(config(each).gaze.control != "none" for each in chosen):
        raise UserError("`matrix='reasons'` sets `gaze.control` of each run itself; leave `gaze.control` out")
    cells = [_Cell(CLEAN, REFERENCE)] if CLEAN in templates else []
    for name in templates:
        if name != CLEAN:
            for each in chosen:
                cells += [_Cell(name, each), *(_Cell(name, c) for c in controlled(config(each), named))]
    if options.controls and not any(experiments.control_of(cell.experiment)[1] for cell in cells):
        raise FieldError(
            "controls", f"{', '.join(options.controls)} fits none of the experiments; leave it out"
        )
    return Plan(
        protocol=options.protocol,
        selection=options.select,
        folds=None,
        store="",
        identity={},
        contents={},
        overrides=overrides,
        jobs=tuple(
            Job(
                cell.experiment,
                seed,
                f"seed {seed}",
                replace(deepcopy(config(cell.experiment)), data=paths[cell.store, seed], seed=seed),
                cell.store,
            )
            for seed in seeds
            for cell in cells
        ),
        matrix="reasons",
        stores=stores,
    )


def _resolved(name: str, options: ReproduceOptions, overrides: Mapping[str, object]) -> Config:
    """The configuration of an experiment, with its control, on any store and for any seed."""
    planned: dict[str, object] = {"selection": SPLITS[options.select], "split": {"kind": "store"}}
    fields = experiments.merge(planned, overrides)
    experiment, control = experiments.control_of(name)
    if control:
        fields = experiments.merge(fields, {"gaze": {"control": control}})
    return settings.resolve(experiment, protocol=options.protocol, **fields)


def _experiments(options: ReproduceOptions) -> Iterator[str]:
    """Names of the experiments in the order of the catalogue."""
    only = EXPERIMENTS if options.only is None else options.only
    for each in experiments.catalogue():
        if each.name in only:
            yield each.name


def _opened(paths: Mapping[tuple[str, int], str]) -> dict[str, PlannedStore]:
    """The stores by path.

    Raises:
        UserError: A store cannot be read, or two have different classes.
    """
    chosen = tuple(dict.fromkeys(paths.values()))
    stores, planned = dict[str, Store](), dict[str, PlannedStore]()
    with progress("Opening stores", total=2 * len(chosen)) as bar:
        for path in chosen:
            stores[path] = Store.open(path)
            bar.advance(1)
        _check_classes(list(stores.values()))
        for path, store in stores.items():
            planned[path] = PlannedStore(store.manifest.get("identity", {}), origin.contents(store))
            bar.advance(1)
    return planned


def _check_classes(stores: Sequence[Store]) -> None:
    first = stores[0]
    for store in stores:
        if tuple(store.classes) != tuple(first.classes):
            raise UserError(
                f"{first.path} and {store.path} have different classes, {', '.join(first.classes)} against "
                f"{', '.join(store.classes)}; name stores of the same classes in `stores`"
            )
