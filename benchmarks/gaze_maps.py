"""Gaze maps as one matrix product, against the naive way: rasterise and filter, case by case."""

from __future__ import annotations

from statistics import median
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from benchmarks.results import Cell, Result
from radgaze.gaze import static_maps

IMAGE = (3056, 2544)
SIGMA = 150.0
"""A real radiograph (rows, columns) and the Gaussian of the data set's authors, in its pixels."""


def run(
    *, fixations: int = 45, batch: int = 32, repeats: int = 25, whole_repeats: int = 5, threads: int = 1
) -> Result:
    """Time both ways in turn, in one run.

    Args:
        fixations: In a reading.
        batch: Readings in a batch of small maps.
        repeats: How often each way makes the small maps; the median is given.
        whole_repeats: How often each way makes the map of a whole image, which takes SciPy seconds.
        threads: Of torch; SciPy's filter has one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        rows = [
            _compare(batch, (224, 224), fixations, repeats),
            _compare(1, IMAGE, fixations, whole_repeats),
        ]
    finally:
        torch.set_num_threads(before)
    return Result(
        "Gaze maps from fixations",
        "`radgaze.gaze.static_maps` in float32, and per case `scipy.ndimage.gaussian_filter` (float64, mode "
        "reflect, truncate 4) of the rasterised durations; each map over its maximum. The two take turns in "
        "one run, and the ratio is the median of the turns' ratios. Fixations lie at pixel centres, where "
        f"both are the same map; σ is {SIGMA:g} px of an image of {IMAGE[1]}×{IMAGE[0]}, scaled to the map.",
        rows,
        {"fixations": fixations, "repeats": repeats, "of a whole image": whole_repeats, "threads": threads},
        [
            "SciPy's filter has one thread, and so has torch here unless told otherwise. On a machine whose "
            "cores are taken, a second thread of torch costs more than it gives."
        ],
    )


def _compare(cases: int, size: tuple[int, int], fixations: int, repeats: int) -> dict[str, Cell]:
    points, durations = _readings(cases, size, fixations)
    sigma = (SIGMA * size[0] / IMAGE[0], SIGMA * size[1] / IMAGE[1])
    spread = torch.tensor([sigma]).expand(cases, 2)
    place, weight = torch.tensor(points, dtype=torch.float32), torch.tensor(durations, dtype=torch.float32)
    ours: list[float] = []
    naive: list[float] = []
    for turn in range(repeats + 1):
        start = perf_counter()
        found = static_maps(place, weight, size, spread)
        between = perf_counter()
        wanted = _filtered(points, durations, size, sigma)
        if turn:  # the first warms up
            ours.append(between - start)
            naive.append(perf_counter() - between)
    return {
        "maps": f"{cases} of {size[1]}×{size[0]}",
        "ours (ms)": 1e3 * median(ours),
        "naive (ms)": 1e3 * median(naive),
        "ratio": median(b / a for a, b in zip(ours, naive, strict=True)),
        "largest difference": _difference(found, wanted),
    }


def _readings(
    cases: int, size: tuple[int, int], fixations: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points (B, K, 2) at pixel centres, most of them in the middle, and durations (B, K) in seconds."""
    draw = np.random.default_rng(0)
    share = np.clip(draw.normal(0.5, 0.2, (cases, fixations, 2)), 0, 0.9999)
    return np.floor(share * (size[1], size[0])) + 0.5, draw.lognormal(np.log(0.25), 0.5, (cases, fixations))


def _filtered(
    points: NDArray[np.float64],
    durations: NDArray[np.float64],
    size: tuple[int, int],
    sigma: tuple[float, float],
) -> list[NDArray[np.float64]]:
    maps = []
    for (x, y), weights in zip(points.astype(int).transpose(0, 2, 1), durations, strict=True):
        raster = np.zeros(size)
        np.add.at(raster, (y, x), weights)
        blurred = ndimage.gaussian_filter(raster, sigma)
        maps.append(blurred / blurred.max())
    return maps


def _difference(found: Tensor, wanted: list[NDArray[np.float64]]) -> float:
    return float(np.abs(found[:, 0].double().numpy() - np.stack(wanted)).max())
