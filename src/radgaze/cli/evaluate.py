"""`radgaze evaluate RUN`: measure a run on its test cases and write its report."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.cli.tables import show
from radgaze.evaluation.options import EvaluationOptions
from radgaze.runs.config import SELECTED_ON_TEST

if TYPE_CHECKING:
    from pathlib import Path

    from radgaze.evaluation.interval_estimate import IntervalEstimate
    from radgaze.evaluation.results import EvaluationResults
    from radgaze.runs.run import Run

HELP = "Measure a run: discrimination, calibration, agreement with gaze; then write its report."
EXAMPLE = "radgaze evaluate runs/set3_guided"
DEFAULTS = EvaluationOptions()


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run")
    add_options(parser, EvaluationOptions)
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
    from radgaze.runs.run import Run

    goal = None
    if args.reject:
        from radgaze.evaluation.referral.scores import NAMES
        from radgaze.evaluation.referral.selective import Goal

        goal = Goal.parse(args.goal)
        if args.score not in NAMES:
            raise UserError(f"--score {args.score}: there are {', '.join(NAMES)}")
    elif (args.goal, args.score) != ("coverage=0.9", "alpha"):
        raise UserError("--goal and --score are for --reject: add it")
    options = chosen(EvaluationOptions, args)
    evaluated = Run.open(Path(args.path))
    if goal is not None:
        from radgaze.evaluation.referral.rejection import reject
        from radgaze.reporting.rejection import rejection_markdown, write_rejection

        # First, for the report to tell of it.
        found = reject(
            evaluated, goal=goal, score=args.score, device=options.device, resamples=options.resamples
        )
        page = write_rejection(evaluated, found)
    evaluate_and_report(evaluated, options)
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
    _show(results)
    put(run.path / "metrics.json")
    put(page)
    return page


def _show(results: EvaluationResults) -> None:
    """The headline figures as tables on standard output."""
    from radgaze.console import results as results_console
    from radgaze.evaluation.metrics.agreement import METRICS as AGREEMENT
    from radgaze.evaluation.metrics.localisation import METRICS as LOCALISATION
    from radgaze.evaluation.statistics.evidence import cautions

    console, test = results_console(), results.test
    if results.selection == "test":
        console.print(f"Warning: {SELECTED_ON_TEST}", style="bold")
    title = f"{results.experiment}: {test.cases} test cases of {test.patients} patients"
    columns = {
        "AUC": test.auc,
        "AUC, as the seed paper": test.auc_seed,
        "average precision": test.average_precision,
        "Brier ↓": test.brier,
    }
    rows = [
        (group, [_entry(column[group]) for column in columns.values()])
        for group in ("macro", *results.classes)
    ]
    show(console, title, "class", list(columns), rows)
    cells = [cell for _, of_group in rows for cell in of_group]
    for part, compared, registry, maps in (
        ("Agreement with gaze", test.agreement_cases.compared, AGREEMENT, test.agreement),
        (
            "Localisation of boxes and masks",
            test.localisation_cases.compared,
            LOCALISATION,
            test.localisation,
        ),
    ):
        measured = {kind: entries for kind, entries in maps.items() if entries}
        if measured:
            headings = [metric.heading for metric in registry.values()]
            # By name: a file of an earlier version may lack a metric, or have them in another order.
            rows = [
                (kind.replace("_", " "), [_entry(entries.get(name), 2) for name in registry])
                for kind, entries in measured.items()
            ]
            show(console, f"{part}, {compared} cases", "map", headings, rows)
            cells += [cell for _, of_map in rows for cell in of_map]
        elif maps is test.agreement:
            console.print("Agreement with gaze: no test case has gaze.")
    for note in cautions("".join(cells)):
        console.print(note, markup=False, highlight=False)


def _entry(entry: IntervalEstimate | None, digits: int = 3) -> str:
    from radgaze.evaluation.statistics.evidence import marked

    if entry is None:
        return "–"
    if entry.value is None:
        return "undefined"
    if entry.low is None or entry.high is None:
        return f"{entry.value:.{digits}f}"
    interval = f"[{entry.low:.{digits}f}, {entry.high:.{digits}f}]"
    return f"{entry.value:.{digits}f} {interval}{marked(entry.low, entry.high)}"
