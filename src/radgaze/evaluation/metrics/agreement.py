"""Metrics of the agreement of a map with gaze, after Bylinskii et al. (arXiv 1604.03605).

Maps P, gaze maps Q and fixation counts F have shape (B, H, W); metrics have shape (B,). P is any finite map,
higher at more relevant pixels, and for KL, SIM and information gain not negative; Q is not negative; F is the
number of fixations on each pixel (`fixation_counts`).

A constant P carries no information: it counts as the uniform map, whatever its value, and scores as chance
(NSS 0, CC 0, AUCs ½, KL and SIM of the uniform distribution), so that a run cannot gain by leaving out empty
maps. Metrics are NaN where the reference is undefined (no fixation, Q zero or for CC constant), and where a
map contains NaN or infinity. They raise a `ValueError` for arrays of other or different shapes, and where a
map that must not be negative is.

All metrics of fixations but AUC-Judd count how often a pixel was fixated. NSS, CC and AUC do not depend on
the scale and offset of P, and AUC depends only on the order of its pixels. KL penalises mass that P lacks at
the gaze; SIM also penalises mass elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radgaze.evaluation.metrics.metric import Metric

Floats = NDArray[np.float64]
Counts = NDArray[np.float64] | NDArray[np.bool_]

UNIFORM = 0.01
"""Share of the uniform distribution in the densities of `information_gain`."""
EPSILON = float(np.finfo(np.float64).eps)  # the regulariser of KL in Bylinskii et al.'s code
_CONSTANT = 1e-6  # relative range up to which a map is constant: rounding errors of single precision


def nss(P: ArrayLike, F: ArrayLike) -> Floats:
    """Compute the normalised scan-path saliency, Σ F · (P − mean P)/std P / Σ F.

    Unbounded, higher is better, 0 is chance.
    """
    P, F = _maps(P, F)
    return _guarded(_over(F * _standardised(P), F), P, F)


def cc(P: ArrayLike, Q: ArrayLike) -> Floats:
    """Compute Pearson's correlation of P and Q over pixels. In [−1, 1], higher is better, 0 is chance."""
    P, Q = _maps(P, Q)
    correlation = (_standardised(P) * _standardised(Q)).mean((1, 2))
    return np.where(_constant(Q), np.nan, _guarded(correlation, P, Q))


def kl(P: ArrayLike, Q: ArrayLike) -> Floats:
    """Compute the KL divergence of Q from P, Σ Q log(ε + Q/(ε + P)), both summing to 1.

    In nats, at least 0, lower is better. At a fixated pixel where P is zero, only ε bounds the cost (36
    nats): a map must be smooth to score well.
    """
    P, Q = _maps(P, Q)
    p, q = _distribution(P), _distribution(Q, empty=np.nan)
    return _guarded((q * np.log(EPSILON + q / (EPSILON + p))).sum((1, 2)), P, Q)


def sim(P: ArrayLike, Q: ArrayLike) -> Floats:
    """Compute the similarity Σ min(P, Q), both summing to 1. In [0, 1], higher is better, 1 is equal."""
    P, Q = _maps(P, Q)
    return _guarded(np.minimum(_distribution(P), _distribution(Q, empty=np.nan)).sum((1, 2)), P, Q)


def auc_judd(P: ArrayLike, F: ArrayLike) -> Floats:
    """Compute the AUC of P for fixated pixels, each once, against all others; ties count half.

    In [0, 1], higher is better, ½ is chance.
    """
    P, F = _maps(P, F)
    return _guarded(_auc(P, F > 0, F <= 0), P, F)


def shuffled_auc(P: ArrayLike, F: ArrayLike, others: ArrayLike) -> Floats:
    """Compute the AUC of P for this image's fixations against other images' (Zhang et al. 2008).

    A map of where people look in general stays near ½. All fixations of the other images are negatives,
    without sampling; ties count half. In [0, 1], higher is better, ½ is chance.

    Args:
        P: Maps.
        F: Fixation counts of the same images.
        others: Fixation counts of the other images, of shape (B, H, W).
    """
    P, F = _maps(P, F)
    _, others = _maps(P, others)
    return _guarded(_auc(P, F, others), P, F, others)


def shuffled_cc(P: ArrayLike, Q: ArrayLike, other_gaze: ArrayLike) -> Floats:
    """Compute CC with this image's gaze minus CC with that of the other images, CC(P, Q) − CC(P, ΣQ').

    A map of where people look in general stays near 0 or below. In [−2, 2], higher is better.

    Args:
        P: Maps.
        Q: Gaze maps.
        other_gaze: Sum of the gaze maps of the other images, of shape (B, H, W). The metric is NaN where it
            is constant.
    """
    return cc(P, Q) - cc(P, other_gaze)


