"""DIR/audit.html: the results of an audit for each method, with explanations of the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from radgaze.evaluation import baselines
from radgaze.evaluation.audit.aspects import ASPECTS, Aspect
from radgaze.evaluation.audit.ceilings import CEILINGS
from radgaze.evaluation.audit.results import AuditEstimate, AuditResults, MethodResults
from radgaze.evaluation.audit.verdicts import verdict_columns, verdict_rows
from radgaze.reporting import description
from radgaze.reporting.audit import figures
from radgaze.reporting.audit.rows import (
    PROBED,
    aspect_rows,
    criterion,
    flag_words,
    heading,
    is_flagged,
    notes,
    shown,
    unmeasured,
)
from radgaze.reporting.page import Picture, figure_picture, write_page
from radgaze.reporting.run_links import report_of
from radgaze.reporting.style import save
from radgaze.reporting.wording import count, listed
from radgaze.runs.config import SELECTED_ON_TEST
from radgaze.runs.run import Run


@dataclass(frozen=True)
class _Row:
    """A row of an aspect's table.

    Attributes:
        name: Label.
        floor: Whether it is a baseline map.
        ceiling: Whether it is a ceiling.
        flagged: Whether the method is flagged, see `Aspect.flags`.
        verdict: Verdict on the method; may be empty.
        n: Number of cases.
        entries: Figures, column by column.
    """

    name: str
    floor: bool
    ceiling: bool
    flagged: bool
    verdict: str
    n: int
    entries: list[AuditEstimate | None]


@dataclass(frozen=True)
class _Figure:
    """The additional figure of an aspect.

    Attributes:
        picture: The picture.
        caption: Caption.
        title: Title of the list of ticks.
        ticks: Number and meaning of each tick.
    """

    picture: Picture
    caption: str
    title: str
    ticks: list[tuple[int, str]]


@dataclass(frozen=True)
class _Section:
    """The section of an aspect.

    Attributes:
        aspect: The aspect.
        figure: Additional figure; None for none.
        columns: Heading of each column, and the value at chance level or None.
        rows: Rows of the table.
        glossary: Title and meaning of each metric.
        notes: Sentences below the table.
    """

    aspect: Aspect
    figure: _Figure | None
    columns: list[tuple[str, float | None]]
    rows: list[_Row]
    glossary: list[tuple[str, str]]
    notes: list[str]


def write_audit_page(run: Run, folder: Path, results: AuditResults) -> Path:
    """Write DIR/audit.html, audit.png and the additional figures of aspects.

    Args:
        run: The run.
        folder: Folder of the audit.
        results: Results of the audit.

    Returns:
        Path of the page.
    """
    overview = save(figures.overview(results), folder / "audit.png")
    about = description.summary(run, description.store_facts(run), exclusive=run.exclusive)
    flagged = [is_flagged(method) for method in results.audited().values()]
    return write_page(
        "audit.html",
        folder / "audit.html",
        links=[report_of(run)],
        words="Audit of the maps",
        title=f"{run.name} – radgaze audit",
        name=run.name,
        about=about,
        stamp=SELECTED_ON_TEST if results.selection == "test" else None,
        facts=[("Experiment", description.experiment_of(run)), *_facts(results)],
        findings=findings(results),
        overview=figure_picture(
            overview, "Every method in every aspect; the numbers are in the tables below"
        ),
        flag=flag_words(),
        verdict_columns=verdict_columns(results),
        verdicts=[
            (name, words, mark) for (name, *words), mark in zip(verdict_rows(results), flagged, strict=True)
        ],
        criterion=criterion(results),
        sections=[
            _section(results, aspect, folder) for aspect in ASPECTS.values() if aspect_rows(results, aspect)
        ],
        limits=[sentence for aspect in ASPECTS.values() for sentence in aspect.limits],
        how=_how(results),
        columns=1,
    )


def findings(results: AuditResults) -> list[str]:
    """Summarise the verdicts in sentences."""
    methods = results.audited()
    return [sentence for aspect in ASPECTS.values() for sentence in aspect.findings(methods)]


def _facts(results: AuditResults) -> list[tuple[str, str]]:
    return [
        ("Cases", f"{count(results.cases, 'case')} of {count(results.patients, 'patient')}"),
        ("Split", results.settings.split),
        (f"Probed for {', '.join(PROBED)}", count(results.probed, "case")),
        ("Methods", str(len(results.audited()))),
        ("Maps of", "the predicted class"),
        ("Device", results.settings.device),
    ]


def _section(results: AuditResults, aspect: Aspect, folder: Path) -> _Section:
    """Return the section of an aspect, without metrics that were not measured."""
    rows = aspect_rows(results, aspect)
    places = [
        place
        for place in range(len(shown(aspect)))
        if any(_is_told(entries[place]) for _, _, entries in rows)
    ]
    metrics = [list(shown(aspect).values())[place] for place in places]
    same = [aspect.metrics[name] for name in aspect.same_for_all]
    return _Section(
        aspect,
        _figure(results, aspect, folder),
        [(heading(metric), metric.chance) for metric in metrics],
        [
            _row(aspect, label, name, results.methods[name], [entries[place] for place in places])
            for label, name, entries in rows
        ],
        [(metric.title, metric.words) for metric in (*metrics, *same)],
        notes(results, aspect),
    )


def _is_told(entry: AuditEstimate | None) -> bool:
    return entry is not None and (entry.value is not None or bool(entry.undefined))


def _row(
    aspect: Aspect, label: str, name: str, method: MethodResults, entries: list[AuditEstimate | None]
) -> _Row:
    has_verdict = aspect.judged and method.against_floors is not None
    return _Row(
        name=label,
        floor=name in baselines.REGISTRY,
        ceiling=name in CEILINGS,
        flagged=is_flagged(method),
        verdict=aspect.verdict(method) if has_verdict else "",
        n=max((entry.n for entry in entries if entry is not None), default=0),
        entries=entries,
    )


def _figure(results: AuditResults, aspect: Aspect, folder: Path) -> _Figure | None:
    figure = aspect.figure
    if figure is None:
        return None
    path = save(figures.of_aspect(results, figure), folder / f"{aspect.name}.png")
    ticks: list[str] = max(map(figure.ticks, results.audited().values()), key=len, default=[])
    return _Figure(
        figure_picture(path, figure.alternative),
        figure.caption,
        figure.ticks_title,
        list(enumerate(ticks, start=1)),
    )


def _how(results: AuditResults) -> list[str]:
    """Describe how the numbers were measured, setting by setting."""
    settings, kinds = results.settings, baselines.REGISTRY.values()
    blurring = [name for name, aspect in ASPECTS.items() if aspect.blurs]
    blurred = [f"the {kind.title}" for kind in kinds if kind.blurred]
    passes = "as many forward passes as its preset says"
    if settings.passes:
        passes = (
            f"at most {settings.passes} forward {'pass' if settings.passes == 1 else 'passes'} for one map"
        )
    floors = ", ".join(kind.summary(settings.baseline_counts) for kind in kinds)
    return [
        f"Cases were drawn by seed {settings.seed}, evenly, whatever their class. Intervals: "
        f"{settings.resamples:,} resamples of the patients.",
        f"Maps are of the predicted class, at {settings.size} × {settings.size} pixels; beside boxes, of the "
        f"true class. For {listed(blurring)} they are blurred by the Gaussian of the gaze map, "
        f"{listed(blurred)} too.",
        f"A method that averages takes {passes}.",
        *(sentence for aspect in ASPECTS.values() if (sentence := aspect.how(settings))),
        f"Floors use nothing of the case: {floors}.",
        *unmeasured(results),
    ]
