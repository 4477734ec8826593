"""Whether a map points into what a radiologist marked, boxes and regions: three measures, each a formula.

Maps P are (B, H, W), not negative; boxes are (B, N, 4) as (x1, y1, x2, y2) in map pixels, padded by boxes
without area; regions, where there are any, are flags (B, H, W); a figure is (B,). A pixel is inside, U = 1,
if its centre is in some box, or its flag is set. All figures lie in [0, 1], higher is better, and what chance
reaches is the share of the image that is inside.

A constant P points nowhere and scores exactly that share (IoU: what a random choice of pixels does); ties
are counted by their shares, so that no map gains by them. NaN is given where no pixel is inside, and where P
holds NaN.
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
    """Whether the maximum of P is inside, Σ U [P = max P] / Σ [P = max P] (Zhang et al., arXiv 1608.00507).

    Args:
        P: Maps.
        boxes: Boxes.
        tolerance: A maximum this far off, in map pixels, counts too; Zhang et al. take 15, on photographs
            about 500 pixels wide.
        regions: Regions.
    """
    P, boxes = _checked(P, boxes)
    highest = P.max((1, 2), keepdims=True) == P
    near = inside(boxes, P.shape[1:], tolerance, regions=regions)
    hits = (highest & near).sum((1, 2)) / np.maximum(highest.sum((1, 2)), 1)
    return _guarded(hits, P, inside(boxes, P.shape[1:], regions=regions))


def energy_inside(P: ArrayLike, boxes: ArrayLike, *, regions: ArrayLike | None = None) -> Floats:
    """Share of the map's mass that is inside, Σ U P / Σ P (Wang et al. 2020, arXiv 1910.01279)."""
    P, boxes = _checked(P, boxes)
    U = inside(boxes, P.shape[1:], regions=regions)
    return _guarded((P * U).sum((1, 2)) / P.sum((1, 2)), P, U)


def iou(P: ArrayLike, boxes: ArrayLike, *, regions: ArrayLike | None = None) -> Floats:
    """|R ∩ U| / |R ∪ U|, where R are the highest pixels of P, as many as are inside.

    The area-matched threshold asks where the map points, not how far it spreads. Of pixels that tie at the
    threshold each counts the same share.
    """
    P, boxes = _checked(P, boxes)
    U = inside(boxes, P.shape[1:], regions=regions)
    n = U.sum((1, 2))
    flat = P.reshape(len(P), -1)
    descending = -np.sort(-flat, axis=1)
    threshold = np.take_along_axis(descending, np.maximum(n - 1, 0)[:, None], 1)
    above, tied = flat > threshold, flat == threshold
    share = (n - above.sum(1)) / np.maximum(tied.sum(1), 1)
    both = ((above + share[:, None] * tied) * U.reshape(len(P), -1)).sum(1)
    return _guarded(both / np.maximum(2 * n - both, 1), P, U)


@dataclass(frozen=True, kw_only=True)
class Localisation(Metric):
    """A measure of localisation: `function` is of maps, boxes and regions, to one figure per map."""

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


def localisation(
    P: ArrayLike, boxes: ArrayLike, tolerance: float = 0.0, *, regions: ArrayLike | None = None
) -> dict[str, Floats]:
    """Every metric in `METRICS` of maps P, by name; the tolerance is the pointing game's."""
    options = {"pointing_game": {"tolerance": tolerance}}
    return {
        name: metric.function(P, boxes, regions=regions, **options.get(name, {}))
        for name, metric in METRICS.items()
    }


def inside(
    boxes: ArrayLike, size: tuple[int, ...], tolerance: float = 0.0, *, regions: ArrayLike | None = None
) -> Flags:
    """Which pixels' centres (B, H, W) are in a box (B, N, 4) or region (B, H, W), or `tolerance` near one."""
    corners = np.asarray(boxes, dtype=np.float64)
    found = np.zeros((len(corners), *size), dtype=bool)
    y, x = np.arange(size[0])[:, None] + 0.5, np.arange(size[1])[None, :] + 0.5
    for n in range(corners.shape[1]):  # one at a time: (B, N, H, W) would be large
        x1, y1, x2, y2 = (side[:, None, None] for side in corners[:, n].T)
        across, down = np.maximum(np.maximum(x1 - x, x - x2), 0), np.maximum(np.maximum(y1 - y, y - y2), 0)
        found |= (np.hypot(across, down) <= tolerance) & (x2 > x1) & (y2 > y1)
    for row, flags in enumerate([] if regions is None else np.asarray(regions, dtype=bool)):
        near = flags
        if tolerance and flags.any():
            # From centre to centre; a marked pixel reaches half a pixel beyond its own.
            near = distance_transform_edt(~flags) <= tolerance + 0.5
        found[row] |= near
    return found


def _guarded(figure: Floats, P: Floats, U: Flags) -> Floats:
    return np.where(U.any((1, 2)) & np.isfinite(P).all((1, 2)), figure, np.nan)


def _checked(P: ArrayLike, boxes: ArrayLike) -> tuple[Floats, Floats]:
    """Maps, a constant one as ones, and boxes."""
    maps, corners = np.asarray(P, dtype=np.float64), np.asarray(boxes, dtype=np.float64)
    if maps.ndim != 3 or corners.ndim != 3 or corners.shape[0] != len(maps) or corners.shape[2] != 4:
        raise ValueError(f"maps are (B, H, W) and boxes (B, N, 4), not {maps.shape} and {corners.shape}")
    if (maps < 0).any():
        raise ValueError("localisation is of maps that are not negative")
    flat = is_constant(maps)[:, None, None] & np.isfinite(maps)
    return np.where(flat, 1.0, maps), corners
