"""The functions of `import radgaze as rg`: prepare, train, evaluate, compare, audit and explain, from Python.

They take and return the objects that the package works with, `Store`, `Config` and `Run`, and options by
name. Messages go to the logger "radgaze", progress to standard error. Where a function needs a folder and
none is named, it is a temporary one, which is removed with the object that is returned or at the end of
Python.
"""

from __future__ import annotations

import atexit
import shutil
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING

from radgaze.api.options import check_made, check_names, in_python, made, taken
from radgaze.errors import UserError
from radgaze.files import as_path

if TYPE_CHECKING:
    from radgaze.api.run import Run
    from radgaze.evaluation.audit.files import Audit
    from radgaze.evaluation.comparison import Comparison
    from radgaze.evaluation.results import EvaluationResults
    from radgaze.exporting.export import Export
    from radgaze.options import Options
    from radgaze.runs.config import Config
    from radgaze.runs.run import Run as AnyRun
    from radgaze.sources.dataset import Items
    from radgaze.store.store import Store

PathLike = str | Path

OF_FITTED = ("size", "voi")
"""Options of the preparation that the images of a fitted source have already."""


def prepare(source: str | Items, *, out: PathLike | None = None, **options: object) -> Store:
    """Turn a raw data set into a store, as `radgaze prepare SOURCE` does.

    Args:
        source: Name of the source: egd, reflacx, gazesearch or table. Or a data set of your own, such as a
            `torch.utils.data.Dataset` with a length, of images, labels and maps; docs/own_models.md lists
            what an item is.
        out: Folder of the store; None for a temporary one, which is removed at the end of Python.
        **options: Fields of the source's options and of `PrepareOptions`:
            `prepare("table", table="cases.csv", images="images", out="store")`. For a data set of your own
            those of `DatasetOptions`: `prepare(dataset, classes=("normal", "pneumonia"))`.

    Returns:
        The store.

    Raises:
        UserError: There is no such source or option, or the data set cannot be read.
    """
    out = _temporary() / "store" if out is None else out
    if not isinstance(source, str):
        return _prepare_dataset(source, out, options)
    from radgaze.sources.dialect import TextOptions, written_with
    from radgaze.sources.registry import find
    from radgaze.store import preparation
    from radgaze.store.options import PrepareOptions

    chosen = find(source)
    classes: list[type[Options]] = [chosen.options, PrepareOptions, *([] if chosen.fitted else [TextOptions])]
    check_names(f"prepare({source!r})", options, classes)
    with written_with(taken(TextOptions, options)):
        cohort = chosen.read(taken(chosen.options, options))
    fitted = {name: cohort.parameters[name] for name in OF_FITTED} if chosen.fitted else {}
    preparing = taken(PrepareOptions, {**options, **fitted, "out": out, "fitted": chosen.fitted})
    return _told(preparation.prepare(cohort, preparing))


def _told(store: Store) -> Store:
    """Say what a new store holds, what was rejected, and what its user must not miss."""
    from radgaze.console import note, say
    from radgaze.store import summary

    say(f"{store.path}: {summary.contents(store)}")
    for notice in summary.notices(store):
        note(notice)
    if rejected := summary.rejected(store):
        counts = ", ".join(f"{reason} {n:,}" for reason, n in rejected.items())
        note(f"Rejected: {counts}; `store.rejections` lists them")
    return store


def _prepare_dataset(items: Items, out: PathLike, options: dict[str, object]) -> Store:
    from radgaze.sources.dataset import DatasetOptions, cohort_of
    from radgaze.store import preparation
    from radgaze.store.options import PrepareOptions

    check_names("prepare(dataset)", options, [DatasetOptions, PrepareOptions])
    chosen = taken(DatasetOptions, options)
    with TemporaryDirectory(prefix="radgaze-") as folder:
        made = cohort_of(items, chosen, Path(folder))
        size = options.get("size", made.side)
        preparing = taken(PrepareOptions, {**options, "size": size, "out": out})
        return _told(preparation.prepare(made.cohort, preparing))


