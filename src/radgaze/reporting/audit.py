"""DIR/audit.html: whether a run's maps are any good, method by method, and what each number means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radgaze.evaluation import baselines
from radgaze.evaluation.audit.aspects import ASPECTS, HEADLINES
from radgaze.evaluation.audit.results import CEILINGS, FLOORS
from radgaze.evaluation.audit.rows import (
    QUESTIONS,
    VERDICT_COLUMNS,
    aspect_rows,
    criterion,
    heading,
    methods,
    unchanged,
    verdict_rows,
    weights_verdict,
)
from radgaze.evaluation.metrics.multilabel import exclusive
from radgaze.reporting import audit_figures, description
from radgaze.reporting.page import figure_picture, write_page
from radgaze.reporting.style import save
from radgaze.reporting.wording import bounds, count, listed, number
from radgaze.training.config import SELECTED_ON_TEST

if TYPE_CHECKING:
    from radgaze.training.run import Run


def audit_page(run: Run, out: Path, summary: Mapping[str, Any]) -> Path:
    """Write DIR/audit.html, audit.png and sanity.png; return the page's path.

    Args:
        run: The run.
        out: Folder.
        summary: As in audit.json.
    """
    overview = save(audit_figures.overview(summary), out / "audit.png")
    cascades = save(audit_figures.cascades(summary), out / "sanity.png")
    about = description.summary(
        run, description.manifest(run), exclusive=exclusive(run.predictions(), run.classes)
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
            (name, words, found["changes"] is False)
            for (name, *words), found in zip(verdict_rows(summary), methods(summary).values(), strict=True)
        ],
        criterion=criterion(summary),
        aspects=[_aspect(summary, aspect) for aspect in ASPECTS if aspect_rows(summary, aspect)],
        cascades=figure_picture(cascades, "Likeness to the trained map while weights are drawn anew"),
        layers=_layers(summary),
        how=_how(summary),
        columns=1,
    )


def findings(summary: Mapping[str, Any]) -> list[str]:
    """What the verdicts amount to, in sentences."""
    of_methods, sentences = methods(summary), []
    asked = {
        "agreement": "points where the radiologist looked better than every floor",
        "localisation": "points into the boxes better than every floor",
        "faithfulness": "points at what the model uses better than every floor",
    }
    for aspect, words in asked.items():
        of = {
            name: found["against_floors"][aspect]["verdict"]
            for name, found in of_methods.items()
            if aspect in found["against_floors"]
        }
        if not of:
            continue
        if set(of.values()) == {"few"}:
            against = [found["against_floors"].get(aspect, {}) for found in of_methods.values()]
            why = min((one["lacking"] for one in against if one.get("lacking")), default="")
            sentences.append(f"Whether a method {words} cannot be said: {why or 'too little evidence'}.")
            continue
        good = [name for name, verdict in of.items() if verdict == "better"]
        title = ASPECTS[aspect][HEADLINES[aspect]].title
        if not good:
            sentences.append(f"No method {words} ({title}).")
        else:
            sentences.append(
                f"{_few(good, len(of))} {words if len(good) == 1 else _plural(words)} ({title})."
            )
    still = [name for name, found in of_methods.items() if found["changes"] is False]
    if still:
        sentences.append(
            f"{listed(still)} {'does' if len(still) == 1 else 'do'} not change with the weights: what such a "
            "map shows is largely in the image, or in the network's shape, and was not learnt."
        )
    blank = [name for name, found in of_methods.items() if found["changes"] is None]
    if blank:
        sentences.append(
            f"{listed(blank)} {'gives' if len(blank) == 1 else 'give'} maps that are the same everywhere: "
            "whether they depend on the weights cannot be said."
        )
    if not still and not blank:
        sentences.append("Every method's maps change when the weights are drawn anew.")
    return sentences


def _few(names: list[str], of: int) -> str:
    if len(names) == 1:
        return names[0]
    return f"{'All' if len(names) == of else len(names)} of {of} methods, {listed(names)},"


def _plural(words: str) -> str:
    return words.replace("points", "point", 1)


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    settings = summary["settings"]
    return [
        ("Cases", f"{count(summary['cases'], 'case')} of {count(summary['patients'], 'patient')}"),
        ("Split", settings["split"]),
        ("Probed for faithfulness, sanity, stability", count(summary["probed"], "case")),
        ("Methods", str(len(methods(summary)))),
        ("Maps of", "the predicted class"),
        ("Device", settings["device"]),
    ]


def _aspect(summary: Mapping[str, Any], aspect: str) -> dict[str, Any]:
    """An aspect's table and what its metrics mean; a metric that nothing was measured in has no column."""
    rows = aspect_rows(summary, aspect)
    shown = [
        place
        for place in range(len(ASPECTS[aspect]))
        if any(bounds(entries[place])[0] is not None for _, _, entries in rows)
    ]
    metrics = [list(ASPECTS[aspect].values())[place] for place in shown]
    of_methods = methods(summary)
    return {
        "name": aspect,
        "question": QUESTIONS[aspect],
        "columns": [(heading(metric), metric.chance) for metric in metrics],
        "rows": [
            {
                "name": label,
                "floor": name in FLOORS,
                "ceiling": name in CEILINGS,
                "unchanged": unchanged(summary, name),
                "verdict": weights_verdict(of_methods[name]) if aspect == "sanity" else "",
                "n": max((entries[p]["n"] for p in shown if entries[p] is not None), default=0),
                "entries": [entries[place] for place in shown],
            }
            for label, name, entries in rows
        ],
        "glossary": [(metric.title, metric.words) for metric in metrics],
    }


def _layers(summary: Mapping[str, Any]) -> list[tuple[int, str]]:
    """The layers at which the weights were drawn anew, numbered as in the figure."""
    for found in methods(summary).values():
        for cascade in found["cascades"]:
            if cascade["mode"] == "cascading":
                return list(enumerate(cascade["layers"], start=1))
    return []


def _how(summary: Mapping[str, Any]) -> list[str]:
    """How the numbers came about, setting by setting."""
    s = summary["settings"]
    passes = "as many forward passes as its preset says"
    if s["passes"]:
        passes = f"at most {s['passes']} forward {'pass' if s['passes'] == 1 else 'passes'} for one map"
    return [
        f"Cases were drawn by seed {s['seed']}, evenly, whatever their class. Intervals: patients drawn "
        f"again {s['resamples']:,} times.",
        f"Maps are of the predicted class, at {s['size']} × {s['size']} pixels; beside boxes, of the true "
        "class. For agreement and localisation they are blurred by the Gaussian of the gaze map, "
        f"{listed([f'the {kind.title}' for kind in baselines.REGISTRY.values() if kind.blurred])} too.",
        f"A method that averages takes {passes}.",
        f"Deletion and insertion: {s['steps']} steps; the blur has a σ of {number(s['blur'], 2)} of the "
        f"image's side. Sensitivity-n: {s['subsets']} sets of {s['share']:.0%} of the pixels.",
        f"Weights drawn anew at {count(s['stages'], 'layer')} from the last to the first, in both ways; the "
        "class explained stays that of the trained model.",
        f"Stability: noise of σ {number(s['noise'], 2)} in units of the image's range, {s['draws']} times; "
        f"shifts by {s['shift']:.0%} of the side.",
        f"Floors know nothing of the case: {', '.join(k.summary(s) for k in baselines.REGISTRY.values())}.",
    ]
