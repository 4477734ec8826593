"""The boxes and regions of a store that mark findings, as arrays case by case."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from radgaze.store.names import plain
from radgaze.store.store import Store

_SIDED = (
    "apical zone",
    "clavicle",
    "costophrenic angle",
    "hemidiaphragm",
    "hilar structures",
    "lower lung zone",
    "lung",
    "mid lung zone",
    "upper lung zone",
)
ANATOMY = frozenset(f"{side} {name}" for side in ("left", "right") for name in _SIDED) | {
    "abdomen",
    "aortic arch",
    "aortic knob",
    "cardiac silhouette",
    "carina",
    "chest",
    "cavoatrial junction",
    "descending aorta",
    "mediastinum",
    "right atrium",
    "spine",
    "svc",
    "trachea",
    "upper mediastinum",
}
"""Names of boxes and regions that say where an organ lies (of egd-cxr, Chest ImaGenome, REFLACX).

Every case has them, whatever its class, so they are neither attention nor anything to be found.
"""

STRIPS = 24
"""Boxes that stand for an ellipse."""


def finding_boxes(
    store: Store, cases: pl.DataFrame
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """The boxes of cases but those of `ANATOMY`, case by case.

    Returns:
        Corners (N, 4) as (x1, y1, x2, y2) in original pixels, an ellipse as strips; (N,) the class that a
        box is named after, −1 for none; and where those of each case end: case i has ends[i] … ends[i+1].
    """
    order = cases.select("case_id").with_row_index("case")
    found = store.boxes.join(order, on="case_id", maintain_order="left").sort("case", maintain_order=True)
    found = found.filter(pl.Series([plain(name) not in ANATOMY for name in found["label"]], dtype=pl.Boolean))
    of_name = {plain(name): k for k, name in enumerate(store.classes)}
    classes = np.array([of_name.get(plain(name), -1) for name in found["label"]], dtype=np.int64)
    corners = found.select("x1", "y1", "x2", "y2").to_numpy().astype(np.float32).reshape(-1, 4)
    case = found["case"].to_numpy()
    if "shape" in found.columns:
        corners, which = strips(corners, (found["shape"] == "ellipse").to_numpy())
        classes, case = classes[which], case[which]
    counts = np.bincount(case, minlength=len(cases))
    return np.ascontiguousarray(corners), classes, np.concatenate([[0], np.cumsum(counts)])


def finding_regions(
    store: Store, cases: pl.DataFrame
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The regions of cases but those of `ANATOMY` and empty ones, case by case.

    Returns:
        (N,) rows of `store.regions`; (N,) the class that a region is named after, −1 for none; and where
        those of each case end: case i has ends[i] … ends[i+1].
    """
    order = cases.select("case_id").with_row_index("case")
    found = store.regions.table.with_row_index("row").join(order, on="case_id", maintain_order="left")
    finding = pl.Series([plain(name) not in ANATOMY for name in found["label"]], dtype=pl.Boolean)
    found = found.filter(finding & (found["area"] > 0)).sort("case", maintain_order=True)
    of_name = {plain(name): k for k, name in enumerate(store.classes)}
    classes = np.array([of_name.get(plain(name), -1) for name in found["label"]], dtype=np.int64)
    counts = np.bincount(found["case"].to_numpy(), minlength=len(cases))
    return found["row"].to_numpy().astype(np.int64), classes, np.concatenate([[0], np.cumsum(counts)])


def strips(
    corners: NDArray[np.float32], ellipses: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Boxes, with each ellipse as `STRIPS` boxes on top of each other, whose union it nearly is.

    Args:
        corners: (N, 4) as (x1, y1, x2, y2).
        ellipses: (N,) which are the corners of an ellipse.

    Returns:
        (M, 4), and (M,) which of the N each comes from; in their order.
    """
    edges = np.linspace(-1, 1, STRIPS + 1)
    # A strip is as wide as makes its area that of the ellipse's there.
    primitive = (edges * np.sqrt(1 - edges**2) + np.arcsin(edges)) / 2
    wide = np.diff(primitive) / np.diff(edges)
    found, which = list[NDArray[np.float32]](), list[int]()
    for n, (x1, y1, x2, y2) in enumerate(corners):
        if not ellipses[n]:
            found.append(corners[n : n + 1])
            which.append(n)
            continue
        x, y, a, b = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2
        sides = (x - a * wide, y + b * edges[:-1], x + a * wide, y + b * edges[1:])
        found.append(np.stack(sides, 1).astype(np.float32))
        which += [n] * STRIPS
    together = np.concatenate(found) if found else corners
    return together, np.array(which, dtype=np.int64)


def of_own_class(boxes: Tensor, box_class: Tensor, label: Tensor) -> Tensor:
    """The boxes (B, N, 4), with those emptied that are named after a class which the case has not.

    Args:
        box_class: (B, N), −1 for a box that is named after no class: it counts for any.
        label: (B, C), 0 or 1.
    """
    own = (box_class < 0) | (label.gather(1, box_class.clamp_min(0)) > 0)
    return torch.where(own.unsqueeze(-1), boxes, 0)


def regions_of_own_class(regions: Tensor, region_class: Tensor, label: Tensor) -> Tensor:
    """The union (B, S, S) of regions (B, M, S, S), less those named after a class that the case has not.

    Args:
        region_class: (B, M), −1 for a region that is named after no class: it counts for any.
        label: (B, C), 0 or 1.
    """
    if not regions.shape[1]:
        return regions.new_zeros(len(regions), *regions.shape[2:])
    own = (region_class < 0) | (label.gather(1, region_class.clamp_min(0)) > 0)
    return (regions * own[..., None, None].to(regions.dtype)).amax(1)


def with_area(boxes: Tensor) -> Tensor:
    """Which boxes (..., 4) have any area, (...,) bool; padding has none."""
    return (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])


def corners(boxes: Tensor) -> Tensor:
    """Boxes (N, 4) as the four corners (4·N, 2) of each."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    points = torch.stack([x1, y1, x2, y1, x2, y2, x1, y2], -1)
    return points.reshape(-1, 2)


def hull(points: Tensor, side: int) -> Tensor:
    """The upright boxes (N, 4) around corners (4·N, 2), cut to a square image of this side."""
    around = points.reshape(-1, 4, 2)
    return torch.cat([around.amin(1), around.amax(1)], -1).clamp(0, side)
