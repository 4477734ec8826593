"""The files of a reader study's results: a page, Markdown, CSV and JSON."""

from __future__ import annotations

from pathlib import Path

from radgaze import records
from radgaze.files import write_text
from radgaze.reporting.page import write_page
from radgaze.reporting.wording import number
from radgaze.tables import write_csv
from radgaze.viewing.study.design import Condition, Design
from radgaze.viewing.study.readings import MEASURES
from radgaze.viewing.study.results import StudyResults
from radgaze.viewing.study.tables import cautions, findings, frame, tables

HOW = (
    "Over all readers, readers and cases both stand for more of their kind. Where each reader read each case "
    "in both conditions, differences are tested as in the analysis of Dorfman, Berbaum and Metz (1992) with "
    "Hillis' (2007) degrees of freedom, of the AUC by the jackknife's pseudovalues; elsewhere by a linear "
    "mixed model.",
    "Intervals are 95% intervals; p-values are two-sided. Holm's correction is over the differences of "
    "the primary measures together; others are exploratory. A patient counts once.",
    "The tables of single readers hold for that reader and other cases, and are not corrected.",
    "The difference of time is the ratio of geometric means.",
)
LIMITS = (
    "Readers of a study know that they are watched, that no patient depends on them, and how often a disease "
    "occurs in it: accuracy and time are not those of the ward.",
    "A higher agreement with the model where it is wrong shows over-reliance, whatever happens to the "
    "accuracy; agreement without the model is what the two would have in common by chance.",
    "That a heatmap changes decisions does not show that it tells what the model relies on.",
    "Where the mouse was is a rough sign of where a reader looked.",
)


def write(results: StudyResults, design: Design, out: Path) -> list[Path]:
    """Write index.html, results.md, results.csv and results.json.

    Args:
        results: The results.
        design: The design of the study.
        out: Folder of the files.

    Returns:
        Their paths, the page first.
    """
    out.mkdir(parents=True, exist_ok=True)
    shown = tables(results)
    paths = [out / name for name in ("index.html", "results.md", "results.csv", "results.json")]
    write_page(
        "reader_study.html",
        paths[0],
        title="radgaze reader study",
        facts=_facts(results, design),
        conditions=[(each.name, in_words(each)) for each in design.conditions],
        findings=findings(results),
        cautions=cautions(results),
        tables=shown,
        glossary=[(each.title, each.words) for each in MEASURES.values()],
        how=HOW,
        limits=LIMITS,
        columns=1,
    )
    write_text(markdown(results), paths[1])
    write_csv(frame(results), paths[2])
    records.write(results, paths[3])
    return paths


def markdown(results: StudyResults) -> str:
    """The results as Markdown."""
    parts = ["# Reader study", *(f"{each}" for each in (*findings(results), *cautions(results)))]
    return "\n\n".join([*parts, *(each.markdown() for each in tables(results))]) + "\n"


def in_words(condition: Condition) -> str:
    """Describe a condition."""
    parts = ["the radiograph"]
    if condition.prediction:
        parts.append("the model's answer and probabilities")
    if condition.method is not None:
        target = "the predicted class" if condition.target == "predicted" else condition.target
        parts.append(f"the heatmap {condition.method} of {target}")
    return ", ".join(parts)


def _facts(results: StudyResults, design: Design) -> list[tuple[str, str]]:
    return [
        ("Readers", f"{len(results.readers)} of {len(design.readers)}"),
        ("Readings", f"{results.answered} of {results.planned}"),
        ("Arrangement", f"{design.arrangement}, {design.order}"),
        ("Accuracy of the model alone", number(results.model_accuracy, 3)),
    ]
