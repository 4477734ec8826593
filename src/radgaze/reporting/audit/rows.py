"""Rows and sentences of an audit, for its tables, figures and page."""

from __future__ import annotations

from radgaze.evaluation.audit.aspects import ASPECTS, Aspect
from radgaze.evaluation.audit.aspects.aspect import keyed, metric_and_subject
from radgaze.evaluation.audit.results import AuditEstimate, AuditResults, MethodResults
from radgaze.evaluation.audit.verdicts import MAPS, is_measured, label
from radgaze.evaluation.metrics.metric import Metric
from radgaze.evaluation.statistics.case_means import FEW, LEAST
from radgaze.evaluation.statistics.evidence import LEAST_PATIENTS, least_discordant
from radgaze.reporting.wording import estimate
from radgaze.words import count, listed

INTERVALS = (
    "Intervals are those of the patient bootstrap; for fewer than "
    f"{FEW} patients the t-interval with a correction for skewness: meant to cover 95%, it covers 91 to 96% "
    f"in simulations of skewed figures for {LEAST} patients and more; for fewer there is none."
)

PROBED = tuple(name for name, aspect in ASPECTS.items() if aspect.probed)
"""Names of the aspects that are measured on the probed cases only."""


def is_flagged(method: MethodResults) -> bool:
    """Return whether an aspect flags a method, so that tables and figures mark it."""
    return method.against_floors is not None and any(aspect.flags(method) for aspect in ASPECTS.values())


def flag_words() -> str:
    """Return the explanation of the mark of flagged methods."""
    return " or ".join(aspect.flag for aspect in ASPECTS.values() if aspect.flag)


def criterion(results: AuditResults) -> str:
    """Describe the criteria of the verdicts."""
    compared = [aspect for aspect in ASPECTS.values() if aspect.of_baselines and is_measured(results, aspect)]
    headlines = ", ".join(f"{aspect.metrics[aspect.headline].title} ({aspect.name})" for aspect in compared)
    others = [sentence for aspect in ASPECTS.values() if (sentence := aspect.criterion(results))]
    against_floors = (
        f"Against the floors by the paired difference of {headlines}, and its interval; no verdict is given "
        f"on fewer than {LEAST_PATIENTS} patients, or where fewer than {least_discordant()} differ at "
        f"all. {INTERVALS}"
    )
    return " ".join([against_floors, *others])


def heading(metric: Metric) -> str:
    """Return a metric's name, and its direction where it has one."""
    if not metric.directed:
        return metric.title
    return f"{metric.title} {'↑' if metric.higher_is_better else '↓'}"


def shown(aspect: Aspect) -> dict[str, Metric]:
    """Return the metrics in the table of an aspect, by name."""
    return {name: metric for name, metric in aspect.metrics.items() if name not in aspect.same_for_all}


def subjects(results: AuditResults, aspect: Aspect) -> list[str]:
    """Return the subjects of an aspect; "" alone for an aspect without."""
    figures = [method.figures.get(aspect.name, {}) for method in results.methods.values()]
    return list(dict.fromkeys(metric_and_subject(name)[1] for of_method in figures for name in of_method))


def aspect_rows(results: AuditResults, aspect: Aspect) -> list[tuple[str, str, list[AuditEstimate | None]]]:
    """Return label, name and figures of each map of an aspect, None for a metric that was not measured.

    An aspect with several subjects has a row for each of them, whose label begins with it.
    """
    ordered = [*results.audited(), *(name for name in results.methods if name in MAPS)]
    every, rows = subjects(results, aspect), []
    for subject in every:
        for name in ordered:
            figures = results.methods[name].figures.get(aspect.name)
            if figures is not None:
                words = f"{subject}: {label(results, name)}" if len(every) > 1 else label(results, name)
                rows.append((words, name, [figures.get(keyed(metric, subject)) for metric in shown(aspect)]))
    return rows


def notes(results: AuditResults, aspect: Aspect) -> list[str]:
    """Return the sentences below the table of an aspect: figures that no map changes, and `Aspect.notes`."""
    figures: dict[str, AuditEstimate] = {}
    for method in results.methods.values():
        figures = method.figures.get(aspect.name, {}) | figures
    sentences = []
    for subject in subjects(results, aspect) if aspect.same_for_all else ():
        measured = {
            aspect.metrics[metric].title: figure
            for metric in aspect.same_for_all
            if (figure := figures.get(keyed(metric, subject))) is not None
        }
        words = listed([f"{title} {estimate(figure, aspect.digits)}" for title, figure in measured.items()])
        cases = count(max((figure.n for figure in measured.values()), default=0), "case")
        note = f" ({subject})" if subject else ""
        sentences.append(f"This network{note}, {cases}: {words}.")
    return [*sentences, *aspect.notes(results.audited())]


def unmeasured(results: AuditResults) -> list[str]:
    """Return a sentence for each aspect that was measured on no method."""
    return [
        f"{ASPECTS[name].title} was not measured: {why.removesuffix('.')}."
        for name, why in (results.unmeasured or {}).items()
        if name in ASPECTS
    ]
