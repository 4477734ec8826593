"""Whether the gaze on each case is distinguishable from its controls, in the words of a comparison."""

from __future__ import annotations

from dataclasses import replace

from radgaze.evaluation.comparison import Comparison
from radgaze.evaluation.comparison_rows import PairedRow
from radgaze.evaluation.controls import ControlPair
from radgaze.evaluation.statistics.decision import Difference, verdict
from radgaze.reporting.statistics_words import p_equals
from radgaze.reporting.wording import difference
from radgaze.runs.controls import WORDS
from radgaze.words import listed


def control_sentences(compared: Comparison) -> list[str]:
    """State whether each run that used gaze is distinguishable from its controls, or that it has none."""
    sentences = [_sentence(compared, pair) for pair in compared.controls.pairs]
    if compared.controls.without:
        names = listed(compared.controls.without)
        sentences.append(
            f"No control of {names} is compared: how much is owed to the gaze on each case, and how much to "
            "any map of where to look, is not known (setting gaze.control)."
        )
    return sentences


def _sentence(compared: Comparison, pair: ControlPair) -> str:
    about = f"{WORDS.get(pair.kind, pair.kind)} ({pair.control})"
    if compared.reference not in (pair.run, pair.control):
        return (
            f"{pair.run} and its control {pair.control} are each compared with {compared.reference} alone: "
            f"name {pair.run} first to compare the two."
        )
    other = pair.control if compared.reference == pair.run else pair.run
    rows = compared.differences(run=other, metric="auc", group=compared.main)
    if not rows:
        return f"Nothing can be said of {pair.run} against {about}: the {compared.main_title} is undefined."
    change = _of_gaze(rows[0], is_reversed=other == pair.control)
    decision = verdict(change, tested=True)
    words = f"{difference(change)}, p {p_equals(change.p, change.p_is_bound)} after Holm's correction"
    lead = f"The gaze on each case, in {pair.run}, is"
    if decision in ("better", "worse"):
        side = "higher" if decision == "better" else "lower"
        return f"{lead} distinguishable from {about}: {compared.main_title} is {side} with it, {words}."
    if decision == "few":
        return f"{lead} not to be judged against {about}: {change.lacking}."
    return f"{lead} not distinguishable from {about}: {words}. That is no proof that they are equal."


def _of_gaze(row: PairedRow, *, is_reversed: bool) -> Difference:
    """The difference of the run with the gaze of each case to its control, with its p-value."""
    change = row.estimate
    if not is_reversed:
        return change
    value, low, high = (None if each is None else -each for each in (change.value, change.high, change.low))
    return replace(change, value=value, low=low, high=high)
