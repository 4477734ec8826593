"""`radgaze evaluate RUN`: measure a run on its test cases and write its report."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from radgaze.cli.folders import check_run
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.cli.tables import show
from radgaze.evaluation.options import EvaluationOptions
from radgaze.evaluation.referral.options import ReferralOptions
from radgaze.runs.config import SELECTED_ON_TEST

if TYPE_CHECKING:
    from pathlib import Path

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
    from radgaze.evaluation.metrics.agreement import METRICS as AGREEMENT
    from radgaze.evaluation.metrics.classification import METRICS as CLASSIFICATION
    from radgaze.evaluation.metrics.localisation import METRICS as LOCALISATION
    from radgaze.evaluation.metrics.reliance import METRICS as RELIANCE
    from radgaze.evaluation.results import MACRO, ClassAgreement
    from radgaze.reporting.groups import of_two, shown_groups
    from radgaze.reporting.statistics_words import cautions

    output, test = console.results(), results.test
    if results.selection == "test":
        output.print(f"Warning: {SELECTED_ON_TEST}", style="bold")
    columns = {
        CLASSIFICATION["auc"].heading: test.auc,
        f"{CLASSIFICATION['auc'].title}, as in the paper": test.auc_paper,
        CLASSIFICATION["average_precision"].heading: test.average_precision,
        CLASSIFICATION["brier"].heading: test.brier,
    }
    of_classes = test.class_agreement or ClassAgreement()
    predictions = run.predictions().filter(split="test")
    class_rows = [
        (group, [_cell(column.get(group)) for column in columns.values()])
        for group in sorted(shown_groups(predictions, results.classes), key=lambda group: group != MACRO)
    ]
    title = f"{run.name}: {test.cases} test cases of {test.patients} patients"
    tables = [(title, "class", list(columns), class_rows)]
    for title, maps, metrics in (
        (f"Agreement with gaze, {test.agreement_cases.compared} cases", test.agreement, AGREEMENT),
        (
            f"Agreement of each class with its own gaze, {of_classes.cases} cases",
            of_classes.all,
            AGREEMENT,
        ),
        (
            f"Localisation of boxes and masks, {test.localisation_cases.compared} cases",
            test.localisation,
            LOCALISATION,
        ),
    ):
        # A file of an earlier version may lack a metric, or have them in another order.
        map_rows = [
            (name.replace("_", " "), [_cell(entries.get(metric), 2) for metric in metrics])
            for name, entries in maps.items()
            if entries
        ]
        if map_rows:
            tables.append((title, "map", [metric.heading for metric in metrics.values()], map_rows))
    if test.reliance:
        relied = [
            (f"{name}, {each.cases} cases", [_cell(each.metrics[metric]) for metric in RELIANCE])
            for name, each in test.reliance.items()
        ]
        headings = [metric.heading for metric in RELIANCE.values()]
        tables.append(("Reliance on confounders", "confounder", headings, relied))
    for table in tables:
        show(output, *table)
    if not any(test.agreement.values()):
        output.print("Agreement with gaze: no test case has gaze.")
    if words := of_two(predictions, results.classes):
        output.print(words, markup=False, highlight=False)
    cells = [cell for *_, rows in tables for _, row in rows for cell in row]
    for note in cautions("".join(cells)):
        output.print(note, markup=False, highlight=False)


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
