"""RUN/report.html: what was trained on what, how well it classifies, whether it looks where people do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.evaluation.baseline_comparison import baseline_differences
from radgaze.evaluation.results import read_agreement, read_metrics
from radgaze.reporting import curves, description, intervals, sections
from radgaze.reporting.gallery import OF_SEVERAL, SELECTION, Choice, Draw, choose, draw_cases, generator_title
from radgaze.reporting.page import Picture, figure_picture, panel_pictures, write_page
from radgaze.reporting.panels import Case, mosaic, panels
from radgaze.reporting.rejection import referral_sentences
from radgaze.reporting.style import save
from radgaze.reporting.wording import listed, number
from radgaze.runs.config import SELECTED_ON_TEST

if TYPE_CHECKING:
    from radgaze.runs.run import Run


def report(
    run: Run, metrics: Mapping[str, Any] | None = None, *, draw: Draw = draw_cases, each: int = 3
) -> Path:
    """Write RUN/report.html and RUN/figures/*.png from what is in the run folder; return the report's path.

    Args:
        run: The run. Its store is needed for the pictures of cases only; without it the report says so.
        metrics: What `evaluate` returned; read from RUN/metrics.json if not given.
        draw: Makes the cases' maps; by default the run's own model does.
        each: How many correct and how many wrong cases of each class are shown.

    Raises:
        UserError: The run was not evaluated yet.
    """
    metrics = read_metrics(run.path) if metrics is None else metrics
    predictions = run.predictions()
    test = predictions.filter(pl.col("split") == "test")
    numbers, manifest = metrics.get("test") or {}, description.manifest(run)
    exclusive = bool(metrics.get("exclusive", True))
    with progress(f"Writing the report of {run.experiment}", total=3) as bar:
        images = _curves(run, test, numbers)
        agreement = sections.agreement(numbers, _differences(run, test, metrics))
        bar.advance()
        groups, without = _cases(run, test, metrics, draw, each)
        bar.advance()
        path = write_page(
            "report.html",
            run.path / "report.html",
            title=f"{run.experiment} – radgaze report",
            experiment=run.experiment,
            stamp=SELECTED_ON_TEST if run.config.selection == "test" else None,
            summary=description.summary(run, manifest, exclusive=exclusive),
            facts=description.facts(run, metrics, manifest),
            tiles=sections.tiles(numbers, test),
            findings=sections.findings(metrics, run.classes),
            **sections.discrimination(metrics, run.classes, test),
            curves=images,
            has_history=not run.history().is_empty(),
            **agreement,
            **sections.localisation(numbers),
            agreement_figure=_agreement_figure(run, numbers) if agreement["rows_agreement"] else None,
            selection=SELECTION if exclusive else OF_SEVERAL,
            groups=groups,
            without=without,
            columns=max((len(case["panels"]) for group in groups for case in group["cases"]), default=5),
            **description.data(run, predictions, manifest),
            uncompared=run.compared(),
            referring=referral_sentences(run.path),
            limits=sections.limits(numbers, run.classes, test),
            configuration=description.configuration(run),
        )
        bar.advance()
    return path


def slug(name: str) -> str:
    """A class name as a part of a file name."""
    return re.sub(r"[^\w-]+", "_", name)


def _curves(run: Run, test: pl.DataFrame, numbers: Mapping[str, Any]) -> list[Picture]:
    """The curves as PNG files in RUN/figures, and as pictures of the page."""
    folder, classes, names = run.path / "figures", run.classes, listed(run.classes)
    auc, precision, error = (numbers.get(k) or {} for k in ("auc", "average_precision", "calibration_error"))
    history = run.history()
    images = [
        figure_picture(
            save(curves.roc(test, classes, auc), folder / "roc.png"),
            f"ROC curves of {names}, one against the rest; the AUC of each is in the table above",
            "Dots: operating points at 90% specificity.",
        ),
        figure_picture(
            save(curves.precision_recall(test, classes, precision), folder / "precision_recall.png"),
            f"Precision–recall curves of {names}; the average precision of each is in the table above",
            "Precision depends on how common a class is among the test cases; elsewhere it differs.",
        ),
        figure_picture(
            save(curves.calibration(test, classes, error), folder / "calibration.png"),
            f"Reliability diagram of {names}: observed share against predicted probability",
            "On the dotted line a probability means what it says. Five bins of equal numbers of cases, 95% "
            "Wilson intervals; the error in the legend is over ten bins.",
        ),
    ]
    if not history.is_empty():
        images.append(
            figure_picture(
                save(curves.training(history), folder / "training.png"),
                "Losses and validation AUC over the epochs of the training",
                "The weights kept are those of the epoch with the best validation AUC; no test case counted.",
            )
        )
    return images


def _differences(run: Run, test: pl.DataFrame, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Paired differences of heatmap and mask to the floors, where agreement was measured."""
    file = run.path / "agreement.parquet"
    if not file.is_file():
        return {}
    table = read_agreement(run.path)
    settings = metrics.get("settings") or {}
    return {
        kind: baseline_differences(table, kind, test, run.classes, settings) for kind in ("heatmap", "mask")
    }


def _agreement_figure(run: Run, numbers: Mapping[str, Any]) -> Picture:
    figure = intervals.agreement({run.experiment: numbers["agreement"]})
    path = save(figure, run.path / "figures" / "agreement.png")
    return figure_picture(path, "Agreement of each map with gaze; the numbers are in the table above")


def _cases(
    run: Run, test: pl.DataFrame, metrics: Mapping[str, Any], draw: Draw, each: int
) -> tuple[list[dict[str, Any]], str]:
    """Per class the pictures of some cases, or none and the reason."""
    choices = choose(test, run.classes, each, exclusive=bool(metrics.get("exclusive", True)))
    settings = metrics.get("settings") or {}
    ids = list(dict.fromkeys(i for choice in choices.values() for i in (*choice.correct, *choice.wrong)))
    if not ids:
        return [], "There are no test cases."
    try:
        drawn = {case.case_id: case for case in draw(run, ids, settings)}
    except UserError as error:
        return [], f"The pictures need the store: {error}."
    generator, mask = generator_title(settings), any(case.mask is not None for case in drawn.values())
    return [_group(run, name, choice, drawn, generator, mask) for name, choice in choices.items()], ""


def _group(
    run: Run, name: str, choice: Choice, drawn: Mapping[str, Case], generator: str, mask: bool
) -> dict[str, Any]:
    cases = [drawn[i] for i in (*choice.correct, *choice.wrong)]
    rows = [(case, panels(case, generator, mask=mask)) for case in cases]
    if rows:
        figure = mosaic([(_label(case), row) for case, row in rows])
        save(figure, run.path / "figures" / f"cases_{slug(name)}.png")
    total = choice.all_correct + choice.all_wrong
    return {
        "name": f"{name}: {choice.tally}",
        "cases": [
            {
                "case_id": case.case_id,
                "truth": case.truth,
                "predicted": case.predicted,
                "probability": number(case.probability, 2),
                "most_probable": "" if case.predicted == case.most_probable else case.most_probable,
                "correct": case.correct,
                "panels": panel_pictures(row, case.case_id),
            }
            for case, row in rows
        ],
        "missing": "No case of this class was classified wrongly." if total and not choice.wrong else "",
    }


def _label(case: Case) -> str:
    name = case.case_id if len(case.case_id) <= 16 else case.case_id[:8] + "…"
    mark = "✓" if case.correct else "✗"
    return f"{name}\ntrue: {case.truth}\n{mark} {case.predicted} {case.probability:.2f}"
