"""The boxes and regions of each case, placed on the model's input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from radgaze.gaze.boxes import union
from radgaze.store.boxes import (
    finding_boxes,
    finding_regions,
    of_own_class,
    regions_of_own_class,
    with_area,
)
from radgaze.store.parts import part_regions
from radgaze.store.placement import Fit, Frame
from radgaze.store.store import Store


class CaseMarks:
    """Boxes and regions of the findings of N cases, and their parts, see `store.parts`.

    Args:
        store: Prepared store.
        cases: Rows of `Store.cases`.
        parts: Names of parts.
        frames: Frame of each case.
        labels: Labels (N, C) of the cases.
        fit: Placement of the images in the model's input, "stretch" or "pad".
        size: Side S of the model's input, in pixels.
    """

    def __init__(
        self,
        store: Store,
        cases: pl.DataFrame,
        parts: Sequence[str],
        *,
        frames: Sequence[Frame],
        labels: Tensor,
        fit: Fit,
        size: int,
    ) -> None:
        self._boxes, self._box_class, self._box_ends = finding_boxes(store, cases)
        self._rows, self._region_class, self._region_ends = finding_regions(store, cases)
        self._parts = {name: part_regions(store, cases, name) for name in parts}
        self._regions, self._frames, self._labels = store.regions, frames, labels
        self._fit, self._size = fit, size

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts."""
        return tuple(self._parts)

    def with_part(self, name: str) -> NDArray[np.bool_]:
        """Whether each case (N,) has a part."""
        return np.diff(self._parts[name][1]) > 0

    def boxed(self) -> NDArray[np.bool_]:
        """Whether each case (N,) has a box on the image, of its own class or of none."""
        boxed = np.diff(self._box_ends) > 0
        for i in np.flatnonzero(boxed):
            boxes, box_class = self.boxes_of(int(i))
            clipped = of_own_class(boxes[None], box_class[None], self._labels[i][None])
            boxed[i] = bool(with_area(clipped).any())
        return boxed

    def masked(self) -> NDArray[np.bool_]:
        """Whether each case (N,) has a region that is not empty, of its own class or of none."""
        masked = np.diff(self._region_ends) > 0
        for i in np.flatnonzero(masked):
            classes = self._region_class[self._region_ends[i] : self._region_ends[i + 1]]
            masked[i] = bool(((classes < 0) | (self._labels[i].numpy()[classes] > 0)).any())
        return masked

    def boxes_of(self, i: int) -> tuple[Tensor, Tensor]:
        """Boxes (K, 4) on the (S, S) image, clipped to it, and the classes (K,) that they are named after."""
        rows = slice(self._box_ends[i], self._box_ends[i + 1])
        where = self._frames[i].geometry(self._fit, self._size)
        boxes = torch.from_numpy(self._boxes[rows]) * torch.tensor([where.scale_x, where.scale_y] * 2)
        boxes = (boxes + torch.tensor([where.shift_x, where.shift_y] * 2)).clamp(0, self._size)
        return boxes, torch.from_numpy(self._box_class[rows])

    def close_files(self) -> None:
        """Close the files of the regions."""
        self._regions.close()

    def regions_of(self, i: int) -> tuple[Tensor, Tensor]:
        """Unions (M, S, S) of the regions of each class, in 256 levels, and their classes (M,)."""
        rows = slice(self._region_ends[i], self._region_ends[i + 1])
        of_class: dict[int, list[int]] = {}
        for row, label in zip(self._rows[rows].tolist(), self._region_class[rows].tolist(), strict=True):
            of_class.setdefault(label, []).append(row)
        return self._placed(i, list(of_class.values())), torch.tensor(list(of_class), dtype=torch.int64)

    def parts_of(self, i: int) -> Tensor:
        """Unions (P, S, S) of the regions of each part, in 256 levels; zeros of a part that is missing."""
        return self._placed(i, [rows[ends[i] : ends[i + 1]].tolist() for rows, ends in self._parts.values()])

    def findings(self, i: int) -> NDArray[np.uint8]:
        """The union (S, S) of the boxes and regions of a case's own classes, in 256 levels."""
        (boxes, box_class), (regions, region_class) = self.boxes_of(i), self.regions_of(i)
        label = self._labels[i][None]
        inside = union(of_own_class(boxes[None], box_class[None], label), (self._size, self._size))
        marked = regions_of_own_class(regions[None], region_class[None], label)
        findings: NDArray[np.uint8] = torch.maximum((inside * 255).round().to(torch.uint8), marked)[0].numpy()
        return findings

    def _placed(self, i: int, unions: Sequence[Sequence[int]]) -> Tensor:
        """Unions (M, S, S) of rows of the store's regions on the (S, S) image, in 256 levels."""
        placed = np.zeros((len(unions), self._size, self._size), np.uint8)
        for square, rows in zip(placed, unions, strict=True):
            if rows:
                inside = self._regions.union(rows).view(np.uint8) * np.uint8(255)
                square[:] = self._frames[i].resized(inside, self._fit, self._size)
        return torch.from_numpy(placed)
