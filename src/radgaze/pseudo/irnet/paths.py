"""Pairs of pixels, and the boundary that lies on the line between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Path:
    """The line from a pixel to another one.

    Attributes:
        end: Offset (rows, columns) of the other pixel.
        steps: Offsets of the pixels on the line, both ends included.
    """

    end: tuple[int, int]
    steps: tuple[tuple[int, int], ...]


@cache
def paths(radius: int) -> tuple[Path, ...]:
    """The lines to all pixels that are nearer than a radius, one for each pair of directions.

    An offset and its opposite join the same pixels, so that only those downwards, or to the right in the same
    row, are listed.
    """
    made = []
    for down in range(radius):
        for right in range(-radius + 1, radius):
            if down == 0 and right <= 0:
                continue
            if down**2 + right**2 < radius**2:
                made.append(Path((down, right), _line(down, right)))
    return tuple(made)


def _line(down: int, right: int) -> tuple[tuple[int, int], ...]:
    """The pixels nearest to evenly spaced points on a line, one in each row or column of its longer side."""
    longest = max(abs(down), abs(right))
    return tuple((round(down * k / longest), round(right * k / longest)) for k in range(longest + 1))


def affinities(boundary: Tensor, radius: int) -> Tensor:
    """Compute a_ij = 1 − max over the line from i to j of the boundary (equation 6 of the paper).

    Args:
        boundary: Probability (B, h, w) that a pixel is on a boundary.
        radius: Distance from which on pixels are no pair.

    Returns:
        (B, P, h, w) for each of `paths` and each pixel that it starts from; 0 where it leaves the map.
    """
    shifted = Shifted(boundary, radius, outside=1.0)
    lines = [_largest(shifted, path) for path in paths(radius)]
    return 1 - torch.stack(lines, 1)


def _largest(shifted: Shifted, path: Path) -> Tensor:
    largest = shifted(*path.steps[0])
    for step in path.steps[1:]:
        largest = torch.maximum(largest, shifted(*step))
    return largest


class Shifted:
    """Maps at an offset: the value of each pixel's neighbour.

    Args:
        maps: Maps (..., h, w).
        radius: Largest offset.
        outside: Value beyond the maps.
    """

    def __init__(self, maps: Tensor, radius: int, outside: float) -> None:
        self.height, self.width = maps.shape[-2:]
        self.radius = radius
        self.padded = F.pad(maps, (radius, radius, 0, radius), value=outside)

    def __call__(self, down: int, right: int) -> Tensor:
        left = self.radius + right
        return self.padded[..., down : down + self.height, left : left + self.width]


def ends(maps: Tensor, radius: int, outside: float) -> Iterator[Tensor]:
    """The maps (..., h, w) at the end of each of `paths`."""
    shifted = Shifted(maps, radius, outside)
    return (shifted(*path.end) for path in paths(radius))
