"""Verdicts of an audit on each method, as a table."""

from __future__ import annotations

from radgaze.evaluation import baselines
from radgaze.evaluation.audit.aspects import ASPECTS, Aspect
from radgaze.evaluation.audit.ceilings import CEILINGS
from radgaze.evaluation.audit.results import AuditResults

MAPS = {
    **{name: kind.label for name, kind in baselines.REGISTRY.items()},
    **{name: ceiling.label for name, ceiling in CEILINGS.items()},
}


def judged(results: AuditResults) -> list[Aspect]:
    """Return the aspects with a verdict on each method that were measured on one."""
    return [aspect for aspect in ASPECTS.values() if aspect.column and is_measured(results, aspect)]


def verdict_columns(results: AuditResults) -> list[str]:
    """Return the heading of each of the `judged` aspects."""
    return [str(aspect.column) for aspect in judged(results)]


def verdict_rows(results: AuditResults) -> list[list[str]]:
    """Return a row for each method: its label and a verdict for each of the `judged` aspects."""
    return [
        [label(results, name), *(aspect.verdict(method) for aspect in judged(results))]
        for name, method in results.audited().items()
    ]


def verdict_table(results: AuditResults) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of the table of verdicts."""
    return ["method", *verdict_columns(results)], verdict_rows(results)


def label(results: AuditResults, name: str) -> str:
    """Return the label of a method, with its number of passes, or of a baseline map or ceiling."""
    recipe = results.recipes.get(name)
    options = {} if recipe is None else recipe.options
    passes = next((options[key] for key in ("samples", "steps") if key in options), None)
    return MAPS.get(name, name) + (f" ({passes} passes)" if passes else "")


def is_measured(results: AuditResults, aspect: Aspect) -> bool:
    """Return whether an aspect was measured on a method."""
    return any(aspect.name in method.figures for method in results.audited().values())
