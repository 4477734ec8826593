"""RUN/report.html: the page of a run, composed of sections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from radgaze.console import progress
from radgaze.evaluation.results import EvaluationResults, read_results
from radgaze.reporting import description
from radgaze.reporting.gallery import Draw, draw_cases
from radgaze.reporting.options import ReportOptions
from radgaze.reporting.page import write_page
from radgaze.reporting.run_links import around_report, report_of
from radgaze.reporting.sections import EvaluatedRun, sections
from radgaze.runs.config import SELECTED_ON_TEST

if TYPE_CHECKING:
    from radgaze.runs.run import Run


def report(
    run: Run,
    results: EvaluationResults | None = None,
    options: ReportOptions = ReportOptions(),  # noqa: B008 - frozen
    *,
    draw: Draw = draw_cases,
) -> Path:
    """Write RUN/report.html and RUN/figures/*.png from the files of the run's folder.

    Args:
        run: The run. Its store is needed only for the pictures of cases; the report states if it is missing.
        results: Results of `evaluate`; None to read them from RUN/metrics.json.
        options: The options.
        draw: Function that makes the maps of cases; by default with the model of the run.

    Returns:
        Path of the report.

    Raises:
        UserError: The run is not evaluated.
    """
    results = read_results(run.path) if results is None else results
    evaluated = EvaluatedRun(run, results, options, draw)
    name, rendered = run.name, []
    with progress(f"Writing the report of {name}", total=len(sections())) as bar:
        for section in sections():
            if (body := section.rendered(evaluated)) is not None:
                rendered.append((section, body))
            bar.advance()
    return write_page(
        "report.html",
        run.path / "report.html",
        links=around_report(run),
        words=report_of(run).words,
        title=f"{name} – radgaze report",
        name=name,
        stamp=SELECTED_ON_TEST if run.config.selection == "test" else None,
        summary=description.summary(run, evaluated.store, exclusive=results.exclusive),
        facts=description.facts(run, results, evaluated.store),
        sections=rendered,
        columns=1,
        configuration=description.configuration(run),
    )
