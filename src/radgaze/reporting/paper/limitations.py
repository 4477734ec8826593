"""The limits of the figures of a grid, as sentences."""

from __future__ import annotations

from radgaze import experiments
from radgaze.evaluation.across_runs import GridEstimates
from radgaze.evaluation.per_run import HEATMAP_METRICS
from radgaze.reporting import pretraining
from radgaze.reporting.paper.results import BASELINE, Results, title
from radgaze.words import listed


def limits(results: Results, estimates: GridEstimates) -> list[str]:
    """State the limits of the figures of a grid, one sentence each."""
    unit = results.unit
    sentences = [
        f"The intervals include the drawing of test cases and of {unit}s, not another hospital or reader."
        if results.has_several_seeds
        else "Each method was trained once: a difference of two runs is not yet one of two methods.",
        "Agreement with gaze shows where a map is bright, not why the classifier decided. A map that does "
        "not depend on the case can agree well: compare with the floors.",
    ]
    if results.has_several_seeds:
        sentences.append(
            f"Few {unit}s say little about the variation between {unit}s, and no interval can correct that."
        )
    sentences += pretrained(results)
    sentences += _not_compared(estimates, unit)
    if estimates.repeated_patients:
        sentences.append("Some patients have more than one case; the bootstrap draws patients.")
    return sentences


def pretrained(results: Results) -> list[str]:
    """Say what the encoders of the experiments saw before, each sentence once."""
    return pretraining.sentences(
        (title(name), run) for name in results.experiments for run in results.runs[name].values()
    )


def _not_compared(estimates: GridEstimates, unit: str) -> list[str]:
    """The experiments, and the heatmaps, that could not be compared with the baseline."""
    differences = estimates.differences.get(BASELINE)
    if differences is None:
        return []
    others = [name for name in estimates.auc if name != BASELINE and not experiments.control_of(name)[1]]
    sentences = []
    apart = [title(name) for name in others if name not in differences]
    if apart:
        sentences.append(
            f"{listed(apart)} shared no test cases with the baseline in any {unit}: not compared with it."
        )
    unlike = [
        title(name)
        for name in others
        if name in differences and not differences[name].keys() & {*HEATMAP_METRICS}
    ]
    if unlike and any((*estimates.agreement.values(), *estimates.localisation.values())):
        sentences.append(
            f"Heatmaps of {listed(unlike)} are not compared with the baseline's: one of the two was not "
            "measured, or with other settings or on other cases."
        )
    return sentences