def _temporary() -> Path:
    """Make a folder that is removed at the end of Python."""
    folder = Path(mkdtemp(prefix="radgaze-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def config(experiment: str, *, data: Store | PathLike, protocol: str = "honest", **fields: object) -> Config:
    """Resolve the configuration of a run, as the options of `radgaze train` do.

    Args:
        experiment: Name of the experiment, see `radgaze experiments`.
        data: The store, or its folder.
        protocol: "honest", our defaults, or "faithful", the paper's.
        **fields: Values that replace the experiment's; those of a section as a dictionary:
            `config("set3_guided", data=store, seed=1, trainer={"max_epochs": 20}, input={"size": 96})`.
            `model` may be a network of your own, a `torch.nn.Module` or a function that makes one, or have
            one as its `factory`; docs/own_models.md says what it returns.

    Raises:
        UserError: There is no such experiment or field, or a value is not allowed.
    """
    from radgaze.models import factories
    from radgaze.models.config import with_given
    from radgaze.runs import settings
    from radgaze.store.store import Store

    path = data.path if isinstance(data, Store) else as_path(data, "data")
    given = {name: in_python(value) for name, value in fields.items()} | {"data": str(path.resolve())}
    model = given.get("model")
    section = dict(model) if isinstance(model, Mapping) else {"factory": model}
    network = section.get("factory")
    if network is None:
        return settings.resolve(experiment, protocol=protocol, **given)
    if isinstance(network, str):  # the caller has named it
        factories.allow(network)
        return settings.resolve(experiment, protocol=protocol, **{**given, "model": section})
    if not callable(network):  # as a module is, too
        raise UserError(
            f"`model` must be settings, a torch.nn.Module or a function that makes one, got "
            f"{type(network).__name__}"
        )
    section["factory"] = factories.name_of(network)
    resolved = settings.resolve(experiment, protocol=protocol, **{**given, "model": section})
    return replace(resolved, model=with_given(resolved.model, network))


def plugin(module: PathLike) -> str:
    """Import a plugin, a module that registers generators, distances, metrics, sources or experiments.

    Importing it with `import` before the first use of radgaze is the same.

    Args:
        module: Name of the module, or path of a file that ends with .py.

    Returns:
        Name of the module.

    Raises:
        UserError: It cannot be imported.
    """
    from radgaze import plugins

    return plugins.load(str(module))


def phantom(out: PathLike, **options: object) -> Path:
    """Simulate radiographs, readings and gaze in the layout of the real archives, as `radgaze phantom` does.

    Args:
        out: Folder to write, new or empty.
        **options: Fields of `SimulationOptions`, such as `patients` and `seed`.

    Returns:
        The folder, for `prepare("egd", egd=folder / "egd", mimic=folder / "mimic", out="store")`.

    Raises:
        UserError: There is no such option, or the folder is not empty.
    """
    from radgaze.simulation.archive import simulate
    from radgaze.simulation.options import SimulationOptions

    simulate(made(SimulationOptions, {**options, "out": out}, "phantom"))
    return Path(out)


def train(
    config: Config, out: PathLike | None = None, *, resume: bool = False, overwrite: bool = False
) -> Run:
    """Train a run, as `radgaze train` does, without evaluating it.

    The random generators of the process are afterwards as they were.

    Args:
        config: Configuration, from `config`.
        out: Folder of the run; None for a temporary one, which is removed with the `Run` that is returned.
        resume: Whether to continue from the folder's last checkpoint.
        overwrite: Whether to replace the run that is in the folder.

    Raises:
        UserError: The store, the folder or the configuration cannot be used.
        NonFiniteLossError: A term of the loss became NaN or infinite.
        Stopped: The user interrupted the training; `resume` continues.
    """
    from radgaze.api.process_state import kept
    from radgaze.api.run import Run
    from radgaze.runs.config import Config
    from radgaze.training.train import train as fit

    check_made("config", config, Config, "rg.config")
    if resume and overwrite:
        raise UserError("`resume` goes on with the run in its own folder: leave out `overwrite`, or `resume`")
    if out is not None:
        with kept():
            run = fit(config, Path(out), resume=resume, overwrite=overwrite)
        return Run(run.path, run.config)
    if resume:
        raise UserError("`resume` needs `out`, the folder of the run that is continued")
    folder = Path(mkdtemp(prefix="radgaze-"))
    with kept():
        fitted = fit(config, folder / config.experiment)  # whose name pages show
    run = Run(fitted.path, fitted.config)
    weakref.finalize(run, shutil.rmtree, folder, ignore_errors=True)
    return run


def evaluate(run: AnyRun, **options: object) -> EvaluationResults:
    """Measure a run's discrimination, calibration and agreement with gaze on its test cases.

    The results are also written into the run's folder, where `compare` and `report` read them.

    Args:
        run: The run.
        **options: Fields of `EvaluationOptions`.

    Returns:
        The results: `results.test.auc["macro"].value`, or all of them as a table, `results.to_frame()`.

    Raises:
        UserError: There is no such option, the run has no predictions, or its store is not available.
    """
    from radgaze import evaluation

    _check_run(run)
    return evaluation.evaluate(run, made(evaluation.EvaluationOptions, options, "evaluate"))


def compare(runs: Sequence[AnyRun], **options: object) -> Comparison:
    """Compare runs with the first of them on the same test cases: AUC, and what `evaluate` measured of each.

    Args:
        runs: At least two runs.
        **options: Fields of `CompareOptions`.

    Returns:
        The comparison, with the tables `table` and `paired`.

    Raises:
        UserError: There is no such option, or the runs cannot be compared.
    """
    from radgaze import evaluation
    from radgaze.evaluation.comparison_options import CompareOptions

    if not isinstance(runs, Sequence):
        raise UserError(f"`runs` must be a list of at least two runs, got a {type(runs).__name__}")
    for run in runs:
        _check_run(run, "runs")
    return evaluation.compare(runs, made(CompareOptions, options, "compare"))


def audit(run: AnyRun, out: PathLike | None = None, **options: object) -> Audit:
    """Measure the maps of several methods on a run's cases, in aspects from agreement with gaze to cost.

    Args:
        run: The run.
        out: Folder of the measurements, from which an interrupted audit continues; None for a temporary one.
        **options: Fields of `AuditOptions`, such as `methods=("guided_backprop", "grad_cam")`.

    Raises:
        UserError: There is no such option, or a method or a device is not available.
    """
    from radgaze.evaluation.audit.benchmark import audit as measure
    from radgaze.evaluation.audit.options import AuditOptions

    _check_run(run)
    chosen = made(AuditOptions, options, "audit")
    if out is not None:
        return measure(run, Path(out), chosen)
    with TemporaryDirectory(prefix="radgaze-") as folder:
        return measure(run, Path(folder) / "audit", chosen)


def inspect(store: Store | PathLike, out: PathLike | None = None, **options: object) -> Path:
    """Show the content of a store on a page, as `radgaze inspect` does; return the page's path.

    Args:
        store: The store, or its folder.
        out: Folder for inspect.html, inspect.json and figures; None for a temporary one, which is removed at
            the end of Python.
        **options: Fields of `InspectOptions`.

    Raises:
        UserError: There is no such option, or no store.
    """
    from radgaze.inspecting.options import InspectOptions
    from radgaze.reporting.inspection import inspection_page
    from radgaze.store.store import Store

    chosen = made(InspectOptions, options, "inspect")
    opened = Store.open(store) if isinstance(store, str | Path) else store
    check_made("store", opened, Store, "rg.Store.open")
    return inspection_page(opened, _temporary() / "inspection" if out is None else Path(out), chosen)[1]


def report(run: AnyRun) -> Path:
    """Write the report of an evaluated run, one page that needs no network; return its path.

    Raises:
        UserError: The run was not evaluated.
    """
    from radgaze.reporting.run_page import report as write

    _check_run(run)
    return write(run)


def export(run: AnyRun, out: PathLike, to: str = "onnx", **options: object) -> Export:
    """Export a run for other software, and compare the file with the run's own predictions.

    Args:
        run: The run, or a vote.
        out: Folder to write, new or empty.
        to: Format: "onnx", "torchscript", "pt2", "monai" or "hub".
        **options: Further fields of `ExportOptions`: `heatmap`, `target`, `licence`.

    Returns:
        The export: `path`, `outputs`, and `check`, how far it was compared.

    Raises:
        UserError: There is no such option, the folder holds files, the network or heatmap cannot be exported,
            a library is missing, or the file computes other values than the run.
    """
    from radgaze.exporting.export import export as write
    from radgaze.exporting.options import ExportOptions

    _check_run(run)
    return write(run, made(ExportOptions, {**options, "to": to, "out": out}, "export"))


def card(run: AnyRun, out: PathLike | None = None, **options: object) -> Path:
    """Write the model card of a run; return its path.

    Args:
        run: The run.
        out: File of the card; None for RUN/card.md.
        **options: Fields of `CardOptions`: `licence`.

    Raises:
        UserError: There is no such option, a file of the run is damaged, or `out` is a file and no card.
    """
    from radgaze.exporting.card import write_card
    from radgaze.exporting.options import CardOptions

    _check_run(run)
    return write_card(run, None if out is None else Path(out), made(CardOptions, options, "card"))


def _check_run(run: object, name: str = "run") -> None:
    from radgaze.runs.run import Run

    check_made(name, run, Run, "rg.Run.open")
