"""`radgaze study VERB`: the design of a reader study, its results, and its record as tables."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from radgaze.cli.folders import check_run, check_store
from radgaze.cli.parser import Parser

if TYPE_CHECKING:
    from radgaze.runs.run import Run
    from radgaze.store.store import Store

HELP = (
    "Prepare and evaluate a reader study, in which readers read cases with and without a run's predictions "
    "and maps. `radgaze view RUN --study DESIGN` conducts it."
)
EXAMPLE = "radgaze study init design.yaml --run runs/set3_guided"

STEPS = {
    "init": "write an example of a design, with a comment for each setting, as a file to edit",
    "results": "write accuracy, time and reliance with and without explanation, with intervals and tests",
    "export": "write all answers, times and the path of the mouse as CSV files",
    "gaze": "place the samples of an eye tracker on the images that a reader saw",
}
EXAMPLES = {
    "init": EXAMPLE,
    "results": "radgaze study results design.sqlite --out results",
    "export": "radgaze study export design.sqlite --out tables",
    "gaze": "radgaze study gaze design.sqlite tracker.csv --reader R1 --out gaze.csv",
}


def add_arguments(parser: Parser) -> None:
    steps = parser.add_subcommands(dest="step", metavar="STEP", title="steps", required=True)
    for name, words in STEPS.items():
        sub = Parser(description=f"{words[0].upper()}{words[1:]}.", epilog=f"Example: {EXAMPLES[name]}")
        _add_step_arguments(name, sub)
        steps.add_subcommand(name, sub, help=words)


def _add_step_arguments(name: str, sub: Parser) -> None:
    if name == "init":
        sub.add_argument("design", metavar="DESIGN", help="file to write")
        sub.add_argument("--run", metavar="RUN", required=True, help="folder of a trained run")
        sub.add_argument("--data", metavar="STORE", help="store of the cases (default: the store of the run)")
        sub.add_argument("--overwrite", action="store_true", help="replace the file")
        return
    sub.add_argument("record", metavar="RECORD", help="record of a study, the .sqlite file beside its design")
    if name == "gaze":
        sub.add_argument(
            "tracked", metavar="CSV", help="table with time (s since 1970, UTC), x and y (pixels)"
        )
        sub.add_argument("--reader", metavar="CODE", required=True, help="code of the reader who was tracked")
        sub.add_argument(
            "--offset",
            type=float,
            default=0.0,
            metavar="SECONDS",
            help="seconds to add to the tracker's times",
        )
        sub.add_argument("--out", metavar="FILE", required=True, help="CSV file to write")
        return
    words = "index.html and results.md, .csv and .json" if name == "results" else "the CSV files"
    sub.add_argument("--out", metavar="DIR", required=True, help=f"folder for {words}")


def run(args: Namespace) -> int:
    given: Namespace = getattr(args, args.step)
    return {"init": _init, "results": _results, "export": _export, "gaze": _gaze}[args.step](given)


def _init(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.errors import UserError
    from radgaze.files import write_text
    from radgaze.outputs import check_folder

    out = Path(args.design)
    if out.exists() and (out.is_dir() or not args.overwrite):
        raise UserError(f"{out} exists; name another file, or set `overwrite=True`")
    check_folder(out.parent)
    check_run(args.run)
    if args.data is not None:
        check_store(args.data)
    from radgaze.runs.run import Run
    from radgaze.store.store import Store
    from radgaze.viewing.study.template import template

    run = Run.open(Path(args.run))
    store = run.store if args.data is None else Store.open(args.data)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(template(run.classes, _method(run), per_class=_per_class(store)), out)
    put(out)
    return 0


def _method(run: Run) -> str:
    """The method of the heatmaps that the run was trained with, else one that applies to it."""
    if run.config.objective.heatmap.generator and run.config.model.architecture == "unet":
        return run.config.objective.heatmap.generator
    return "grad_cam"


def _per_class(store: Store) -> int:
    """Number of cases of each class that the test split has, at most 10."""
    import polars as pl

    test = store.cases.filter(pl.col("split") == "test")
    patients = [test.filter(pl.col(f"label_{name}") == 1)["patient"].n_unique() for name in store.classes]
    return max(1, min(10, *patients))


def _results(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import note, put
    from radgaze.outputs import check_folder

    check_folder(args.out)
    from radgaze.viewing.study.record import opened

    recorder = opened(Path(args.record))
    from radgaze.viewing.study import report
    from radgaze.viewing.study.results import results
    from radgaze.viewing.study.tables import cautions

    found = results(recorder)
    paths = report.write(found, recorder.design(), Path(args.out))
    put(report.markdown(found).removesuffix("\n"), lines=True)
    for sentence in cautions(found):
        note(sentence)
    for path in paths:
        put(path)
    return 0


def _export(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.outputs import check_folder

    check_folder(args.out)
    from radgaze.viewing.study.record import opened

    recorder = opened(Path(args.record))
    from radgaze.viewing.study.export import export

    for path in export(recorder, Path(args.out)):
        put(path)
    return 0


def _gaze(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.outputs import check_folder

    out = Path(args.out)
    check_folder(out.parent)
    from radgaze.viewing.study.record import opened

    recorder = opened(Path(args.record))
    from radgaze.tables import write_csv
    from radgaze.viewing.study.gaze import eye_tracking, read_tracker

    placed = eye_tracking(recorder, read_tracker(Path(args.tracked)), args.reader, offset=args.offset)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_csv(placed, out)
    put(out)
    return 0
