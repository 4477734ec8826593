"""DIR/audit.html: whether a run's maps are any good, method by method, and what each number means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radgaze.evaluation import baselines
from radgaze.evaluation.audit.aspects import ASPECTS, Aspect
from radgaze.evaluation.audit.ceilings import CEILINGS
from radgaze.evaluation.audit.results import FLOORS
from radgaze.evaluation.audit.rows import (
    PROBED,
    VERDICT_COLUMNS,
    aspect_rows,
    criterion,
    heading,
    methods,
    unchanged,
    verdict_rows,
)
from radgaze.evaluation.metrics.multilabel import exclusive
from radgaze.reporting import audit_figures, description
from radgaze.reporting.page import figure_picture, write_page
from radgaze.reporting.style import save
from radgaze.reporting.wording import bounds, count, listed
from radgaze.runs.config import SELECTED_ON_TEST

if TYPE_CHECKING:
    from radgaze.runs.run import Run


def audit_page(run: Run, out: Path, summary: Mapping[str, Any]) -> Path:
    """Write DIR/audit.html, audit.png and the aspects' own figures; return the page's path.

    Args:
        run: The run.
        out: Folder.
        summary: As in audit.json.
    """
    overview = save(audit_figures.overview(summary), out / "audit.png")
    about = description.summary(
        run, description.store_facts(run), exclusive=exclusive(run.predictions(), run.classes)
    )
    return write_page(
        "audit.html",
        out / "audit.html",
        title=f"{summary['experiment']} – radgaze audit",
        experiment=summary["experiment"],
        about=about,
        stamp=SELECTED_ON_TEST if summary["selection"] == "test" else None,
        facts=_facts(summary),
        findings=findings(summary),
        overview=figure_picture(
            overview, "Every method in every aspect; the numbers are in the tables below"
        ),
        verdict_columns=VERDICT_COLUMNS,
        verdicts=[
            (name, words, found.get("changes") is False)
            for (name, *words), found in zip(verdict_rows(summary), methods(summary).values(), strict=True)
        ],
        criterion=criterion(summary),
        aspects=[_aspect(summary, a, out) for a in ASPECTS.values() if aspect_rows(summary, a)],
        limits=[words for aspect in ASPECTS.values() for words in aspect.limits],
        how=_how(summary),
        columns=1,
    )


def findings(summary: Mapping[str, Any]) -> list[str]:
    """What the verdicts amount to, in sentences."""
    return [words for aspect in ASPECTS.values() for words in aspect.findings(methods(summary))]


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    settings = summary["settings"]
    return [
        ("Cases", f"{count(summary['cases'], 'case')} of {count(summary['patients'], 'patient')}"),
        ("Split", settings["split"]),
        (f"Probed for {', '.join(PROBED)}", count(summary["probed"], "case")),
        ("Methods", str(len(methods(summary)))),
        ("Maps of", "the predicted class"),
        ("Device", settings["device"]),
    ]


def _aspect(summary: Mapping[str, Any], aspect: Aspect, out: Path) -> dict[str, Any]:
    """An aspect's table and what its metrics mean; a metric that nothing was measured in has no column."""
    rows = aspect_rows(summary, aspect)
    shown = [
        place
        for place in range(len(aspect.metrics))
        if any(bounds(entries[place])[0] is not None for _, _, entries in rows)
    ]
    metrics = [list(aspect.metrics.values())[place] for place in shown]
    of_methods = methods(summary)
    return {
        "name": aspect.name,
        "title": aspect.title,
        "question": aspect.question,
        "per_case": aspect.per_case,
        "judged": aspect.judged,
        "course": _course(summary, aspect, out),
        "columns": [(heading(metric), metric.chance) for metric in metrics],
        "rows": [
            {
                "name": label,
                "floor": name in FLOORS,
                "ceiling": name in CEILINGS,
                "unchanged": unchanged(summary, name),
                "verdict": aspect.verdict(of_methods[name]) if aspect.judged and name in of_methods else "",
                "n": max((entries[p]["n"] for p in shown if entries[p] is not None), default=0),
                "entries": [entries[place] for place in shown],
            }
            for label, name, entries in rows
        ],
        "glossary": [(metric.title, metric.words) for metric in metrics],
    }


def _course(summary: Mapping[str, Any], aspect: Aspect, out: Path) -> dict[str, Any] | None:
    """An aspect's own figure, with what its ticks stand for; None where it has none."""
    if aspect.course is None:
        return None
    path = save(audit_figures.course(summary, aspect.course), out / f"{aspect.name}.png")
    points = max(map(aspect.course.points, methods(summary).values()), key=len, default=[])
    return {
        "picture": figure_picture(path, aspect.course.alternative),
        "caption": aspect.course.caption,
        "title": aspect.course.points_title,
        "points": list(enumerate(points, start=1)),
    }


def _how(summary: Mapping[str, Any]) -> list[str]:
    """How the numbers came about, setting by setting."""
    s = summary["settings"]
    smooth = [name for name, aspect in ASPECTS.items() if aspect.blurs]
    too = [f"the {kind.title}" for kind in baselines.REGISTRY.values() if kind.blurred]
    passes = "as many forward passes as its preset says"
    if s["passes"]:
        passes = f"at most {s['passes']} forward {'pass' if s['passes'] == 1 else 'passes'} for one map"
    return [
        f"Cases were drawn by seed {s['seed']}, evenly, whatever their class. Intervals: patients drawn "
        f"again {s['resamples']:,} times.",
        f"Maps are of the predicted class, at {s['size']} × {s['size']} pixels; beside boxes, of the true "
        f"class. For {listed(smooth)} they are blurred by the Gaussian of the gaze map, {listed(too)} too.",
        f"A method that averages takes {passes}.",
        *(words for aspect in ASPECTS.values() if (words := aspect.how(s))),
        f"Floors know nothing of the case: {', '.join(k.summary(s) for k in baselines.REGISTRY.values())}.",
    ]
