"""Metrics of the localisation of boxes and regions that a radiologist marked.

Maps P have shape (B, H, W) and are not negative. Boxes have shape (B, N, 4) as (x1, y1, x2, y2) in map
pixels, padded by boxes without area. Regions are flags of shape (B, H, W), None for no regions. Metrics have
shape (B,). A pixel is inside, U = 1, if its centre is in some box or its flag is set. All metrics are in
[0, 1], higher is better; chance for the pointing game and the energy is the share of the pixels that are
inside.

A constant P scores exactly this share (for IoU, the value of a random choice of pixels); tied pixels share
their contribution, so that no map gains from ties. Metrics are NaN where no pixel is inside, and where P
contains NaN or infinity. They raise a `ValueError` for arrays of other shapes and for negative maps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt

from radgaze.evaluation.metrics.agreement import is_constant
from radgaze.evaluation.metrics.metric import Metric

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def pointing_game(
    P: ArrayLike, boxes: ArrayLike, tolerance: float = 0.0, *, regions: ArrayLike | None = None
) -> Floats:
    """Compute the share of P's maxima that are inside, Σ U [P = max P] / Σ [P = max P].

    Zhang et al., arXiv 1608.00507. Without ties it is 1 or 0.

    Args:
        P: Maps.
        boxes: Boxes.
        tolerance: Distance from a box or region that is accepted, in map pixels; Zhang et al. use 15, on
            photographs about 500 pixels wide.
        regions: Regions.
    """
    P, boxes = _checked(P, boxes)
    highest = P.max((1, 2), keepdims=True) == P
    near = inside(boxes, P.shape[1:], tolerance, regions=regions)
    hits = (highest & near).sum((1, 2)) / np.maximum(highest.sum((1, 2)), 1)
    return _guarded(hits, P, inside(boxes, P.shape[1:], regions=regions))


def energy_inside(P: ArrayLike, boxes: ArrayLike, *, regions: ArrayLike | None = None) -> Floats:
    """Compute the share of the mass that is inside, Σ U P / Σ P (Wang et al. 2020, arXiv 1910.01279)."""
    P, boxes = _checked(P, boxes)
    U = inside(boxes, P.shape[1:], regions=regions)
    return _guarded((P * U).sum((1, 2)) / P.sum((1, 2)), P, U)


def iou(P: ArrayLike, boxes: ArrayLike, *, regions: ArrayLike | None = None) -> Floats:
    """Compute the IoU |R ∩ U| / |R ∪ U|, where R are as many of the highest pixels of P as are inside.

    With this area-matched threshold the metric depends on the position of a map's mass, not on its extent.
    Pixels that tie at the threshold each count the same share.
    """
    P, boxes = _checked(P, boxes)
    U = inside(boxes, P.shape[1:], regions=regions)
    n = U.sum((1, 2))
    flat = P.reshape(len(P), P.shape[1] * P.shape[2])  # not -1: there may be no map
    descending = -np.sort(-flat, axis=1)
    threshold = np.take_along_axis(descending, np.maximum(n - 1, 0)[:, None], 1)
    above, tied = flat > threshold, flat == threshold
    share = (n - above.sum(1)) / np.maximum(tied.sum(1), 1)
    both = ((above + share[:, None] * tied) * U.reshape(flat.shape)).sum(1)
    return _guarded(both / np.maximum(2 * n - both, 1), P, U)


@dataclass(frozen=True, kw_only=True)
class Localisation(Metric):
    """A metric of localisation.

    Attributes:
        function: Function of maps, boxes and regions, which returns a value for each map.
    """

    function: Callable[..., Floats]


METRICS: dict[str, Localisation] = {
    "pointing_game": Localisation(
        title="pointing game",
        words="How often the map's maximum lies inside a box.",
        function=pointing_game,
        bounds=(0.0, 1.0),
    ),
    "energy_inside": Localisation(
        title="energy inside",
        words="Share of the map's mass that lies inside the boxes.",
        function=energy_inside,
        bounds=(0.0, 1.0),
    ),
    "iou": Localisation(
        title="IoU",
        words="Overlap of the boxes with as many of the map's highest pixels, over their union.",
        function=iou,
        bounds=(0.0, 1.0),
    ),
}


def measure_localisation(
    P: ArrayLike, boxes: ArrayLike, tolerance: float = 0.0, *, regions: ArrayLike | None = None
) -> dict[str, Floats]:
    """Compute every metric in `METRICS`, by name; `tolerance` is that of the pointing game."""
    options = {"pointing_game": {"tolerance": tolerance}}
    return {
        name: metric.function(P, boxes, regions=regions, **options.get(name, {}))
        for name, metric in METRICS.items()
    }


def inside(
    boxes: ArrayLike, size: tuple[int, ...], tolerance: float = 0.0, *, regions: ArrayLike | None = None
) -> Flags:
    """Return which pixels are in a box or region, or within `tolerance` of one, of shape (B, H, W).

    Raises:
        ValueError: Regions are of another shape.
    """
    corners = np.asarray(boxes, dtype=np.float64)
    flags = np.zeros((len(corners), *size), dtype=bool)
    if regions is not None and np.shape(regions) != flags.shape:
        raise ValueError(f"regions must be {flags.shape}, got {np.shape(regions)}")
    y, x = np.arange(size[0])[:, None] + 0.5, np.arange(size[1])[None, :] + 0.5
    for n in range(corners.shape[1]):  # one at a time: (B, N, H, W) would be large
        x1, y1, x2, y2 = (side[:, None, None] for side in corners[:, n].T)
        across, down = np.maximum(np.maximum(x1 - x, x - x2), 0), np.maximum(np.maximum(y1 - y, y - y2), 0)
        flags |= (np.hypot(across, down) <= tolerance) & (x2 > x1) & (y2 > y1)
    for row, region in enumerate([] if regions is None else np.asarray(regions, dtype=bool)):
        near = region
        if tolerance and region.any():
            # The transform measures from centre to centre; a pixel extends half a pixel beyond its centre.
            near = distance_transform_edt(~region) <= tolerance + 0.5
        flags[row] |= near
    return flags


def _guarded(figure: Floats, P: Floats, U: Flags) -> Floats:
    return np.where(U.any((1, 2)) & np.isfinite(P).all((1, 2)), figure, np.nan)


def _checked(P: ArrayLike, boxes: ArrayLike) -> tuple[Floats, Floats]:
    """Checked arrays of maps and boxes; a constant map becomes ones."""
    maps, corners = np.asarray(P, dtype=np.float64), np.asarray(boxes, dtype=np.float64)
    if maps.ndim != 3 or corners.ndim != 3 or corners.shape[0] != len(maps) or corners.shape[2] != 4:
        raise ValueError(f"maps must be (B, H, W) and boxes (B, N, 4), got {maps.shape} and {corners.shape}")
    if (maps < 0).any():
        raise ValueError("localisation needs maps that are not negative")
    flat = is_constant(maps)[:, None, None] & np.isfinite(maps)
    return np.where(flat, 1.0, maps), corners
