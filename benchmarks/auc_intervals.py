"""How often intervals of an AUC hold the truth: ours, others, and the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm

from benchmarks.results import Cell, Result
from radgaze.evaluation.metrics.discrimination import auc
from radgaze.evaluation.statistics.auc_intervals import Placed, auc_interval, placed, score_interval
from radgaze.evaluation.statistics.resampling import PaperResamples, PatientBootstrap, percentile_interval

Floats = NDArray[np.float64]
Interval = tuple[float, float]

SHARES = {"a third": (1 / 3, 1 / 3, 1 / 3), "a tenth": (0.1, 0.45, 0.45)}
"""Of the classes, which exclude each other; the first is the one whose AUC is looked at."""
BETWEEN_CLASSES = -0.3
"""Correlation of a case's three scores."""
WITHIN_PATIENT = 0.5
"""Correlation of two cases' scores of one class, where a patient has several."""
SIZES = (1, 1, 1, 1, 2, 2, 3, 4)
"""How many cases a patient may have, evenly; 1.9 on average."""
OWN_CLASS = 0.3
"""How often a patient's further case has a class of its own."""
SHARED = 0.6
"""Correlation of two runs' scores of a case."""
Z = float(norm.ppf(0.975))


def cases(
    rng: np.random.Generator, n: int, shares: Sequence[float], several: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The class and the patient of about n cases; of patients' first cases a fixed share has each class."""
    P = round(n / np.mean(SIZES)) if several else n
    counts = np.round(np.array(shares) * P).astype(int)
    counts[-1] = P - counts[:-1].sum()
    sizes = rng.choice(SIZES, size=P) if several else np.ones(P, dtype=int)
    who = np.repeat(np.arange(P), sizes)
    truth = np.repeat(np.arange(3), counts)[who]
    first = np.append(True, who[1:] != who[:-1])
    other = ~first & (rng.random(who.size) < OWN_CLASS)
    truth[other] = rng.choice(3, size=int(other.sum()), p=shares)
    return truth, who


def scores(
    rng: np.random.Generator, truth: NDArray[np.int64], who: NDArray[np.int64], value: float, several: bool
) -> Floats:
    """(3, n) normal scores, those of a case's own class higher by what makes every AUC truly `value`."""

    def noise(count: int) -> Floats:
        return np.asarray(_mixture() @ rng.normal(size=(3, count)))

    shared = WITHIN_PATIENT if several else 0.0
    own = np.sqrt(1 - shared) * noise(who.size) + np.sqrt(shared) * noise(int(who.max()) + 1)[:, who]
    return own + np.sqrt(2) * norm.ppf(value) * (np.arange(3)[:, None] == truth)


def intervals(of: Sequence[Placed], resampled: Floats, of_paper: Floats) -> dict[str, Interval]:
    """The interval of the classes' mean AUC, one for each way.

    Args:
        of: The classes.
        resampled: The mean on resamples of patients; without any, no way that needs them.
        of_paper: The mean on the paper's resamples.
    """
    value = float(np.mean([one.value for one in of]))
    phi = np.mean([one.positive + one.negative for one in of], axis=0)
    error = float(np.sqrt((phi**2).sum()))
    found = {
        "chosen": auc_interval(of),
        "DeLong": (value - Z * error, value + Z * error),
        "logit DeLong": on_logit(value, error),
        "paper's": percentile_interval(of_paper),
    }
    if resampled.size:
        found["percentiles"] = percentile_interval(resampled)
        found["BCa"] = bca(value, phi, resampled)
        found["logit bootstrap"] = on_logit(value, float(np.nanstd(resampled, ddof=1)))
    if len(of) == 1:
        found["Newcombe"] = score_interval(value, *of[0].patients)
    return found


def bca(value: float, phi: Floats, resampled: Floats) -> Interval:
    """Efron's (1987): bias from the resamples, acceleration from the patients' influences."""
    below = ((resampled < value).mean() + (resampled <= value).mean()) / 2
    bias = norm.ppf(np.clip(below, 1e-4, 1 - 1e-4))
    squares = float((phi**2).sum())
    acceleration = float((phi**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
    moved = bias + np.array([-Z, Z])
    low, high = np.quantile(resampled, norm.cdf(bias + moved / (1 - acceleration * moved)))
    return float(low), float(high)


def on_logit(value: float, error: float) -> Interval:
    """Symmetric about the value's logit; empty at 1, as there is no error there."""
    if not (0 < value < 1 and error > 0):
        return value, value
    low, high = expit(logit(value) + np.array([-Z, Z]) * error / (value * (1 - value)))
    return float(low), float(high)


def covers(
    *, n: int, share: str, several: bool, value: float, trials: int, resamples: int
) -> dict[str, dict[str, str]]:
    """For one class and for the macro mean, how each way did: coverage, misses on either side, mean width."""
    rng = np.random.default_rng([n, round(1000 * value), several, list(SHARES).index(share)])
    held: dict[str, dict[str, list[Interval]]] = {"class": {}, "macro": {}}
    for _ in range(trials):
        truth, who = cases(rng, n, SHARES[share], several)
        s = scores(rng, truth, who, value, several)
        labels = np.arange(3)[:, None] == truth
        of = [placed(y, x, who) for y, x in zip(labels, s, strict=True)]
        draws = PatientBootstrap(who, truth, resamples, int(rng.integers(1 << 30)))
        own, papers = (
            np.array([auc(y, x, W) for y, x in zip(labels, s, strict=True)])
            for W in (
                np.concatenate([np.zeros((0, who.size)), *draws.chunks()]),
                np.concatenate(list(PaperResamples(who.size, seed=int(rng.integers(1 << 30))).chunks())),
            )
        )
        for figure, chosen in (("class", slice(0, 1)), ("macro", slice(0, 3))):
            found = intervals(of[chosen], own[chosen].mean(0), papers[chosen].mean(0))
            for way, interval in found.items():
                held[figure].setdefault(way, []).append(interval)
    return {
        figure: {way: _told(np.array(ends), value) for way, ends in ways.items()}
        for figure, ways in held.items()
    }


def run(
    sizes: tuple[int, ...] = (84, 128, 250, 1000),
    aucs: tuple[float, ...] = (0.7, 0.85, 0.95, 0.98),
    trials: int = 1000,
    resamples: int = 400,
    most: int = 250,
) -> Result:
    """Coverage of intervals of one class's AUC and of the macro mean of three.

    Args:
        sizes: Numbers of cases.
        aucs: True AUCs.
        trials: Per row.
        resamples: Number of resamples of the bootstraps.
        most: On more cases bootstraps are left out: there all ways agree, and these take an hour.
    """
    rows: list[dict[str, Cell]] = []
    for n in sizes:
        for share in SHARES:
            for several in (False, True):
                for value in aucs:
                    drawn = resamples if n <= most else 0
                    found = covers(
                        n=n, share=share, several=several, value=value, trials=trials, resamples=drawn
                    )
                    about = {
                        "cases": n,
                        "of the class": share,
                        "cases of a patient": "1–4" if several else "1",
                    }
                    rows += [
                        {**about, "AUC": f"{value:.2f}", "figure": figure, **_columns(ways)}
                        for figure, ways in found.items()
                    ]
    return Result(
        "Intervals of an AUC that is known",
        "Three classes that exclude each other, with normal scores of a known AUC: one class, and the macro "
        "mean. Where patients have several cases, two of a patient correlate by .5, and most are of one "
        "class. Each cell: coverage (nominal .95), in brackets how often the truth lay below and above, and "
        "the mean width. “chosen” is `statistics.auc_interval`; percentiles, BCa and “logit "
        "bootstrap” draw patients within classes; DeLong's errors are summed over patients.",
        rows,
        {"trials": trials, "resamples": resamples},
        ["“paper's” is the paper's: 30 draws of 55 to 60 cases, whatever the number of cases."],
    )


def of_paper(
    sizes: tuple[int, ...] = (84, 108, 128, 250),
    aucs: tuple[float, ...] = (0.7, 0.8, 0.85, 0.9, 0.95),
    trials: int = 2000,
) -> Result:
    """Coverage of the paper's interval: the percentiles of 30 draws of 55 to 60 cases.

    Args:
        sizes: Numbers of test cases.
        aucs: True AUCs.
        trials: Per row.
    """
    rows: list[dict[str, Cell]] = []
    for several in (False, True):
        for n in sizes:
            for value in aucs:
                about = {"cases of a patient": "1–4" if several else "1", "cases": n, "AUC": f"{value:.2f}"}
                rows.append(about | _of_paper(n, value, several, trials))
    return Result(
        "The seed paper's interval",
        "The 2.5th and 97.5th percentile of the AUC over 30 draws of 55 to 60 test cases. Three classes of a "
        "third of the cases each, with normal scores of a known AUC. Each cell: coverage, in brackets how "
        "often the truth lay below and above, and the mean width.",
        rows,
        {"trials": trials},
    )


def _of_paper(n: int, value: float, several: bool, trials: int) -> dict[str, Cell]:
    rng = np.random.default_rng([n, round(1000 * value), several])
    held: dict[str, list[Interval]] = {"class": [], "macro": []}
    for _ in range(trials):
        truth, who = cases(rng, n, SHARES["a third"], several)
        s = scores(rng, truth, who, value, several)
        W = np.concatenate(list(PaperResamples(who.size, seed=int(rng.integers(1 << 30))).chunks()))
        found = np.array([auc(truth == c, s[c], W) for c in range(3)])
        held["class"].append(percentile_interval(found[0]))
        held["macro"].append(percentile_interval(found.mean(0)))
    return {figure: _told(np.array(ends), value) for figure, ends in held.items()}


def of_differences(
    sizes: tuple[int, ...] = (84, 128, 250, 1000),
    aucs: tuple[tuple[float, float], ...] = (
        (0.7, 0.7),
        (0.85, 0.85),
        (0.95, 0.95),
        (0.7, 0.8),
        (0.85, 0.95),
    ),
    trials: int = 1000,
    resamples: int = 500,
) -> Result:
    """Coverage of intervals of the difference of two runs' AUCs on the same cases.

    Args:
        sizes: Numbers of cases.
        aucs: True AUCs of the two.
        trials: Per row.
        resamples: Number of bootstrap resamples.
    """
    rows: list[dict[str, Cell]] = []
    for n in sizes:
        for share in SHARES:
            for several in (False, True):
                for pair in aucs:
                    about = {
                        "cases": n,
                        "of the class": share,
                        "cases of a patient": "1–4" if several else "1",
                    }
                    found = _differences(n, share, several, pair, trials, resamples)
                    rows += [
                        {**about, "AUCs": f"{pair[0]:.2f}, {pair[1]:.2f}", "figure": figure, **ways}
                        for figure, ways in found.items()
                    ]
    return Result(
        "Intervals of a difference of two AUCs that is known",
        "Cases as in auc_intervals; two runs whose scores of a case correlate by .6. Each cell: coverage "
        "(nominal .95), in brackets how often the truth lay below and above, and the mean width. Percentiles "
        "draw patients within classes; “MOVER” (Zou and Donner 2008) combines the two runs' own intervals.",
        rows,
        {"trials": trials, "resamples": resamples},
    )


def _differences(
    n: int, share: str, several: bool, pair: tuple[float, float], trials: int, resamples: int
) -> dict[str, dict[str, str]]:
    rng = np.random.default_rng([n, *(round(1000 * value) for value in pair), several, len(share)])
    held: dict[str, dict[str, list[Interval]]] = {"class": {}, "macro": {}}
    apart = np.sqrt(2) * norm.ppf(pair)
    for _ in range(trials):
        truth, who = cases(rng, n, SHARES[share], several)
        labels = np.arange(3)[:, None] == truth
        common, *own = (scores(rng, truth, who, 0.5, several) for _ in range(3))
        both = [np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * x for x in own]
        both = [x + d * labels for x, d in zip(both, apart, strict=True)]
        of = [[placed(y, x, who) for y, x in zip(labels, s, strict=True)] for s in both]
        draws = PatientBootstrap(who, truth, resamples, int(rng.integers(1 << 30)))
        W = np.concatenate(list(draws.chunks()))
        found = [np.array([auc(y, x, W) for y, x in zip(labels, s, strict=True)]) for s in both]
        for figure, chosen in (("class", slice(0, 1)), ("macro", slice(0, 3))):
            one, two = (side[chosen] for side in of)
            resampled = (found[1][chosen] - found[0][chosen]).mean(0)
            for way, interval in _of_difference(one, two, resampled).items():
                held[figure].setdefault(way, []).append(interval)
    return {
        figure: {way: _told(np.array(ends), pair[1] - pair[0]) for way, ends in ways.items()}
        for figure, ways in held.items()
    }


def _of_difference(one: Sequence[Placed], two: Sequence[Placed], resampled: Floats) -> dict[str, Interval]:
    a, b = (float(np.mean([c.value for c in of])) for of in (one, two))
    phi = [np.mean([c.positive + c.negative for c in of], axis=0) for of in (one, two)]
    error = float(np.sqrt(((phi[1] - phi[0]) ** 2).sum()))
    size = float(np.sqrt((phi[0] ** 2).sum() * (phi[1] ** 2).sum()))
    r = float(phi[0] @ phi[1]) / size if size > 0 else 0.0
    (l1, u1), (l2, u2) = auc_interval(one), auc_interval(two)
    below = np.sqrt(max(0.0, (b - l2) ** 2 + (u1 - a) ** 2 - 2 * r * (b - l2) * (u1 - a)))
    above = np.sqrt(max(0.0, (u2 - b) ** 2 + (a - l1) ** 2 - 2 * r * (u2 - b) * (a - l1)))
    return {
        "percentiles": percentile_interval(resampled),
        "DeLong": (b - a - Z * error, b - a + Z * error),
        "MOVER": (b - a - float(below), b - a + float(above)),
    }


def _columns(ways: dict[str, str]) -> dict[str, str]:
    order = (
        "chosen",
        "percentiles",
        "BCa",
        "DeLong",
        "logit DeLong",
        "logit bootstrap",
        "Newcombe",
        "paper's",
    )
    return {way: ways.get(way, "–") for way in order}


def _told(ends: Floats, truth: float) -> str:
    low, high = ends.T
    # A rounding of 1e-9 is no miss: an interval may end where the figure does.
    below, above = float((truth < low - 1e-9).mean()), float((truth > high + 1e-9).mean())
    return f"{1 - below - above:.3f} ({below:.3f}, {above:.3f}) {np.nanmean(high - low):.3f}"


@cache
def _mixture() -> Floats:
    return np.linalg.cholesky(np.full((3, 3), BETWEEN_CLASSES) + (1 - BETWEEN_CLASSES) * np.eye(3))
