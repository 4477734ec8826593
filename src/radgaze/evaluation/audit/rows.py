"""An audit in words and rows, for its tables, its figures and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radgaze.evaluation import baselines
from radgaze.evaluation.audit.aspects import ASPECTS, HEADLINES
from radgaze.evaluation.audit.results import CEILINGS, COMPARED
from radgaze.evaluation.metrics.metric import Metric
from radgaze.evaluation.statistics.evidence import LEAST_PATIENTS, least_discordant
from radgaze.evaluation.statistics.means import FEW, LEAST

MAPS = {
    **{name: kind.label for name, kind in baselines.REGISTRY.items()},
    **{name: f"{title} (ceiling)" for name, title in CEILINGS.items()},
}
QUESTIONS = {
    "agreement": "Does it point where the radiologist looked?",
    "localisation": "Does it point into the radiologist's boxes and masks?",
    "faithfulness": "Does the model use what the map points at?",
    "sanity": "Does the map depend on what was learnt?",
    "stability": "Does the map stay when the image hardly changes?",
    "cost": "What does it cost?",
}
VERDICTS = {
    "better": "better than every floor",
    "even": "no different from the best floor",
    "worse": "worse than a floor",
    "few": "no verdict",
    None: "–",
}
INTERVALS = (
    f"Intervals are the patient bootstrap's, of fewer than {FEW} patients the t-interval with a correction "
    "for skewness: meant to cover 95%, it covers 91 to 96% in simulations of skewed figures of "
    f"{LEAST} patients and more; of fewer there is none."
)
WORDS_UNCHANGED = "✗ does not change with the weights"


VERDICT_COLUMNS = ("gaze", "boxes", "faithfulness", "weights")


def verdict_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """Per method its name and a verdict for each of `VERDICT_COLUMNS`."""
    rows = []
    for name, found in methods(summary).items():
        of = found["against_floors"]
        words = [
            (of[aspect].get("lacking") or VERDICTS[of[aspect]["verdict"]]) if aspect in of else "–"
            for aspect in COMPARED
        ]
        rows.append([label(summary, name), *words, weights_verdict(found)])
    return rows


def weights_verdict(found: Mapping[str, Any]) -> str:
    """Whether a method's maps change with the weights, in words."""
    if found["changes"] is None:
        return "–"
    return "changes" if found["changes"] else WORDS_UNCHANGED


def unchanged(summary: Mapping[str, Any], name: str) -> bool:
    """Whether a map is a method's that does not change with the weights, and is to be marked."""
    return summary["methods"][name].get("changes") is False


def criterion(summary: Mapping[str, Any]) -> str:
    """How the verdicts are reached."""
    named = ", ".join(f"{ASPECTS[a][HEADLINES[a]].title} ({a})" for a in COMPARED)
    return (
        f"Against the floors by the paired difference of {named}, and its interval; no verdict is given on "
        f"fewer than {LEAST_PATIENTS} patients, or where fewer than {least_discordant()} differ at "
        f"all. {INTERVALS} "
        "A method does not change with the weights where its maps of a model without any learnt weight still "
        f"have a mean rank correlation of {summary['unchanged_from']} or more with those of the trained one."
    )


def methods(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of methods alone, without floors and ceilings."""
    return {name: found for name, found in summary["methods"].items() if "changes" in found}


def label(summary: Mapping[str, Any], name: str) -> str:
    """A method's name, with the number of passes where it was told one; a floor's or a ceiling's in words."""
    options = (summary["recipes"].get(name) or {}).get("options", {})
    passes = next((options[key] for key in ("samples", "steps") if key in options), None)
    return MAPS.get(name, name) + (f" ({passes} passes)" if passes else "")


def heading(metric: Metric) -> str:
    """A metric's name and direction."""
    return f"{metric.title} {'↑' if metric.higher_is_better else '↓'}"


def aspect_rows(summary: Mapping[str, Any], aspect: str) -> list[tuple[str, str, Sequence[Any]]]:
    """Label, name and entries (None where not measured) of all that an aspect was measured of."""
    found = summary["methods"]
    ordered = [*methods(summary), *(name for name in found if name in MAPS)]
    return [
        (
            label(summary, name),
            name,
            [found[name]["figures"][aspect].get(metric) for metric in ASPECTS[aspect]],
        )
        for name in ordered
        if aspect in found[name]["figures"]
    ]
