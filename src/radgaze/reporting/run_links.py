"""The pages around a run's report: what they are called, and where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radgaze.errors import UserError
from radgaze.reporting.links import Link
from radgaze.runs.run import WITHOUT_GAZE

if TYPE_CHECKING:
    from radgaze.runs.run import Run

REPORT = "report.html"


def report_of(run: Run) -> Link:
    """Return the link to a run's report."""
    return Link(f"Report of {run.name}", run.path / REPORT)


def around_report(run: Run) -> list[Link]:
    """Return the pages that a report links to: others of the run, and the reports of the runs of a vote."""
    links = [
        Link("When to refer", run.path / "rejection.html"),
        Link("Audit of the maps", run.path / "audit" / "audit.html"),
        Link("The same network without gaze", run.path / WITHOUT_GAZE / REPORT),
    ]
    if run.path.resolve().name == WITHOUT_GAZE:
        links.append(Link("The same network with gaze", run.path.resolve().parent / REPORT))
    try:
        voters = run.voters if run.vote is not None else ()
    except UserError:  # one of them is gone, or another run
        voters = ()
    return [*links, *map(report_of, voters)]
