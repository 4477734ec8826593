"""Raw gaze samples to fixations: the two classic filters of Salvucci and Goldberg (2000).

"Identifying fixations and saccades in eye-tracking protocols", ETRA 2000. Positions and thresholds are in one
unit, here pixels of the screen. A sample without a valid position ends what it stands in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Spans = NDArray[np.int64]


def by_dispersion(
    t: Floats, x: Floats, y: Floats, valid: NDArray[np.bool_], *, dispersion: float, duration: float
) -> Spans:
    """I-DT: the longest runs whose spread, (max x − min x) + (max y − min y), stays within a threshold.

    From the first sample on: the fewest samples that last `duration` are a fixation if their spread is within
    `dispersion`, and grow as long as it is; if it is not, the first sample is dropped. Published: half a
    degree to one of visual angle, and 100 ms.

    Args:
        t: (N,) times in seconds, rising.
        x, y: (N,) positions.
        valid: (N,) whether there is one.
        dispersion: In the positions' unit.
        duration: In seconds.

    Returns:
        (K, 2) first and last sample of each fixation.
    """
    found = list[tuple[int, int]]()
    times, xs, ys = t.tolist(), x.tolist(), y.tolist()  # Python's own numbers: each is looked at by itself
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
                found.append((i, j - 1))
                i = j
            else:
                i += 1
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def by_velocity(
    t: Floats, x: Floats, y: Floats, valid: NDArray[np.bool_], *, velocity: float, duration: float
) -> Spans:
    """I-VT: runs of samples between which the eye moves more slowly than a threshold, if they last long
    enough.

    Published: 20 to 30 degrees of visual angle a second; that a run must last is the usual addition.

    Args:
        t, x, y, valid: As in `by_dispersion`.
        velocity: In the positions' unit a second.
        duration: In seconds; 0 for runs of any length.

    Returns:
        (K, 2) first and last sample of each fixation.
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
    """Where runs of True begin, and end (one past)."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))
