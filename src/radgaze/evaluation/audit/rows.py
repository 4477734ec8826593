"""An audit in words and rows, for its tables, its figures and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radgaze.evaluation import baselines
from radgaze.evaluation.audit.aspects import ASPECTS, Aspect
from radgaze.evaluation.audit.ceilings import CEILINGS
from radgaze.evaluation.metrics.metric import Metric
from radgaze.evaluation.statistics.evidence import LEAST_PATIENTS, least_discordant
from radgaze.evaluation.statistics.means import FEW, LEAST

MAPS = {
    **{name: kind.label for name, kind in baselines.REGISTRY.items()},
    **{name: ceiling.label for name, ceiling in CEILINGS.items()},
}
INTERVALS = (
    f"Intervals are the patient bootstrap's, of fewer than {FEW} patients the t-interval with a correction "
    "for skewness: meant to cover 95%, it covers 91 to 96% in simulations of skewed figures of "
    f"{LEAST} patients and more; of fewer there is none."
)

PROBED = tuple(name for name, aspect in ASPECTS.items() if aspect.probed)
"""Names of the aspects that are measured on the probed cases alone."""
JUDGED = tuple(aspect for aspect in ASPECTS.values() if aspect.column)
"""The aspects that say a verdict on each method."""
VERDICT_COLUMNS = tuple(str(aspect.column) for aspect in JUDGED)


def verdict_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """Per method its name and a verdict for each of `VERDICT_COLUMNS`."""
    rows = []
    for name, found in methods(summary).items():
        rows.append([label(summary, name), *(aspect.verdict(found) for aspect in JUDGED)])
    return rows


def unchanged(summary: Mapping[str, Any], name: str) -> bool:
    """Whether a map is a method's that does not change with the weights, and is to be marked."""
    return summary["methods"][name].get("changes") is False


def criterion(summary: Mapping[str, Any]) -> str:
    """How the verdicts are reached."""
    compared = [aspect for aspect in ASPECTS.values() if aspect.of_baselines]
    named = ", ".join(f"{aspect.metrics[aspect.headline].title} ({aspect.name})" for aspect in compared)
    others = [words for aspect in ASPECTS.values() if (words := aspect.criterion(summary))]
    against = (
        f"Against the floors by the paired difference of {named}, and its interval; no verdict is given on "
        f"fewer than {LEAST_PATIENTS} patients, or where fewer than {least_discordant()} differ at "
        f"all. {INTERVALS}"
    )
    return " ".join([against, *others])


def methods(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of methods alone, without floors and ceilings."""
    return {name: found for name, found in summary["methods"].items() if "against_floors" in found}


def label(summary: Mapping[str, Any], name: str) -> str:
    """A method's name, with the number of passes where it was told one; a floor's or a ceiling's in words."""
    options = (summary["recipes"].get(name) or {}).get("options", {})
    passes = next((options[key] for key in ("samples", "steps") if key in options), None)
    return MAPS.get(name, name) + (f" ({passes} passes)" if passes else "")


def heading(metric: Metric) -> str:
    """A metric's name and direction."""
    return f"{metric.title} {'↑' if metric.higher_is_better else '↓'}"


def aspect_rows(summary: Mapping[str, Any], aspect: Aspect) -> list[tuple[str, str, Sequence[Any]]]:
    """Label, name and entries (None where not measured) of all that an aspect was measured of."""
    found = summary["methods"]
    ordered = [*methods(summary), *(name for name in found if name in MAPS)]
    return [
        (
            label(summary, name),
            name,
            [found[name]["figures"][aspect.name].get(metric) for metric in aspect.metrics],
        )
        for name in ordered
        if aspect.name in found[name]["figures"]
    ]
