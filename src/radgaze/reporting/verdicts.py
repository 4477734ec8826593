"""Sentences on whether a run's maps are better than baseline maps, and its AUCs better than chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from radgaze.evaluation.baseline_comparison import BaselineDifferences
from radgaze.evaluation.metrics.agreement import METRICS
from radgaze.evaluation.statistics.decision import Verdict, against_all, verdict
from radgaze.reporting.wording import MAPS, bounds, listed

Differences = BaselineDifferences


def floor_sentence(kind: str, differences: BaselineDifferences) -> tuple[bool, str] | None:
    """State on which metrics a map is better than every baseline map.

    Args:
        kind: Name of the map, such as "heatmap".
        differences: Differences of the map to the baseline maps.

    Returns:
        Whether it is better on every metric, and the sentence; None without numbers.
    """
    titles: dict[Verdict | None, list[str]] = {"better": [], "even": [], "worse": [], "few": [], None: []}
    for metric, by_baseline in differences.items():
        titles[against_all(map(verdict, by_baseline.values()))].append(METRICS[metric].title)
    if titles["few"]:
        reasons = {each.lacking for by_baseline in differences.values() for each in by_baseline.values()}
        return False, f"{MAPS[kind]} against the floors: no verdict, {min(reasons - {''})}."
    if not (titles["better"] or titles["even"] or titles["worse"]):
        return None
    two = max(map(len, differences.values())) <= 2
    every, best = ("both floors", "better") if two else ("every floor", "best")
    parts = []
    if titles["better"]:
        parts.append(f"better than {every} on {listed(titles['better'])}")
    if titles["even"]:
        parts.append(f"not distinguishable from the {best} floor on {listed(titles['even'])}")
    if titles["worse"]:
        parts.append(f"worse than at least one floor on {listed(titles['worse'])}")
    sentence = f"{MAPS[kind]} against the floors, case by case: {'; '.join(parts)}."
    if not titles["better"]:
        unseen = "than a map that never saw the case"
        if titles["even"]:
            sentence += f" That it follows a case's own gaze better {unseen} is not shown."
        else:
            sentence += f" By these numbers it follows a case's own gaze no better {unseen}."
    return bool(titles["better"]) and not titles["even"] and not titles["worse"], sentence


def chance_sentence(auc: Mapping[str, object], classes: Iterable[str]) -> str:
    """Name the classes whose AUC is not distinguishable from 0.5, or below it; empty if there is none.

    Args:
        auc: Estimate of the AUC of each class.
        classes: Names of the classes.
    """
    at_chance, below = list[str](), list[str]()
    for name in classes:
        _, low, high = bounds(auc.get(name))
        if low is not None and high is not None and low <= 0.5:
            (at_chance if high >= 0.5 else below).append(name)
    sentences = [
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} {words}."
        for names, words in (
            (at_chance, "not distinguishable from chance: the interval of the AUC reaches 0.5"),
            (below, "predicted worse than by chance: the interval of the AUC lies below 0.5"),
        )
        if names
    ]
    return " ".join(sentences)
