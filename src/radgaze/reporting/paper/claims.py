"""Which of the paper's claims hold in these runs: a verdict on each, by interval and Holm-adjusted p."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from radgaze.evaluation.statistics.evidence import LEAST_PATIENTS, LEAST_SEEDS
from radgaze.evaluation.statistics.verdict import verdict
from radgaze.evaluation.summary import MACRO
from radgaze.reporting.paper.measured import Entry, Measured
from radgaze.reporting.paper.results import BASELINE, BEST_OF_PAPER, PAPERS_SETS, members, title
from radgaze.reporting.statistics_words import in_words, p_words
from radgaze.reporting.wording import bounds, count, interval, lacking, listed, signed

HOLDS, PARTLY, FAILS, OPEN, MISSING = "holds", "holds in part", "does not hold", "undecided", "not tested"

RULE = (
    "A comparison speaks for a claim, or against it, where its 95% interval leaves 0 out and its p-value "
    f"after Holm's correction is below 0.05. On fewer than {LEAST_PATIENTS} patients, over two seeds (at "
    f"least {LEAST_SEEDS} make an interval), or where too few patients differ for an exact test to tell, it "
    "speaks for nothing. A claim holds where all its comparisons speak for it, holds in "
    "part where some do and none speaks against it, does not hold where some speak against it and none for "
    "it. All else is undecided, and that is no proof that there is no difference."
)


@dataclass(frozen=True)
class Comparison:
    """One experiment against another on one figure: the difference, and whether it speaks for the claim (1),
    against it (−1) or for nothing (0)."""

    words: str
    entry: Entry
    says: int

    @property
    def sentence(self) -> str:
        """`Set 1, guided − Baseline U-Net: +0.041 (−0.012 to 0.094), Holm p 0.210`."""
        found = interval(self.entry, form="({} to {})")
        text = f"{self.words}: {signed(bounds(self.entry)[0])}{' ' if found else ''}{found}"
        power = f"; detectable with 80% power: {in_words(self.entry)}" if "detectable" in self.entry else ""
        if self.lacking:
            return f"{text}, no verdict: {self.lacking}"
        return f"{text}, Holm p {p_words(self.entry.get('p'), self.entry.get('p_is_bound'))}{power}"

    @property
    def lacking(self) -> str:
        """Why it can speak neither for the claim nor against it, whatever the figures; empty if it can."""
        return lacking(self.entry)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and what these runs say of it."""

    text: str
    verdict: str
    summary: str
    comparisons: tuple[Comparison, ...]


def claims(measured: Measured) -> list[Claim]:
    """The paper's claims in the order in which it makes them."""
    to_baseline = measured.differences.get(BASELINE, {})
    of_sets = [name for name in members(*PAPERS_SETS) if name in to_baseline]
    missing = f"no run of {title(BASELINE)} to compare with, or none of the sets"
    found = [
        _claim(
            "Heatmap supervision raises the AUC over the baseline.",
            [_compare(name, BASELINE, to_baseline[name][MACRO]) for name in of_sets],
            missing,
        )
    ]
    to_best = measured.differences.get(BEST_OF_PAPER, {})
    of_paper = members("Baselines", *PAPERS_SETS)
    rivals = [name for name in of_paper if name in to_best and name not in members("Set 3")]
    found.append(
        _claim(
            f"Set 3 is best: {title(BEST_OF_PAPER)} has the highest mean AUC of the paper's experiments.",
            [_compare(name, BEST_OF_PAPER, to_best[name][MACRO], lower=True) for name in rivals],
            f"no run of {title(BEST_OF_PAPER)}, or none to compare it with",
        )
    )
    helped = [c for c in ("CHF", "pneumonia") if c in measured.classes]
    if helped and BEST_OF_PAPER in to_baseline:
        entries = [(c, to_baseline[BEST_OF_PAPER][c]) for c in helped]
        found.append(
            _claim(
                f"The hard classes gain: {title(BEST_OF_PAPER)} raises the AUC of {listed(helped)}.",
                [_compare(BEST_OF_PAPER, BASELINE, entry, of=c) for c, entry in entries],
                missing,
            )
        )
    nearer = [name for name in of_sets if bounds(to_baseline[name].get("nss"))[0] is not None]
    found.append(
        _claim(
            "Heatmap supervision brings heatmaps nearer to gaze (NSS).",
            [_compare(name, BASELINE, to_baseline[name]["nss"], of="NSS") for name in nearer],
            "agreement with gaze was not measured, or not alike, in the baseline and the sets",
        )
    )
    pointing = [name for name in of_sets if bounds(to_baseline[name].get("iou"))[0] is not None]
    if pointing:
        found.append(
            _claim(
                "Heatmap supervision moves heatmaps into the radiologists' boxes (IoU).",
                [_compare(name, BASELINE, to_baseline[name]["iou"], of="IoU") for name in pointing],
                "",
            )
        )
    return found


def _compare(name: str, reference: str, entry: Entry, *, of: str = "", lower: bool = False) -> Comparison:
    """`lower`: the claim is that `name` is the lower of the two."""
    words = f"{title(name)} − {title(reference)}" + (f", {of}" if of else "")
    sign = {"better": 1, "worse": -1}.get(verdict(entry, tested=True) or "", 0)
    return Comparison(words, entry, -sign if lower else sign)


def _claim(text: str, comparisons: Sequence[Comparison], missing: str) -> Claim:
    if not comparisons:
        return Claim(text, MISSING, f"Not tested: {missing}.", ())
    speak_for, against = (sum(c.says == sign for c in comparisons) for sign in (1, -1))
    if speak_for == len(comparisons):
        verdict = HOLDS
    elif speak_for and not against:
        verdict = PARTLY
    elif against and not speak_for:
        verdict = FAILS
    else:
        verdict = OPEN
    still = len(comparisons) - speak_for - against
    of = count(len(comparisons), "comparison")
    summary = f"Of {of}, {speak_for} for it, {against} against it, {still} undecided."
    return Claim(text, verdict, summary, tuple(comparisons))
