"""`radgaze evaluate RUN`: measure a run on its test cases and write its report."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from radgaze.cli.parser import Parser, PositiveInt
from radgaze.training.config import SELECTED_ON_TEST

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from radgaze.training.run import Run

HELP = "Measure a run: discrimination, calibration, agreement with gaze; then write its report."
EXAMPLE = "radgaze evaluate runs/set3_guided"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run")
    parser.add_argument(
        "--interval",
        choices=("bootstrap", "seed"),
        help="95%% intervals: patients drawn again, or the seed paper's 30 resamples (default: bootstrap; "
        "seed for a run of the faithful protocol)",
    )
    parser.add_argument(
        "--resamples", type=PositiveInt, default=2000, help="resamples of the bootstrap (default 2000)"
    )
    parser.add_argument("--device", default="auto", help="where the model runs: cpu, cuda or auto (default)")
    parser.add_argument(
        "--target",
        choices=("predicted", "true"),
        default="predicted",
        help="class whose heatmap is compared with gaze (default predicted)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        help="pointing game: pixels off a box that are forgiven, on the map that the model sees (default 0)",
    )
    parser.add_argument(
        "--generator", default="guided_backprop", help="the heatmaps' generator (default guided_backprop)"
    )
    parser.add_argument(
        "--reject",
        action="store_true",
        help="also choose on the validation cases when to refer a case, measure it on the test cases, and "
        "keep the "
        "rule with the run; writes rejection.html",
    )
    parser.add_argument(
        "--goal",
        default="coverage=0.9",
        help="with --reject, what the rule is to reach on the validation cases: coverage=SHARE of "
        "predictions "
        "accepted, frr=SHARE of right ones referred, or risk=SHARE of errors accepted (default coverage=0.9)",
    )
    parser.add_argument(
        "--score",
        default="alpha",
        help="with --reject, the score that the rule is on: alpha or beta (DOCTOR's, default alpha), either "
        "of them "
        "with _tempered or _perturbed, maximum, or entropy",
    )


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.errors import UserError
    from radgaze.training.run import Run

    goal = None
    if args.reject:
        from radgaze.evaluation.candidates import NAMES
        from radgaze.evaluation.selective import Goal

        goal = Goal.parse(args.goal)
        if args.score not in NAMES:
            raise UserError(f"--score {args.score}: there are {', '.join(NAMES)}")
    elif (args.goal, args.score) != ("coverage=0.9", "alpha"):
        raise UserError("--goal and --score are for --reject: add it")
    evaluated = Run.open(Path(args.path))
    if goal is not None:
        from radgaze.evaluation.rejection import reject
        from radgaze.reporting.rejection import rejection_markdown, write_rejection

        # First, for the report to tell of it.
        found = reject(evaluated, goal=goal, score=args.score, device=args.device, resamples=args.resamples)
        page = write_rejection(evaluated, found)
    evaluate_and_report(
        evaluated,
        device=args.device,
        resamples=args.resamples,
        interval=args.interval,
        generator=args.generator,
        target=args.target,
        tolerance=args.tolerance,
    )
    if goal is not None:
        put(rejection_markdown(found.summary), lines=True)
        for name in (
            "selective.json",
            "decisions.parquet",
            "rejection.json",
            "rejection.md",
            "rejection.csv",
        ):
            put(evaluated.path / name)
        put(page)
    return 0


def evaluate_and_report(run: Run, **options: Any) -> Path:
    """Measure a run, show the headline figures, write and return its report; options as of `evaluate`."""
    from radgaze.console import put
    from radgaze.evaluation import evaluate
    from radgaze.reporting.report import report

    metrics = evaluate(run, **options)
    page = report(run, metrics)
    _show(metrics)
    put(run.path / "metrics.json")
    put(page)
    return page


def _show(metrics: dict[str, Any]) -> None:
    """The headline figures as tables on standard output."""
    from rich.table import Table

    from radgaze.console import results

    console, test = results(), metrics["test"]
    if metrics["selection"] == "test":
        console.print(f"Warning: {SELECTED_ON_TEST}", style="bold")
    table = Table(title=f"{metrics['experiment']}: {test['cases']} test cases of {test['patients']} patients")
    names = {
        "auc": "AUC",
        "auc_seed": "AUC, as the seed paper",
        "average_precision": "average precision",
        "brier": "Brier ↓",
    }
    for name in ("class", *names.values()):
        table.add_column(name)
    for group in ("macro", *metrics["classes"]):
        table.add_row(group, *(_entry(test[metric][group]) for metric in names))
    console.print(table)
    agreement = {kind: found for kind, found in test["agreement"].items() if found}
    if agreement:
        columns = ("NSS", "CC", "KL ↓", "SIM", "AUC-Judd", "shuffled AUC")
        title = f"Agreement with gaze, {test['agreement_cases']['compared']} cases"
        console.print(_maps_table(title, columns, agreement))
    else:
        console.print("Agreement with gaze: no test case has gaze.")
    localisation = {kind: found for kind, found in test["localisation"].items() if found}
    if localisation:
        title = f"Localisation of boxes and masks, {test['localisation_cases']['compared']} cases"
        console.print(_maps_table(title, ("pointing game", "energy inside", "IoU"), localisation))


def _maps_table(title: str, names: Sequence[str], maps: dict[str, dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(title=title)
    for name in ("map", *names):
        table.add_column(name)
    for kind, found in maps.items():
        table.add_row(kind.replace("_", " "), *(_entry(entry, 2) for entry in found.values()))
    return table


def _entry(entry: dict[str, float | None], digits: int = 3) -> str:
    value, low, high = entry["value"], entry["low"], entry["high"]
    if value is None:
        return "undefined"
    if low is None or high is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
