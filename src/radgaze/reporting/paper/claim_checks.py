"""The paper's claims: a verdict on each from these runs, by intervals and Holm-adjusted p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from radgaze.evaluation.across_runs import Difference, Differences, GridEstimates
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.statistics.decision import verdict
from radgaze.evaluation.statistics.evidence import LEAST_PATIENTS, LEAST_SEEDS
from radgaze.records import plain_fields
from radgaze.reporting.paper.controls import caveat
from radgaze.reporting.paper.results import BASELINE, BEST_OF_PAPER, PAPERS_SETS, members, title
from radgaze.reporting.paper.words import detectable_words, has_power
from radgaze.reporting.statistics_words import p_words
from radgaze.reporting.wording import interval, signed
from radgaze.words import count, listed

HOLDS, PARTLY, FAILS, OPEN, MISSING = "holds", "holds in part", "does not hold", "undecided", "not tested"

RULE = (
    "A comparison supports a claim, or contradicts it, where its 95% interval excludes 0 and its p-value "
    f"after Holm's correction is below 0.05. With fewer than {LEAST_PATIENTS} patients, with two seeds or "
    f"folds (an interval needs at least {LEAST_SEEDS}), or where too few patients differ for an exact test, "
    "it does neither. A claim holds where all its comparisons support it, holds in part where some support "
    "it and none contradicts it, and does not hold where some contradict it and none supports it. Otherwise "
    "it is undecided, which is no proof that there is no difference."
)


@dataclass(frozen=True)
class Comparison:
    """One experiment compared with another in one figure.

    Attributes:
        words: The two experiments and the figure.
        difference: The difference.
        says: 1 where it supports the claim, −1 where it contradicts it, else 0.
    """

    words: str
    difference: Difference
    says: int

    @property
    def sentence(self) -> str:
        """Text such as `Set 1, guided − Baseline U-Net: +0.041 (−0.012 to 0.094), Holm p 0.210`."""
        difference = self.difference
        around = interval(difference, form="({} to {})")
        text = f"{self.words}: {signed(difference.value)}{' ' if around else ''}{around}"
        if difference.lacking:
            return f"{text}, no verdict: {difference.lacking}"
        power = (
            f"; detectable with 80% power: {detectable_words(difference)}" if has_power(difference) else ""
        )
        return f"{text}, Holm p {p_words(difference.p, difference.p_is_bound)}{power}"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and the verdict of these runs.

    Attributes:
        text: The claim.
        verdict: One of the verdicts above.
        summary: Number of comparisons for and against it, or the reason why there is none.
        comparisons: The comparisons.
        control: What the controls of gaze say about the experiments of the claim, or that there are none.
    """

    text: str
    verdict: str
    summary: str
    comparisons: tuple[Comparison, ...]
    control: str = ""


def claims(estimates: GridEstimates) -> list[Claim]:
    """Judge the paper's claims, in the order of the paper."""
    to_baseline = estimates.differences.get(BASELINE, {})
    to_best = estimates.differences.get(BEST_OF_PAPER, {})
    sets = [name for name in members(*PAPERS_SETS) if name in to_baseline]
    missing = f"no run of {title(BASELINE)} to compare with, or none of the sets"
    rivals = [
        name
        for name in members("Baselines", *PAPERS_SETS)
        if name in to_best and name not in members("Set 3")
    ]
    result = [
        _claim(
            "Heatmap supervision raises the AUC over the baseline.",
            [_compare(name, BASELINE, to_baseline[name][MACRO]) for name in sets],
            missing,
            caveat(sets, (MACRO,), estimates),
        ),
        _claim(
            f"Set 3 is best: {title(BEST_OF_PAPER)} has the highest mean AUC of the paper's experiments.",
            [_compare(name, BEST_OF_PAPER, to_best[name][MACRO], lower=True) for name in rivals],
            f"no run of {title(BEST_OF_PAPER)}, or none to compare it with",
            caveat([BEST_OF_PAPER], (MACRO,), estimates),
        ),
    ]
    hard = [name for name in ("CHF", "pneumonia") if name in estimates.classes]
    if hard and BEST_OF_PAPER in to_baseline:
        differences = to_baseline[BEST_OF_PAPER]
        result.append(
            _claim(
                f"The hard classes gain: {title(BEST_OF_PAPER)} raises the AUC of {listed(hard)}.",
                [_compare(BEST_OF_PAPER, BASELINE, differences[name], figure=name) for name in hard],
                missing,
                caveat([BEST_OF_PAPER], hard, estimates),
            )
        )
    result.append(
        _claim(
            "Heatmap supervision brings heatmaps nearer to gaze (NSS).",
            _compare_maps(sets, to_baseline, "nss", "NSS"),
            "agreement with gaze was not measured, or not alike, in the baseline and the sets",
            caveat(sets, ("nss",), estimates),
        )
    )
    pointing = _compare_maps(sets, to_baseline, "iou", "IoU")
    if pointing:
        text = "Heatmap supervision moves heatmaps into the radiologists' boxes (IoU)."
        result.append(_claim(text, pointing, "", caveat(sets, ("iou",), estimates)))
    return result


def _compare_maps(
    names: Sequence[str], differences: Differences, metric: str, words: str
) -> list[Comparison]:
    """Compare the heatmaps of experiments with the baseline's, where the metric was measured."""
    return [
        _compare(name, BASELINE, difference, figure=words)
        for name in names
        if (difference := differences[name].get(metric)) is not None and difference.value is not None
    ]


def _compare(
    name: str, reference: str, difference: Difference, *, figure: str = "", lower: bool = False
) -> Comparison:
    """Compare two experiments; with `lower`, the claim is that `name` has the lower figure of the two."""
    words = f"{title(name)} − {title(reference)}" + (f", {figure}" if figure else "")
    sign = {"better": 1, "worse": -1}.get(verdict(plain_fields(difference), tested=True) or "", 0)
    return Comparison(words, difference, -sign if lower else sign)


def _claim(text: str, comparisons: Sequence[Comparison], missing: str, control: str) -> Claim:
    if not comparisons:
        return Claim(text, MISSING, f"Not tested: {missing}.", ())
    supporting, contradicting = (sum(each.says == sign for each in comparisons) for sign in (1, -1))
    if supporting == len(comparisons):
        verdict = HOLDS
    elif supporting and not contradicting:
        verdict = PARTLY
    elif contradicting and not supporting:
        verdict = FAILS
    else:
        verdict = OPEN
    undecided = len(comparisons) - supporting - contradicting
    total = count(len(comparisons), "comparison")
    summary = f"Of {total}, {supporting} for it, {contradicting} against it, {undecided} undecided."
    return Claim(text, verdict, summary, tuple(comparisons), control)
