"""Power that `statistics.power_analysis` predicts, beside that of simulated studies, of AUC differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Cell, Result
from benchmarks.seed_intervals import SEPARATION, SLOPE, differences
from radgaze.evaluation.statistics.across_seeds import Spread, across
from radgaze.evaluation.statistics.power_analysis import POWER, Power, of_difference, power, reached_level
from radgaze.evaluation.statistics.resampling import RESAMPLES

Floats = NDArray[np.float64]


def studies(
    *, seeds: int, s: float, cases: int, gain: float, trials: int, comparisons: int = 1
) -> tuple[Floats, list[Power]]:
    """The p-value of each of so many studies, and what each says that it could have shown."""
    rng = np.random.default_rng([seeds, round(1000 * s), cases, 7])
    p, found = [], []
    for _ in range(trials):
        (of,) = differences(rng, seeds=seeds, s=s, cases=cases, gain=gain)
        p.append(across(of, (-1, 1)).p)
        found.append(of_difference(of, patients=cases, cases=cases, comparisons=comparisons))
    return np.array(p), found


def truth(found: list[Power]) -> Spread:
    """The variances of the population, as the mean of many studies' estimates."""
    cases = float(np.sqrt(np.mean([one.spread.cases**2 for one in found])))
    seeds = float(np.sqrt(np.mean([one.spread.seeds**2 for one in found])))
    return Spread(cases, seeds, found[0].spread.count)


def true_gain(s: float, gain: float) -> float:
    """The difference of expected AUCs where the separation is larger by gain / SLOPE, and varies by s."""
    from scipy.stats import norm

    of = np.sqrt(2 + (s / SLOPE) ** 2)
    return float(norm.cdf((SEPARATION + gain / SLOPE) / of) - norm.cdf(SEPARATION / of))


def rates(*, seeds: int, s: float, cases: int, gain: float, comparisons: int, trials: int) -> dict[str, Cell]:
    """Predicted and simulated power of a gain, at 0.05 and at Holm's first step, and what studies say."""
    p, found = studies(seeds=seeds, s=s, cases=cases, gain=gain, trials=trials)
    of, delta = truth(found), true_gain(s, gain)
    row: dict[str, Cell] = {"seeds": seeds, "cases": cases, "s": f"{s:.3f}"}
    for m in (1, comparisons):
        at = "at .05" if m == 1 else f"at .05/{m}"
        row[f"predicted {at}"] = round(power(of, delta, reached_level(RESAMPLES, m)), 3)
        row[f"simulated {at}"] = round(float(np.mean(p < 0.05 / m)), 3)
    whole = Power(of, cases, reached=reached_level(RESAMPLES))
    each = [one.detectable for one in found if one.detectable is not None]
    low, middle, high = np.quantile(each, [0.1, 0.5, 0.9])
    row["detectable"] = round(float(whole.detectable or np.nan), 4)
    row["studies say (10, 50, 90%)"] = f"{low:.3f}, {middle:.3f}, {high:.3f}"
    return row


def run(gain: float = 0.05, comparisons: int = 11, trials: int = 500) -> Result:
    """Power for 3, 5 and 10 seeds, 100, 250 and 1,000 cases, and seeds that differ by 0 to .03.

    Args:
        gain: By which one method's AUC is truly higher, near enough.
        comparisons: Over which Holm's correction goes, at its first step.
        trials: Per row.
    """
    rows = [
        rates(seeds=seeds, s=s, cases=cases, gain=gain, comparisons=comparisons, trials=trials)
        for s in (0.0, 0.015, 0.03)
        for cases in (100, 250, 1000)
        for seeds in (3, 5, 10)
    ]
    apart = max(
        abs(float(row[f"predicted {at}"]) - float(row[f"simulated {at}"]))
        for row in rows
        for at in ("at .05", f"at .05/{comparisons}")
    )
    return Result(
        "Power of differences of AUCs over seeds",
        f"One method's AUC is higher by {gain:g} than the other's .80; studies as in `seed_intervals`: one "
        "run's AUC differs between seeds by s, a difference of two by 1.4 s, and scores have noise of case, "
        "case by method and case by run. A study finds the difference if p of "
        "`statistics.across_seeds.across` is below .05, or below Holm's first step. Predicted is the power "
        "that `statistics.power_analysis` computes from the variances, averaged over the row's studies; "
        f"detectable is the difference that it says is found with {POWER:.0%} at .05, and the last column is "
        "what single studies say of it, each from its own variances.",
        rows,
        {"gain": gain, "comparisons": comparisons, "trials": trials},
        [f"Predicted and simulated power differ by at most {apart:.3f}.", _by_differences(gain)],
    )


def _by_differences(gain: float, trials: int = 200) -> str:
    """Power where s is that of the seeds' differences, as `spread` measures it, with all that is in it."""
    shared = {
        cases: truth(studies(seeds=5, s=0.0, cases=cases, gain=gain, trials=trials)[1]).cases
        for cases in (250, 1000)
    }
    said = [
        f"{seeds} seeds, {cases:,} cases, s {s:.3f}: {power(Spread(shared[cases], s, seeds), gain):.2f}"
        for seeds, cases, s in ((3, 1000, 0.015), (3, 1000, 0.03), (5, 250, 0.015), (10, 250, 0.03))
    ]
    return (
        "In the table a difference varies between seeds by more than s: by that of both runs, and by what "
        "cases do to one run alone. Where s is all by which differences vary, the predicted power at .05 is "
        + "; ".join(said)
        + "."
    )
