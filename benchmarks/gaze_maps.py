"""Gaze maps as one matrix product, against the naive way: rasterise and filter, case by case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from threadpoolctl import threadpool_info, threadpool_limits

from benchmarks.results import Cell, Result
from radgaze.gaze import static_maps, temporal_maps

IMAGE = (3056, 2544)
SIGMA = 150.0
"""A real radiograph (rows, columns) and the Gaussian of the data set's authors, in its pixels."""

SMALL = (224, 224)
FRAMES = 16
AT_ONCE = 8
"""Of the whole data set: size and number of its maps, and readings in one call, whose maps fit a cache."""

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Readings:
    """Fixations at pixel centres of maps of one size.

    Attributes:
        points: (B, K, 2) as (x, y), float64.
        durations: (B, K) in seconds.
        frame: (B, K), the frame that each belongs to.
        size: (H, W).
        sigma: (σy, σx) in pixels.
    """

    points: Array
    durations: Array
    frame: NDArray[np.int64]
    size: tuple[int, int]
    sigma: tuple[float, float]


def run(
    *,
    fixations: int = 45,
    batch: int = 32,
    repeats: int = 25,
    whole_repeats: int = 5,
    readings: int = 1083,
    readings_repeats: int = 3,
    threads: int = 1,
) -> Result:
    """Time both ways in turn, in one run.

    Args:
        fixations: In a reading.
        batch: Readings in a batch of small maps.
        repeats: How often each way makes the small maps; the median is given.
        whole_repeats: How often each way makes the map of a whole image, which takes SciPy seconds.
        readings: In a whole data set.
        readings_repeats: How often we and NumPy make its maps; SciPy makes one of them each time.
        threads: Number of torch and NumPy threads; SciPy's filter has one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            rows = [
                _same_size(_readings(batch, SMALL, fixations), repeats),
                _same_size(_readings(1, IMAGE, fixations), whole_repeats),
                *_data_set(_readings(readings, SMALL, fixations), readings_repeats),
            ]
    finally:
        torch.set_num_threads(before)
    return Result(
        "Gaze maps from fixations",
        "`radgaze.gaze.static_maps` and `temporal_maps` in float32 against others; each map over its "
        "maximum. “SciPy” filters the rasterised durations of one case at a time with "
        "`scipy.ndimage.gaussian_filter` (float64, mode reflect, truncate 4). The two take turns in one run, "
        "and the ratio is the median of the turns' ratios. Fixations lie at pixel centres, where both are "
        f"the same map; σ is {SIGMA:g} px of an image of {IMAGE[1]}×{IMAGE[0]}, scaled to the map.",
        rows,
        {
            "fixations": fixations,
            "repeats": repeats,
            "of a whole image": whole_repeats,
            "of a data set": readings_repeats,
            "threads": threads,
            "NumPy's BLAS": _blas(),
        },
        [
            f"“SciPy, whole images” is the way of the data set's authors for a data set of {readings:,} "
            f"readings: filtered at {IMAGE[1]}×{IMAGE[0]}, then resized; each of {FRAMES} frames of a "
            "temporal map by itself. One map of one reading is timed in each turn and scaled up to all. The "
            "difference is what resizing does. “NumPy” makes the same product of float32 arrays as we do, "
            f"and both take {AT_ONCE} readings at once.",
            "SciPy's filter has one thread, and so have torch and NumPy here unless told otherwise. On a "
            "machine whose cores are taken, a second thread of torch costs more than it gives.",
        ],
    )


def _same_size(readings: Readings, repeats: int) -> dict[str, Cell]:
    """Both ways at the size of the maps."""
    cases = len(readings.points)
    ours, theirs = _turns(lambda: _ours(readings), lambda: _filtered(readings), repeats)
    difference = _difference(_ours(readings), _filtered(readings))
    return _row(f"{cases} of {_shown(readings.size)}", "SciPy", ours, theirs, difference)


def _data_set(readings: Readings, repeats: int) -> list[dict[str, Cell]]:
    """The maps of many readings, static and temporal, against whole images and against NumPy."""
    cases = len(readings.points)
    parts = [_part(readings, slice(k, k + AT_ONCE)) for k in range(0, cases, AT_ONCE)]
    few = _part(readings, slice(0, 1))
    rows = []
    for kind, frames, ours, theirs in (
        ("", 1, _ours, _numpy_static),
        (f" in {FRAMES} frames", FRAMES, _our_frames, _numpy_temporal),
    ):
        what = f"{cases}{kind} of {_shown(readings.size)}"
        one = partial(_resized_from_whole, few, only_frame=0 if frames > 1 else None)
        mine, whole = _turns(partial(_all, ours, parts), one, repeats)
        whole = [seconds * frames * cases for seconds in whole]
        rows.append(_row(what, "SciPy, whole images", mine, whole, _difference(ours(few)[:, :1], one())))
        mine, numpys = _turns(partial(_all, ours, parts), partial(_all, theirs, parts), repeats)
        rows.append(_row(what, "NumPy", mine, numpys, _difference(ours(parts[0]), theirs(parts[0]))))
    return rows


def _turns(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int
) -> tuple[list[float], list[float]]:
    """Seconds that each takes, in turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 1):
        for work, kept in zip((ours, theirs), seconds, strict=True):
            start = perf_counter()
            work()
            if turn:  # the first warms up
                kept.append(perf_counter() - start)
    return seconds