def information_gain(P: ArrayLike, F: ArrayLike, prior: ArrayLike) -> Floats:
    """Compute the information gain of P over a prior in bits per fixation, Σ F (log₂ p − log₂ b) / Σ F.

    Kümmerer, Wallis and Bethge (2015). P becomes a density p = (1 − λ) P/ΣP + λ/(HW) with λ = `UNIFORM`, and
    the prior a density b in the same way, so that a fixation where a map is 0 costs a finite number of bits.
    Unbounded, higher is better, 0 is as good as the prior. NaN without a fixation.

    Args:
        P: Maps.
        F: Fixation counts.
        prior: Mean gaze map of other cases, of shape (B, H, W).
    """
    P, F = _maps(P, F)
    _, prior = _maps(P, prior)
    p, b = ((1 - UNIFORM) * _distribution(x) + UNIFORM / (x.shape[1] * x.shape[2]) for x in (P, prior))
    return _guarded(_over(F * (np.log2(p) - np.log2(b)), F), P, F, prior)


Formula = TypeVar("Formula", bound=Callable[..., Floats])


@dataclass(frozen=True, kw_only=True)
class Agreement(Metric):
    """A metric of agreement with gaze.

    Attributes:
        function: Function of maps P and the inputs that `needs` names, which returns a value for each map.
        needs: Further inputs: "fixations" (F), "gaze" (Q), or "others" (F, and F of the other images).
    """

    function: Callable[..., Floats]
    needs: Literal["fixations", "gaze", "others"]


def register(
    name: str,
    *,
    title: str,
    words: str,
    needs: Literal["fixations", "gaze", "others"],
    higher_is_better: bool = True,
    chance: float | None = None,
    bounds: tuple[float, float] = (float("-inf"), float("inf")),
) -> Callable[[Formula], Formula]:
    """Register a function as a metric, before the first evaluation; see `Agreement` for the arguments.

    Args:
        name: Name in metrics.json.
        title: Name in tables and pages.
        words: Meaning in one line.
        needs: Inputs of the function besides the map.
        higher_is_better: Whether higher values are better.
        chance: Expected value for an uninformative map.
        bounds: Lowest and highest possible value.
    """

    def decorate(function: Formula) -> Formula:
        METRICS[name] = Agreement(
            title=title,
            words=words,
            function=function,
            needs=needs,
            higher_is_better=higher_is_better,
            chance=chance,
            bounds=bounds,
        )
        return function

    return decorate


METRICS: dict[str, Agreement] = {
    "nss": Agreement(
        title="NSS",
        words="Mean z-score of the map at the fixations. 0 is chance.",
        function=nss,
        needs="fixations",
        chance=0.0,
    ),
    "cc": Agreement(
        title="CC",
        words="Pearson correlation of map and gaze map over the pixels. 0 is chance, 1 is equal.",
        function=cc,
        needs="gaze",
        chance=0.0,
        bounds=(-1.0, 1.0),
    ),
    "kl": Agreement(
        title="KL",
        words="Divergence of the gaze distribution from the map's, in nats. 0 is equal.",
        function=kl,
        needs="gaze",
        higher_is_better=False,
        bounds=(0.0, np.inf),
    ),
    "sim": Agreement(
        title="SIM",
        words="Mass that map and gaze distribution share. 1 is equal.",
        function=sim,
        needs="gaze",
        bounds=(0.0, 1.0),
    ),
    "auc_judd": Agreement(
        title="AUC-Judd",
        words="Fixated pixels against all pixels. 0.5 is chance.",
        function=auc_judd,
        needs="fixations",
        chance=0.5,
        bounds=(0.0, 1.0),
    ),
    "shuffled_auc": Agreement(
        title="shuffled AUC",
        words="This case's fixations against other cases' fixations. 0.5 is chance, and a map that knows "
        "only where people look in general stays there.",
        function=shuffled_auc,
        needs="others",
        chance=0.5,
        bounds=(0.0, 1.0),
    ),
}
"""The metrics in the order of tables, figures and pages; a new metric is a function and an entry here."""


def measure_agreement(P: ArrayLike, Q: ArrayLike, F: ArrayLike, others: ArrayLike) -> dict[str, Floats]:
    """Compute every metric in `METRICS`, by name.

    Args:
        P: Maps.
        Q: Gaze maps.
        F: Fixation counts.
        others: Fixation counts of the other images, of shape (B, H, W).
    """
    given = {"fixations": (F,), "gaze": (Q,), "others": (F, others)}
    return {name: metric.function(P, *given[metric.needs]) for name, metric in METRICS.items()}


