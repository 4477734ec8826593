"""The two filters against their definitions as plain loops, and on gaze whose fixations are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from radgaze.sources.fixations import Floats, by_dispersion, by_velocity

Flags = NDArray[np.bool_]
Span = tuple[int, int]


def recorded(
    seed: int, *, hertz: float = 60.0, blinks: bool = True
) -> tuple[Floats, Floats, Floats, Flags, list[Span]]:
    """Five fixations of 0.2 to 0.5 s with a little noise, saccades of 3 samples between, lost samples."""
    draw = np.random.default_rng(seed)
    x: list[float] = []
    y: list[float] = []
    truth = []
    for _ in range(5):
        at = draw.uniform(100, 900, 2)
        count = int(draw.integers(12, 30))
        if x:
            for step in (0.25, 0.5, 0.75):
                x.append(x[-1] + step * (at[0] - x[-1]))
                y.append(y[-1] + step * (at[1] - y[-1]))
        truth.append((len(x), len(x) + count - 1))
        x += (at[0] + draw.normal(0, 2, count)).tolist()
        y += (at[1] + draw.normal(0, 2, count)).tolist()
    valid = np.ones(len(x), bool)
    if blinks:
        valid[draw.integers(0, len(x), 4)] = False
    t = np.arange(len(x)) / hertz + draw.uniform(0, 0.002, len(x))
    return np.sort(t), np.array(x), np.array(y), valid, truth


def dispersion_by_the_book(
    t: Floats, x: Floats, y: Floats, valid: Flags, dispersion: float, duration: float
) -> list[Span]:
    """The pseudo-code of Salvucci and Goldberg, table 4, window by window."""

    def spread(a: int, b: int) -> float:
        return float(np.ptp(x[a : b + 1]) + np.ptp(y[a : b + 1]))

    found, i = [], 0
    while i < len(t):
        if not valid[i]:
            i += 1
            continue
        j = i
        while j < len(t) and valid[j] and t[j] < t[i] + duration - 1e-9:
            j += 1
        if j >= len(t) or not valid[j]:
            i += 1
            continue
        if spread(i, j) > dispersion:
            i += 1
            continue
        while j + 1 < len(t) and valid[j + 1] and spread(i, j + 1) <= dispersion:
            j += 1
        found.append((i, j))
        i = j + 1
    return found


def velocity_by_the_book(
    t: Floats, x: Floats, y: Floats, valid: Flags, velocity: float, duration: float
) -> list[Span]:
    found, run = [], list[int]()
    for i in range(len(t)):
        joined = bool(
            run and valid[i] and np.hypot(x[i] - x[i - 1], y[i] - y[i - 1]) / (t[i] - t[i - 1]) <= velocity
        )
        if not joined:
            if len(run) > 1 and t[run[-1]] - t[run[0]] >= duration - 1e-9:
                found.append((run[0], run[-1]))
            run = [i] if valid[i] else []
        else:
            run.append(i)
    if len(run) > 1 and t[run[-1]] - t[run[0]] >= duration - 1e-9:
        found.append((run[0], run[-1]))
    return found


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("threshold", [8.0, 25.0, 60.0])
def test_dispersion_is_the_pseudo_code(seed: int, threshold: float) -> None:
    t, x, y, valid, _ = recorded(seed)
    found = by_dispersion(t, x, y, valid, dispersion=threshold, duration=0.1)
    assert [tuple(span) for span in found.tolist()] == dispersion_by_the_book(t, x, y, valid, threshold, 0.1)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("duration", [0.0, 0.1])
def test_velocity_is_the_loop_over_samples(seed: int, duration: float) -> None:
    t, x, y, valid, _ = recorded(seed)
    found = by_velocity(t, x, y, valid, velocity=900, duration=duration)
    assert [tuple(span) for span in found.tolist()] == velocity_by_the_book(t, x, y, valid, 900, duration)


@pytest.mark.parametrize("seed", range(6))
def test_both_find_the_fixations_that_were_made(seed: int) -> None:
    t, x, y, valid, truth = recorded(seed, blinks=False)
    for found in (
        by_dispersion(t, x, y, valid, dispersion=40, duration=0.1),
        by_velocity(t, x, y, valid, velocity=1500, duration=0.1),
    ):
        assert len(found) == 5
        for (a, b), (start, end) in zip(found.tolist(), truth, strict=True):
            assert abs(a - start) <= 2
            assert abs(b - end) <= 2


def test_nothing_gives_nothing() -> None:
    none = np.zeros(0)
    for count in (0, 1):
        t, x = np.arange(count, dtype=float), np.zeros(count)
        assert by_dispersion(t, x, x, np.ones(count, bool), dispersion=1, duration=0.1).shape == (0, 2)
        assert by_velocity(t, x, x, np.ones(count, bool), velocity=1, duration=0.1).shape == (0, 2)
    assert not len(none)
    t = np.arange(10) / 60
    lost = np.zeros(10, bool)
    assert by_dispersion(t, t, t, lost, dispersion=9, duration=0.1).shape == (0, 2)
    assert by_velocity(t, t, t, lost, velocity=9, duration=0.1).shape == (0, 2)
