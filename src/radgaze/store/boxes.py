"""The boxes and regions of a store that mark findings, as arrays sorted by case."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from radgaze.store.marks import is_finding
from radgaze.store.names import plain
from radgaze.store.store import Store

STRIPS = 24
"""Number of boxes that replace an ellipse."""


def finding_boxes(
    store: Store, cases: pl.DataFrame
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Collect the boxes of findings of cases, sorted by case; see `marks.is_finding`.

    Args:
        store: The store.
        cases: Rows of `Store.cases`.

    Returns:
        Corners (N, 4) as (x1, y1, x2, y2) in original pixels, an ellipse as strips; (N,) index of the class
        after which a box is named, −1 for none; and the ends (cases + 1,): case i has the boxes
        ends[i] … ends[i+1] − 1.
    """
    order = cases.select("case_id").with_row_index("case")
    boxes = store.boxes.join(order, on="case_id", maintain_order="left").sort("case", maintain_order=True)
    boxes = boxes.filter(pl.Series([is_finding(name) for name in boxes["label"]], dtype=pl.Boolean))
    of_name = {plain(name): k for k, name in enumerate(store.classes)}
    classes = np.array([of_name.get(plain(name), -1) for name in boxes["label"]], dtype=np.int64)
    corners = boxes.select("x1", "y1", "x2", "y2").to_numpy().astype(np.float32).reshape(-1, 4)
    case = boxes["case"].to_numpy()
    if "shape" in boxes.columns:
        corners, which = strips(corners, (boxes["shape"] == "ellipse").to_numpy())
        classes, case = classes[which], case[which]
    counts = np.bincount(case, minlength=len(cases))
    return np.ascontiguousarray(corners), classes, np.concatenate([[0], np.cumsum(counts)])


def finding_regions(
    store: Store, cases: pl.DataFrame
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Collect the regions of findings of cases except empty ones, sorted by case; see `marks.is_finding`.

    Args:
        store: The store.
        cases: Rows of `Store.cases`.

    Returns:
        (N,) rows of `store.regions`; (N,) index of the class after which a region is named, −1 for none; and
        the ends (cases + 1,): case i has the regions ends[i] … ends[i+1] − 1.
    """
    order = cases.select("case_id").with_row_index("case")
    regions = store.regions.table.with_row_index("row").join(order, on="case_id", maintain_order="left")
    finding = pl.Series([is_finding(name) for name in regions["label"]], dtype=pl.Boolean)
    regions = regions.filter(finding & (regions["area"] > 0)).sort("case", maintain_order=True)
    of_name = {plain(name): k for k, name in enumerate(store.classes)}
    classes = np.array([of_name.get(plain(name), -1) for name in regions["label"]], dtype=np.int64)
    counts = np.bincount(regions["case"].to_numpy(), minlength=len(cases))
    return regions["row"].to_numpy().astype(np.int64), classes, np.concatenate([[0], np.cumsum(counts)])


def strips(
    corners: NDArray[np.float32], ellipses: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Replace each ellipse by `STRIPS` stacked boxes, whose union approximates it.

    Args:
        corners: Corners (N, 4) as (x1, y1, x2, y2).
        ellipses: Whether corners are those of an ellipse, (N,).

    Returns:
        Boxes (M, 4) in the same order, and (M,) the index of the box or ellipse that each comes from.
    """
    edges = np.linspace(-1, 1, STRIPS + 1)
    # Each strip has the area of its part of the ellipse.
    primitive = (edges * np.sqrt(1 - edges**2) + np.arcsin(edges)) / 2
    wide = np.diff(primitive) / np.diff(edges)
    parts, which = list[NDArray[np.float32]](), list[int]()
    for n, (x1, y1, x2, y2) in enumerate(corners):
        if not ellipses[n]:
            parts.append(corners[n : n + 1])
            which.append(n)
            continue
        x, y, a, b = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2
        sides = (x - a * wide, y + b * edges[:-1], x + a * wide, y + b * edges[1:])
        parts.append(np.stack(sides, 1).astype(np.float32))
        which += [n] * STRIPS
    together = np.concatenate(parts) if parts else corners
    return together, np.array(which, dtype=np.int64)


def of_own_class(boxes: Tensor, box_class: Tensor, label: Tensor) -> Tensor:
    """Set the boxes to zero that are named after a class which the case does not have.

    Args:
        boxes: Boxes (B, N, 4).
        box_class: Index of the class after which a box is named, (B, N); −1 for none: the box is kept.
        label: Labels (B, C), 0 or 1.
    """
    matches = (box_class < 0) | (label.gather(1, box_class.clamp_min(0)) > 0)
    return torch.where(matches.unsqueeze(-1), boxes, 0)


def regions_of_own_class(regions: Tensor, region_class: Tensor, label: Tensor) -> Tensor:
    """Unite regions to (B, S, S), except those named after a class that the case does not have.

    Args:
        regions: Regions (B, M, S, S).
        region_class: Index of the class after which a region is named, (B, M); −1 for none: it is kept.
        label: Labels (B, C), 0 or 1.
    """
    if not regions.shape[1]:
        return regions.new_zeros(len(regions), *regions.shape[2:])
    matches = (region_class < 0) | (label.gather(1, region_class.clamp_min(0)) > 0)
    return (regions * matches[..., None, None].to(regions.dtype)).amax(1)


def with_area(boxes: Tensor) -> Tensor:
    """Return whether boxes (..., 4) have area, (...,) bool; padding has none."""
    return (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])


def corners(boxes: Tensor) -> Tensor:
    """Return the four corners of each of the boxes (N, 4), as points (4·N, 2)."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    points = torch.stack([x1, y1, x2, y1, x2, y2, x1, y2], -1)
    return points.reshape(-1, 2)


def hull(points: Tensor, side: int) -> Tensor:
    """Compute the axis-aligned boxes (N, 4) around corners (4·N, 2), clipped to a square image."""
    around = points.reshape(-1, 4, 2)
    return torch.cat([around.amin(1), around.amax(1)], -1).clamp(0, side)