def fixation_counts(points: ArrayLike, present: ArrayLike, size: tuple[int, int]) -> Floats:
    """Count the fixations on each pixel.

    Args:
        points: Fixations as (x, y) in map pixels, of shape (B, K, 2); pixel centres are at +0.5, so a pixel's
            index is the floor of the coordinate.
        present: Whether there is a fixation rather than padding, of shape (B, K). Fixations off the map are
            not counted.
        size: Size (H, W) of the map.

    Returns:
        Counts of shape (B, H, W).
    """
    x, y = np.moveaxis(np.asarray(points, dtype=np.float64), -1, 0)
    (H, W), B = size, len(x)
    # A fixation on the edge belongs to the outermost pixel, also where scaling rounded it beyond the edge.
    slack = 1e-3
    on_map = (x >= -slack) & (x <= W + slack) & (y >= -slack) & (y <= H + slack)
    image, place = np.nonzero(np.asarray(present, dtype=bool) & on_map)
    row = np.clip(np.floor(y[image, place]), 0, H - 1).astype(int)
    column = np.clip(np.floor(x[image, place]), 0, W - 1).astype(int)
    counts = np.zeros((B, H, W))
    np.add.at(counts, (image, row, column), 1)
    return counts


def is_constant(P: ArrayLike) -> NDArray[np.bool_]:
    """Return whether each map of shape (B, H, W) is constant, of shape (B,)."""
    return _constant(np.asarray(P, dtype=np.float64))


def _auc(P: Floats, positives: Counts, negatives: Counts) -> Floats:
    # Each image has its own order of pixels and few positives: sorting and searching image by image is faster
    # than ranking all images at once.
    P = np.where(_constant(P)[:, None, None], 0.0, P)
    return np.array([_auc_of_one(*maps) for maps in zip(P, positives, negatives, strict=True)])


def _auc_of_one(P: Floats, positives: Counts, negatives: Counts) -> float:
    """Σ F⁺ · (N(< P) + N(≤ P))/2 / (Σ F⁺ · N), N counting negatives: Mann and Whitney's U with midranks."""
    up, down = positives > 0, negatives > 0
    m, n = positives[up].astype(np.float64), negatives[down].astype(np.float64)
    if m.size == 0 or n.size == 0 or not np.isfinite(P).all():
        return float("nan")
    order = np.argsort(P[down])
    values, below = P[down][order], np.concatenate([[0.0], np.cumsum(n[order])])
    under = below[np.searchsorted(values, P[up], "left")]
    upto = below[np.searchsorted(values, P[up], "right")]
    return float((m * (under + upto) / 2).sum() / (m.sum() * n.sum()))


def _standardised(P: Floats) -> Floats:
    """(P − mean)/std of each image; zero for a constant one."""
    centred = P - P.mean((1, 2), keepdims=True)
    std = P.std((1, 2), keepdims=True)
    flat = _constant(P)[:, None, None]
    standardised: Floats = np.divide(centred, std, out=np.zeros_like(P), where=(std > 0) & ~flat)
    return standardised


def _distribution(P: Floats, *, empty: float | None = None) -> Floats:
    """P/ΣP of each image. A map of zeros is the uniform distribution, or `empty`."""
    if (P < 0).any():
        raise ValueError("KL and SIM need maps that are not negative")
    total = P.sum((1, 2), keepdims=True)
    rest = 1 / (P.shape[1] * P.shape[2]) if empty is None else empty
    shares: Floats = np.divide(P, total, out=np.full_like(P, rest), where=total > 0)
    return shares


def _constant(P: Floats) -> NDArray[np.bool_]:
    span, height = np.ptp(P, axis=(1, 2)), np.abs(P).max((1, 2))
    constant: NDArray[np.bool_] = span <= _CONSTANT * height
    return constant


def _guarded(figure: Floats, *maps: Floats) -> Floats:
    return np.where(np.all([np.isfinite(each).all((1, 2)) for each in maps], axis=0), figure, np.nan)


def _over(above: Floats, below: Floats) -> Floats:
    """Σ above / Σ below of each image, NaN where Σ below is 0."""
    a, b = above.sum((1, 2)), below.sum((1, 2))
    ratios: Floats = np.divide(a, b, out=np.full_like(a, np.nan), where=b > 0)
    return ratios


def _maps(P: ArrayLike, other: ArrayLike) -> tuple[Floats, Floats]:
    p, o = np.asarray(P, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if p.ndim != 3 or p.shape != o.shape:
        raise ValueError(f"maps must have one shape (B, H, W), got {p.shape} and {o.shape}")
    return p, o
