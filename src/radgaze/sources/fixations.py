"""Identification of fixations in raw gaze samples, by two filters of Salvucci and Goldberg (2000).

"Identifying fixations and saccades in eye-tracking protocols", ETRA 2000. Positions and thresholds have the
same unit, here pixels of the screen. A sample without a valid position ends a run of samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Spans = NDArray[np.int64]


def by_dispersion(
    t: Floats, x: Floats, y: Floats, valid: NDArray[np.bool_], *, dispersion: float, duration: float
) -> Spans:
    """Find fixations by I-DT (dispersion threshold).

    The dispersion of samples is (max x − min x) + (max y − min y). A window starts at the first sample and
    covers `duration`. If its dispersion is within the threshold, it is extended while this holds, and is a
    fixation, after which the next window starts; otherwise the first sample is dropped. Published thresholds
    are 0.5 to 1 degree of visual angle, and 100 ms.

    Args:
        t: Increasing times of shape (N,), in seconds.
        x: Horizontal positions of shape (N,).
        y: Vertical positions of shape (N,).
        valid: Whether a position is valid, of shape (N,).
        dispersion: Largest dispersion, in the unit of the positions.
        duration: Shortest duration, in seconds.

    Returns:
        First and last sample of each fixation, of shape (K, 2).
    """
    spans = list[tuple[int, int]]()
    times, xs, ys = t.tolist(), x.tolist(), y.tolist()  # Python numbers are faster one by one
    for start, stop in _runs(valid):
        i = start
        while i < stop:
            left = right = xs[i]
            top = bottom = ys[i]
            j, until = i, times[i] + duration
            whole = times[stop - 1] >= until - 1e-9
            if not whole:
                break
            ok = True
            while j < stop:
                left, right = min(left, xs[j]), max(right, xs[j])
                top, bottom = min(top, ys[j]), max(bottom, ys[j])
                if right - left + bottom - top > dispersion:
                    ok = times[j - 1] >= until - 1e-9
                    break
                j += 1
            if ok:
                spans.append((i, j - 1))
                i = j
            else:
                i += 1
    return np.array(spans, dtype=np.int64).reshape(-1, 2)


def by_velocity(
    t: Floats, x: Floats, y: Floats, valid: NDArray[np.bool_], *, velocity: float, duration: float
) -> Spans:
    """Find fixations by I-VT (velocity threshold): runs of samples with low velocities in between.

    Published thresholds are 20 to 30 degrees of visual angle per second. The minimum duration is a common
    addition to the published method.

    Args:
        t: Increasing times of shape (N,), in seconds.
        x: Horizontal positions of shape (N,).
        y: Vertical positions of shape (N,).
        valid: Whether a position is valid, of shape (N,).
        velocity: Highest velocity, in units of the positions per second.
        duration: Shortest duration, in seconds; 0 for runs of any length.

    Returns:
        First and last sample of each fixation, of shape (K, 2).
    """
    if len(t) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    step = np.diff(t)
    fast = np.hypot(np.diff(x), np.diff(y)) > velocity * step
    slow = ~fast & valid[1:] & valid[:-1] & (step > 0)
    spans = np.array([(first, last) for first, last in _runs(slow)], dtype=np.int64).reshape(-1, 2)
    # A run of slow steps i … j−1 is one of samples i … j.
    return spans[t[spans[:, 1]] - t[spans[:, 0]] >= duration - 1e-9]


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Begin and end (one past the last) of runs of True."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))
