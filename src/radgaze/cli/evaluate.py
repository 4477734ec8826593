"""`radgaze evaluate RUN`: measure a run on its test cases and write its report."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

from radgaze.cli.folders import check_run
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.cli.tables import Row, show
from radgaze.evaluation.options import EvaluationOptions
from radgaze.evaluation.referral.options import ReferralOptions
from radgaze.runs.config import SELECTED_ON_TEST

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from radgaze.evaluation.interval_estimate import IntervalEstimate
    from radgaze.evaluation.results import EvaluationResults
    from radgaze.runs.run import Run

HELP = "Evaluate a run's discrimination, calibration and agreement with gaze, and write its report."
EXAMPLE = "radgaze evaluate runs/set3_guided"
DEFAULTS = EvaluationOptions()


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run")
    add_options(parser, EvaluationOptions)
    parser.add_argument(
        "--without-gaze",
        action="store_true",
        help="evaluate a model that reads a gaze map with empty maps instead, as a run of its own in "
        "RUN/without_gaze",
    )
    parser.add_argument(
        "--reject",
        action="store_true",
        help="also choose a rule for referring cases (--goal, --score) on the validation cases, measure it "
        "on the test cases, and store it with the run; writes rejection.html",
    )
    add_options(parser, ReferralOptions, without=("device", "resamples"))


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.errors import UserError

    default = ReferralOptions()
    if not args.reject and (args.goal, args.score) != (default.goal, default.score):
        raise UserError("`goal` and `score` are for referral: add `reject=True`")
    referral = chosen(ReferralOptions, args) if args.reject else None
    options = chosen(EvaluationOptions, args)
    check_run(args.path)
    from radgaze.runs.run import Run

    evaluated = Run.open(Path(args.path))
    if args.without_gaze:
        from radgaze.runs.without_gaze import without_gaze

        evaluated = without_gaze(evaluated, options.device)
    if referral is None:
        evaluate_and_report(evaluated, options)
        return 0
    from radgaze.evaluation.referral.measuring import evaluate_referral
    from radgaze.reporting.rejection import rejection_markdown, write_rejection

    # Before the report, which states the rule.
    evaluation = evaluate_referral(evaluated, referral)
    page = write_rejection(evaluated, evaluation)
    evaluate_and_report(evaluated, options)
    put(rejection_markdown(evaluation.results), lines=True)
    for name in ("selective.json", "decisions.parquet", "rejection.json", "rejection.md", "rejection.csv"):
        put(evaluated.path / name)
    put(page)
    return 0


def evaluate_and_report(run: Run, options: EvaluationOptions = DEFAULTS) -> Path:
    """Evaluate a run, show the headline figures, and write its report.

    Returns:
        Path of the report.
    """
    from radgaze.console import put
    from radgaze.evaluation import evaluate
    from radgaze.reporting.run_page import report

    results = evaluate(run, options)
    page = report(run)
    show_results(results, run)
    put(run.path / "metrics.json")
    put(page)
    return page


def show_results(results: EvaluationResults, run: Run) -> None:
    """Print the headline figures as tables on standard output."""
    from radgaze import console
    from radgaze.reporting.groups import of_two
    from radgaze.reporting.statistics_words import cautions

    output, test = console.results(), results.test
    if results.selection == "test":
        output.print(f"Warning: {SELECTED_ON_TEST}", style="bold")
    predictions = run.predictions().filter(split="test")
    title = f"{run.name}: {test.cases} test cases of {test.patients} patients"
    tables = [(title, *_of_classes(results, predictions)), *_of_maps(results), *_of_reliance(results)]
    for table in tables:
        show(output, *table)
    if not any(test.agreement.values()):
        output.print("Agreement with gaze: no test case has gaze.")
    if words := of_two(predictions, results.classes):
        output.print(words, markup=False, highlight=False)
    cells = [cell for *_, rows in tables for _, row in rows for cell in row]
    for note in cautions("".join(cells)):
        output.print(note, markup=False, highlight=False)


def _of_classes(results: EvaluationResults, predictions: pl.DataFrame) -> tuple[str, list[str], list[Row]]:
    """The corner, columns and rows of the table of classes."""
    from radgaze.evaluation.metrics.classification import METRICS
    from radgaze.evaluation.results import MACRO
    from radgaze.reporting.groups import shown_groups

    test = results.test
    columns = {
        METRICS["auc"].heading: test.auc,
        f"{METRICS['auc'].title}, as in the paper": test.auc_paper,
        METRICS["average_precision"].heading: test.average_precision,
        METRICS["brier"].heading: test.brier,
    }
    groups = sorted(shown_groups(predictions, results.classes), key=lambda group: group != MACRO)
    rows: list[Row] = [(group, [_cell(column.get(group)) for column in columns.values()]) for group in groups]
    return "class", list(columns), rows


def _of_maps(results: EvaluationResults) -> Iterator[tuple[str, str, list[str], list[Row]]]:
    """The title, corner, columns and rows of each table of maps that has any."""
    from radgaze.evaluation.metrics.agreement import METRICS as AGREEMENT
    from radgaze.evaluation.metrics.localisation import METRICS as LOCALISATION
    from radgaze.evaluation.results import ClassAgreement

    test = results.test
    of_classes = test.class_agreement or ClassAgreement()
    gazed, boxed = test.agreement_cases.compared, test.localisation_cases.compared
    for title, maps, metrics in (
        (f"Agreement with gaze, {gazed} cases", test.agreement, AGREEMENT),
        (f"Agreement of each class with its own gaze, {of_classes.cases} cases", of_classes.all, AGREEMENT),
        (f"Localisation of boxes and masks, {boxed} cases", test.localisation, LOCALISATION),
    ):
        # A file of an earlier version may lack a metric, or have them in another order.
        rows: list[Row] = [
            (name.replace("_", " "), [_cell(entries.get(metric), 2) for metric in metrics])
            for name, entries in maps.items()
            if entries
        ]
        if rows:
            yield title, "map", [metric.heading for metric in metrics.values()], rows


def _of_reliance(results: EvaluationResults) -> Iterator[tuple[str, str, list[str], list[Row]]]:
    """The title, corner, columns and rows of the table of reliance, where there are twins."""
    from radgaze.evaluation.metrics.reliance import METRICS

    if results.test.reliance:
        rows: list[Row] = [
            (f"{name}, {each.cases} cases", [_cell(each.metrics[metric]) for metric in METRICS])
            for name, each in results.test.reliance.items()
        ]
        headings = [metric.heading for metric in METRICS.values()]
        yield "Reliance on confounders", "confounder", headings, rows


def _cell(entry: IntervalEstimate | None, digits: int = 3) -> str:
    from radgaze.reporting.statistics_words import marked

    if entry is None:
        return "–"
    if entry.value is None:
        return "undefined"
    if entry.low is None or entry.high is None:
        return f"{entry.value:.{digits}f}"
    interval = f"[{entry.low:.{digits}f}, {entry.high:.{digits}f}]"
    return f"{entry.value:.{digits}f} {interval}{marked(entry.low, entry.high)}"
