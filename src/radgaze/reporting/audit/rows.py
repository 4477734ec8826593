"""Rows, labels and sentences of an audit, for its tables, figures and page."""

from __future__ import annotations

from radgaze.evaluation import baselines
from radgaze.evaluation.audit.aspects import ASPECTS, Aspect
from radgaze.evaluation.audit.ceilings import CEILINGS
from radgaze.evaluation.audit.results import AuditEstimate, AuditResults, MethodResults
from radgaze.evaluation.metrics.metric import Metric
from radgaze.evaluation.statistics.case_means import FEW, LEAST
from radgaze.evaluation.statistics.evidence import LEAST_PATIENTS, least_discordant

MAPS = {
    **{name: kind.label for name, kind in baselines.REGISTRY.items()},
    **{name: ceiling.label for name, ceiling in CEILINGS.items()},
}
INTERVALS = (
    "Intervals are those of the patient bootstrap; for fewer than "
    f"{FEW} patients the t-interval with a correction for skewness: meant to cover 95%, it covers 91 to 96% "
    f"in simulations of skewed figures for {LEAST} patients and more; for fewer there is none."
)

PROBED = tuple(name for name, aspect in ASPECTS.items() if aspect.probed)
"""Names of the aspects that are measured on the probed cases only."""
JUDGED = tuple(aspect for aspect in ASPECTS.values() if aspect.column)
"""Aspects with a verdict on each method."""
VERDICT_COLUMNS = tuple(str(aspect.column) for aspect in JUDGED)


def verdict_rows(results: AuditResults) -> list[list[str]]:
    """Return a row for each method: its label and a verdict for each of `VERDICT_COLUMNS`."""
    return [
        [label(results, name), *(aspect.verdict(method) for aspect in JUDGED)]
        for name, method in results.audited().items()
    ]


def is_flagged(method: MethodResults) -> bool:
    """Return whether an aspect flags a method, so that tables and figures mark it."""
    return method.against_floors is not None and any(aspect.flags(method) for aspect in ASPECTS.values())


def flag_words() -> str:
    """Return the explanation of the mark of flagged methods."""
    return " or ".join(aspect.flag for aspect in ASPECTS.values() if aspect.flag)


def criterion(results: AuditResults) -> str:
    """Describe the criteria of the verdicts."""
    compared = [aspect for aspect in ASPECTS.values() if aspect.of_baselines]
    headlines = ", ".join(f"{aspect.metrics[aspect.headline].title} ({aspect.name})" for aspect in compared)
    others = [sentence for aspect in ASPECTS.values() if (sentence := aspect.criterion(results))]
    against_floors = (
        f"Against the floors by the paired difference of {headlines}, and its interval; no verdict is given "
        f"on fewer than {LEAST_PATIENTS} patients, or where fewer than {least_discordant()} differ at "
        f"all. {INTERVALS}"
    )
    return " ".join([against_floors, *others])


def label(results: AuditResults, name: str) -> str:
    """Return the label of a method, with its number of passes, or of a baseline map or ceiling."""
    recipe = results.recipes.get(name)
    options = {} if recipe is None else recipe.options
    passes = next((options[key] for key in ("samples", "steps") if key in options), None)
    return MAPS.get(name, name) + (f" ({passes} passes)" if passes else "")


def heading(metric: Metric) -> str:
    """Return a metric's name and direction."""
    return f"{metric.title} {'↑' if metric.higher_is_better else '↓'}"


def aspect_rows(results: AuditResults, aspect: Aspect) -> list[tuple[str, str, list[AuditEstimate | None]]]:
    """Return label, name and figures of each map of an aspect, None for a metric that was not measured."""
    ordered = [*results.audited(), *(name for name in results.methods if name in MAPS)]
    rows = []
    for name in ordered:
        figures = results.methods[name].figures.get(aspect.name)
        if figures is not None:
            rows.append((label(results, name), name, [figures.get(metric) for metric in aspect.metrics]))
    return rows
