"""How often intervals over seeds hold the truth, for AUC differences with noise of cases and seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Result
from radgaze.evaluation.statistics.across_seeds import across
from radgaze.evaluation.statistics.delong import influence
from radgaze.evaluation.statistics.multiple_testing import holm
from radgaze.evaluation.statistics.resampling import Estimate

Floats = NDArray[np.float64]

SEPARATION = 1.19  # of two normals of variance 1: an AUC of .80
SLOPE = 0.198  # of the AUC by the separation, there
SHARED, OF_METHOD, OF_RUN = 0.6, 0.1, 0.3  # parts of a score's variance: case, case by method, case by seed


def differences(
    rng: np.random.Generator,
    *,
    seeds: int,
    s: float,
    experiments: int = 1,
    cases: int = 250,
    gain: float = 0.0,
    resamples: int = 200,
) -> list[list[Estimate]]:
    """Per experiment and seed the AUC's difference to a baseline that is truly as good but for `gain`.

    All runs are tested on the same cases. A run's separation differs between seeds so that its AUC does by s;
    a case's score has a part of the case, one of case by method and one of case by run. Resamples are of
    DeLong's influences: the bootstrap to first order, a hundred times as fast.

    Args:
        rng: Draws everything.
        seeds: How many.
        s: Deviation of one run's AUC between seeds.
        experiments: How many are compared with the baseline.
        cases: Number of cases; a quarter of them is positive.
        gain: By which the experiments' AUC is truly higher.
        resamples: Number of resamples of the cases.
    """
    labels = np.arange(cases) < cases // 4
    methods = 1 + experiments
    separation = SEPARATION + rng.normal(0, s / SLOPE, (methods, seeds, 1))
    separation[1:] += gain / SLOPE
    scores = (
        np.sqrt(SHARED) * rng.normal(size=cases)
        + np.sqrt(OF_METHOD) * rng.normal(size=(methods, 1, cases))
        + np.sqrt(OF_RUN) * rng.normal(size=(methods, seeds, cases))
        + separation * labels
    )
    auc, phi = influence(labels, scores.reshape(methods * seeds, cases))
    auc, phi = auc.reshape(methods, seeds), phi.reshape(methods, seeds, cases)
    weights = np.hstack(
        [rng.multinomial(n, np.full(n, 1 / n), resamples) for n in (labels.sum(), (~labels).sum())]
    )
    found = []
    for method in range(1, methods):
        value = auc[method] - auc[0]
        resampled = value + weights @ (phi[method] - phi[0]).T
        found.append([Estimate(float(v), r) for v, r in zip(value, resampled.T, strict=True)])
    return found


def rates(*, seeds: int, s: float, experiments: int, cases: int, trials: int) -> dict[str, float]:
    """How often an interval holds 0, p is below .05 and .01, and any of the experiments' after Holm."""
    rng = np.random.default_rng([seeds, round(1000 * s), experiments, cases])
    held, p, any_below = [], [], []
    for _ in range(trials):
        found = [
            across(of, (-1, 1))
            for of in differences(rng, seeds=seeds, s=s, experiments=experiments, cases=cases)
        ]
        held += [low <= 0 <= high for low, high in (one.interval for one in found)]
        own = [one.p for one in found]
        p += own
        any_below.append(min(value for value in holm(own) if value is not None) < 0.05)
    below = np.array(p)
    return {
        "coverage": float(np.mean(held)),
        "type I at .05": float((below < 0.05).mean()),
        "type I at .01": float((below < 0.01).mean()),
        "family-wise, Holm": float(np.mean(any_below)),
    }


def run(experiments: int = 11, cases: int = 250, trials: int = 1000) -> Result:
    """Coverage, type I and family-wise error for 3, 5 and 10 seeds.

    Args:
        experiments: Compared with one baseline.
        cases: Number of test cases, shared by all runs.
        trials: Per row.
    """
    rows = [
        {"seeds": seeds, "s": f"{s:.3f}"}
        | rates(seeds=seeds, s=s, experiments=experiments, cases=cases, trials=trials)
        for seeds in (3, 5, 10)
        for s in (0.0, 0.015, 0.04)
    ]
    return Result(
        "Differences of AUCs over seeds that are truly 0",
        "Every experiment is as good as the baseline (AUC .80); its AUC differs between seeds by s, and "
        "scores have noise of case, case by method and case by run. Intervals and p-values of "
        "`radgaze.evaluation.statistics.across_seeds.across`; nominal .95, .05, .01 and .05.",
        rows,
        {"experiments": experiments, "cases": cases, "trials": trials},
        ["Experiments share a baseline, so a row's comparisons are not independent."],
    )