def _row(
    maps: str, against: str, ours: list[float], theirs: list[float], difference: float
) -> dict[str, Cell]:
    return {
        "maps": maps,
        "against": against,
        "ours (ms)": 1e3 * median(ours),
        "theirs (ms)": 1e3 * median(theirs),
        "ratio": median(b / a for a, b in zip(ours, theirs, strict=True)),
        "largest difference": difference,
    }


def _readings(cases: int, size: tuple[int, int], fixations: int) -> Readings:
    """Most fixations lie in the middle; the frames follow each other, evenly filled."""
    draw = np.random.default_rng(0)
    share = np.clip(draw.normal(0.5, 0.2, (cases, fixations, 2)), 0, 0.9999)
    return Readings(
        np.floor(share * (size[1], size[0])) + 0.5,
        draw.lognormal(np.log(0.25), 0.5, (cases, fixations)),
        np.tile(np.arange(fixations) * FRAMES // fixations, (cases, 1)),
        size,
        (SIGMA * size[0] / IMAGE[0], SIGMA * size[1] / IMAGE[1]),
    )


def _part(readings: Readings, cases: slice) -> Readings:
    return Readings(
        readings.points[cases],
        readings.durations[cases],
        readings.frame[cases],
        readings.size,
        readings.sigma,
    )


def _all(maps: Callable[[Readings], Array], parts: list[Readings]) -> None:
    for part in parts:
        maps(part)


def _ours(readings: Readings) -> Array:
    points, durations, sigma = _tensors(readings)
    return static_maps(points, durations, readings.size, sigma).numpy()


def _our_frames(readings: Readings) -> Array:
    points, durations, sigma = _tensors(readings)
    frame = torch.from_numpy(readings.frame)
    return temporal_maps(points, durations, frame, FRAMES, readings.size, sigma).numpy()


def _tensors(readings: Readings) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    points = torch.tensor(readings.points, dtype=torch.float32)
    durations = torch.tensor(readings.durations, dtype=torch.float32)
    return points, durations, torch.tensor([readings.sigma]).expand(len(points), 2)


def _filtered(readings: Readings) -> Array:
    """(B, 1, H, W) by SciPy, one after the other."""
    maps = [
        ndimage.gaussian_filter(_raster(points, durations, readings.size), readings.sigma)
        for points, durations in zip(readings.points, readings.durations, strict=True)
    ]
    return _over_maximum(np.stack(maps)[:, None])


def _resized_from_whole(readings: Readings, only_frame: int | None) -> Array:
    """(1, 1, H, W) of the first reading, or of one of its frames, filtered as a whole image and resized."""
    scale = IMAGE[1] / readings.size[1], IMAGE[0] / readings.size[0]
    counted = 1.0 if only_frame is None else readings.frame[0] == only_frame
    raster = _raster(readings.points[0] * scale, readings.durations[0] * counted, IMAGE)
    whole = Image.fromarray(ndimage.gaussian_filter(raster, SIGMA).astype(np.float32))
    small = whole.resize(readings.size[::-1], Image.Resampling.BILINEAR)
    return _over_maximum(np.asarray(small)[None, None])


def _raster(points: Array, durations: Array, size: tuple[int, int]) -> Array:
    raster = np.zeros(size)
    x, y = points.astype(int).T
    np.add.at(raster, (y, x), durations)
    return raster


def _numpy_static(readings: Readings) -> Array:
    gy, gx = _numpy_kernels(readings)
    weights = readings.durations.astype(np.float32)
    return _over_maximum(((weights[..., None] * gy).swapaxes(1, 2) @ gx)[:, None])


def _numpy_temporal(readings: Readings) -> Array:
    gy, gx = _numpy_kernels(readings)
    in_frame = readings.frame[:, None] == np.arange(FRAMES)[:, None]  # (B, T, K)
    weights = in_frame * readings.durations[:, None].astype(np.float32)
    return _over_maximum((weights[..., None] * gy[:, None]).swapaxes(2, 3) @ gx[:, None])


def _numpy_kernels(readings: Readings) -> tuple[Array, Array]:
    """The 1-D Gaussians (B, K, H) and (B, K, W) about the fixations, mirrored once at either border."""
    kernels = []
    for centre, length, sigma in zip(
        readings.points.T[::-1], readings.size, np.float32(readings.sigma), strict=True
    ):
        at = centre.T.astype(np.float32)[..., None]
        kernel = np.zeros((*at.shape[:2], length), np.float32)
        for copy in (at, -at, 2 * length - at):
            distance = np.abs(np.arange(length, dtype=np.float32) + np.float32(0.5) - copy)
            within = distance <= np.floor(4 * sigma + 0.5) + 0.5
            kernel += np.exp(-0.5 * (distance / sigma) ** 2) * within
        kernels.append(kernel / kernel.sum(-1, keepdims=True))
    return kernels[0], kernels[1]


def _over_maximum(maps: Array) -> Array:
    return maps / maps.max((-2, -1), keepdims=True)


def _difference(found: Array, wanted: Array) -> float:
    return float(np.abs(found - wanted).max())


def _shown(size: tuple[int, int]) -> str:
    return f"{size[1]}×{size[0]}"


def _blas() -> str:
    """Which of its kernels NumPy's matrix product runs on; a slow one may have been asked for."""
    found = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return ", ".join(sorted({f"{pool['internal_api']} {pool.get('architecture', '')}" for pool in found}))
