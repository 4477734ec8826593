"""Metrics of how far predictions depend on a confounder, from pairs of images that differ in it alone.

One image of a pair shows the confounder, the other does not; anatomy, disease and noise are the same. The
difference of the two predictions is therefore the confounder's causal effect on the network, not an estimate
of it. Probabilities P (shown) and Q (not shown) have shape (N, C); metrics have shape (N,). A network
that does not use the confounder has 0 in all of them; only a total variation of 0 in every case says that
it does not, since reliance cancels between cases and flips miss what leaves the predicted class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radgaze.evaluation.metrics.metric import Metric
from radgaze.evaluation.metrics.multilabel import THRESHOLD

Floats = NDArray[np.float64]

METRICS: dict[str, Metric] = {
    "reliance": Metric(
        title="reliance",
        words="How much the probability of a class rises when its confounder alone is added; 0 is best.",
        directed=False,
        chance=0.0,
        bounds=(-1.0, 1.0),
    ),
    "total_variation": Metric(
        title="total variation",
        words="Total variation distance of the predictions with and without the confounder.",
        higher_is_better=False,
        bounds=(0.0, 1.0),
    ),
    "flips": Metric(
        title="flips",
        words="Share of the predictions that are of another class with the confounder than without.",
        higher_is_better=False,
        bounds=(0.0, 1.0),
    ),
}
"""The metrics by name, in the order of tables; `pairs` computes them."""


def pairs(
    P: ArrayLike, Q: ArrayLike, shown: ArrayLike, *, exclusive: bool, softmax: bool
) -> dict[str, Floats]:
    """Compute the metrics of each pair, by name.

    Args:
        P: Probabilities of the images with the confounder, (N, C).
        Q: Probabilities of the images without it, (N, C).
        shown: Class whose confounder is shown, (N,); −1 where it belongs to no class.
        exclusive: Whether every case has exactly one class.
        softmax: Whether the probabilities of an image are one distribution, rather than one for each class.

    Raises:
        ValueError: The shapes do not fit, or a class does not exist.
    """
    P, Q, k = np.asarray(P, np.float64), np.asarray(Q, np.float64), np.asarray(shown, np.int64)
    if P.ndim != 2 or P.shape != Q.shape or k.shape != P.shape[:1]:
        raise ValueError(f"pairs are (N, C), (N, C) and (N,); these are {P.shape}, {Q.shape} and {k.shape}")
    if k.size and not (k.min() >= -1 and k.max() < P.shape[1]):
        raise ValueError(f"shown classes are from -1 to {P.shape[1] - 1}, got {k.min()} to {k.max()}")
    return {
        "reliance": _reliance(P, Q, k),
        "total_variation": total_variation(P, Q, softmax=softmax),
        "flips": flips(P, Q, exclusive=exclusive),
    }


def total_variation(P: Floats, Q: Floats, *, softmax: bool) -> Floats:
    """Compute ½ Σ_k |P_k − Q_k|; of probabilities that need not add up to 1, the mean of |P_k − Q_k|.

    Both are the total variation distance of a prediction's distributions: over the classes, or of each class
    against its absence.
    """
    change = np.abs(P - Q)
    distance: Floats = change.sum(1) / 2 if softmax else change.mean(1)
    return distance


def flips(P: Floats, Q: Floats, *, exclusive: bool) -> Floats:
    """Say whether the predicted class changes, 1 or 0.

    Where classes do not exclude each other, whether any class crosses a probability of 0.5.
    """
    is_other = P.argmax(1) != Q.argmax(1) if exclusive else ((P >= THRESHOLD) != (Q >= THRESHOLD)).any(1)
    return np.asarray(is_other, dtype=np.float64)


def _reliance(P: Floats, Q: Floats, k: NDArray[np.int64]) -> Floats:
    rise = np.take_along_axis(P - Q, np.maximum(k, 0)[:, None], 1)[:, 0]
    return np.where(k < 0, np.nan, rise)
