"""Spread maps by a random walk that stops at boundaries."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from radgaze.pseudo.irnet.paths import affinities, paths

RADIUS = 5
"""Distance in pixels of a quarter's size from which on pixels are no neighbours, as implemented in the
authors' code (`propagate_to_edge`)."""
BETA = 10
"""Exponent of affinities: a higher one makes the walk more conservative (section 5.1 of the paper)."""
STEPS = 256
"""Number of steps of the walk (section 5.1 of the paper)."""


def transitions(boundary: NDArray[np.floating], radius: int = RADIUS, beta: float = BETA) -> sp.csr_array:
    """The transition matrix T = S⁻¹ A^β of a random walk (equation 9 of the paper).

    Args:
        boundary: Probability (h, w) that a pixel is on a boundary.
        radius: Distance from which on pixels are no neighbours.
        beta: Exponent of the affinities.

    Returns:
        (h·w, h·w); row i holds the probabilities to go from i to each pixel. A pixel's affinity to itself
        is 1.
    """
    height, width = boundary.shape
    planes = torch.from_numpy(np.ascontiguousarray(boundary, dtype=np.float64))[None]
    strength = affinities(planes, radius)[0].numpy() ** beta
    place = np.arange(height * width).reshape(height, width)
    rows, columns, values = [place.ravel()], [place.ravel()], [np.ones(height * width)]
    for path, plane in zip(paths(radius), strength, strict=True):
        down, right = path.end
        start = np.s_[: height - down, max(0, -right) : width - max(0, right)]
        end = np.s_[down:, max(0, right) : width - max(0, -right)]
        weight = plane[start].ravel()
        rows += [place[start].ravel(), place[end].ravel()]
        columns += [place[end].ravel(), place[start].ravel()]
        values += [weight, weight]
    places = (np.concatenate(rows), np.concatenate(columns))
    A = sp.csr_array((np.concatenate(values), places), shape=(height * width, height * width))
    return sp.csr_array(sp.diags_array(1 / A.sum(1)) @ A)


def spread(
    maps: NDArray[np.floating],
    boundary: NDArray[np.floating],
    *,
    radius: int = RADIUS,
    beta: float = BETA,
    steps: int = STEPS,
) -> NDArray[np.float64]:
    """Spread maps up to boundaries: vec(M*) = T^t vec(M ⊙ (1 − B)) (equation 10 of the paper).

    The paper raises the matrix to its power; the same product, a step at a time, needs no dense matrix.

    Args:
        maps: Maps (C, h, w).
        boundary: Probability (h, w) that a pixel is on a boundary.
        radius: Distance from which on pixels are no neighbours.
        beta: Exponent of the affinities.
        steps: Number of steps t.

    Returns:
        (C, h, w), not scaled.
    """
    T = transitions(boundary, radius, beta)
    values = (np.asarray(maps, dtype=np.float64) * (1 - boundary)).reshape(len(maps), -1).T
    for _ in range(steps):
        values = T @ values
    return np.ascontiguousarray(values.T).reshape(maps.shape)
