"""The formulas of raw distances, written out from their papers in NumPy, for one case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Maps:
    """A predicted map and its target, each (H, W)."""

    p: Numbers
    q: Numbers


Oracle = Callable[[Maps, Maps], float]
"""The distance of maps, given also those at which what is held constant is taken."""


def outside_squared(at: Maps, held: Maps) -> float:
    return float(sum(((1 - b) * a) ** 2 for a, b in zip(at.p.flat, at.q.flat, strict=True)))


def inside_squared(at: Maps, held: Maps) -> float:
    return float(sum((b * a) ** 2 for a, b in zip(at.p.flat, at.q.flat, strict=True)))


def outside_absolute(at: Maps, held: Maps) -> float:
    return float(sum(abs((1 - b) * a) for a, b in zip(at.p.flat, at.q.flat, strict=True)))


def energy(at: Maps, held: Maps) -> float:
    positive = np.maximum(at.p, 0)
    return float(1 - (at.q * positive).sum() / positive.sum())


def isnet_background(at: Maps, held: Maps) -> float:
    heat = np.abs(at.p)
    scaled = heat / (np.average(heat, weights=at.q) + 1e-10)
    outside = np.sort((scaled * (1 - at.q)).ravel())[::-1]
    pooled = np.average(outside, weights=0.9 ** np.arange(outside.size))
    background = -np.log(1 - pooled / (pooled + 1))
    f = (heat * at.q).sum()
    below = (min(f / 1, 1) - 1) ** 2
    above = (f - (1 + 25)) + 1 if f > 1 + 25 else (max(f / 1, 25) - 25) ** 2
    return float(background + 3 * (below + above))


def harmonization(at: Maps, held: Maps) -> float:
    def standardise_cut(m: Numbers) -> Numbers:
        return np.array(np.maximum((m - m.mean()) / (m.std() + 1e-5), 0))

    def halved(m: Numbers) -> Numbers:
        for axis in (0, 1):
            # TensorFlow pads an odd side by two before, an even one by one.
            first = 0 if m.shape[axis] % 2 else 1
            m = ndimage.correlate1d(m, np.array([1, 4, 6, 4, 1]) / 16, axis, mode="constant")
            m = np.take(m, range(first, m.shape[axis], 2), axis)
        return m

    p, q = standardise_cut(at.p), standardise_cut(at.q)
    q = q / (q.max() + 1e-6) * (standardise_cut(held.p).max() + 1e-6)
    levels = []
    for _ in range(5):
        levels.append(((p - q) ** 2).mean())
        p, q = halved(p), halved(q)
    return float(np.mean(levels))


def overlap(at: Maps, held: Maps) -> float:
    p, q = np.maximum(at.p, 0), np.maximum(at.q, 0)
    mask = special.expit(100 * (p / np.maximum(held.p, 0).max() - 0.55))
    return float(2 * (np.minimum(p, q) * mask).sum() / (p + q).sum())


def outside_share(at: Maps, held: Maps) -> float:
    p, q = np.maximum(at.p, 0), np.maximum(at.q, 0)
    mask = special.expit(100 * (q / np.maximum(held.q, 0).max() - 0.55))
    return float(1 - (p * mask).sum() / p.sum())


def res(at: Maps, held: Maps) -> float:
    M, q = from_0_to_1(pooled(at.p)), pooled(at.q)
    said = np.where(q > 0.5, 1, np.where(q < 0.05, -1, 0))
    a = best_threshold(from_0_to_1(pooled(held.p)), said)
    smooth = ndimage.correlate1d(np.maximum(said, 0).astype(float), [0.25, 0.5, 0.25], 0, mode="mirror")
    smooth = ndimage.correlate1d(smooth, [0.25, 0.5, 0.25], 1, mode="mirror")
    smooth = smooth / (smooth.max() + 1e-6)
    annotated = said != 0
    robust = np.abs(np.tanh(5 * (M - a)) - said)[annotated].mean() if annotated.any() else 0.0
    return float(max(robust - 0.1, 0) + np.abs(M - smooth).mean())


def haics(at: Maps, held: Maps) -> float:
    M, q = np.clip(from_0_to_1(pooled(at.p)), 1e-6, 1 - 1e-6), pooled(at.q)
    return float(-(q * np.log(M) + (1 - q) * np.log(1 - M)).mean())


def gradia(at: Maps, held: Maps) -> float:
    return float(np.abs(from_0_to_1(pooled(at.p)) - pooled(at.q)).mean())


def ga_net(at: Maps, held: Maps) -> float:
    return float(((special.expit(100 * (from_0_to_1(at.p) - 0.4)) - at.q) ** 2).mean())


def from_0_to_1(m: Numbers) -> Numbers:
    return np.array((m - m.min()) / (m.max() - m.min()))


def pooled(m: Numbers, cells: int = 7) -> Numbers:
    """Means over the cells of a grid; a cell takes every pixel that it touches."""
    rows, columns = (
        [(k * side // cells, -(-(k + 1) * side // cells)) for k in range(cells)] for side in m.shape
    )
    return np.array([[m[a:b, c:d].mean() for c, d in columns] for a, b in rows])


def best_threshold(m: Numbers, said: NDArray[np.int_]) -> float:
    """By brute force over all candidates, those of irrelevant places first."""
    no, yes = m[said < 0], m[said > 0]
    best, found = 0.0, 0.0
    for candidate in (*(no + 1e-4), *yes):
        right = (np.mean(no < candidate) if no.size else 0) + (np.mean(yes >= candidate) if yes.size else 0)
        if right > best:
            best, found = float(right), float(candidate)
    return found


ORACLES: dict[str, Oracle] = {
    formula.__name__: formula
    for formula in (
        *(outside_squared, inside_squared, outside_absolute, energy, isnet_background, harmonization),
        *(overlap, outside_share, res, haics, gradia, ga_net),
    )
}
