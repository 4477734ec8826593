"""A black border: collimation at both sides, a frame, or bars that make the visible part wider than tall."""

from __future__ import annotations

import numpy as np

from radgaze.simulation.overlay import Overlay

NARROW, WIDE = (0.012, 0.026), (0.024, 0.046)
"""Least and greatest width of a frame, and of collimation and bars, as shares of the image's side."""

PENUMBRA = 0.006
"""Width of the soft inner edge of collimation, as a share of the width."""


def border(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Overlay:
    """Make a border; the size of the image and its geometry stay as they are.

    Args:
        kind: "collimated" (left and right, with a soft edge), "framed" (all around) or "barred" (above and
            below, which changes the visible aspect ratio).
        shape: Shape (H, W) of the image.
        rng: Random generator of its widths.
    """
    height, width = shape
    narrow, wide = rng.uniform(*NARROW, 4), rng.uniform(*WIDE, 4)
    from_left = np.arange(width, dtype=np.float32) + 0.5
    from_top = np.arange(height, dtype=np.float32)[:, None] + 0.5
    from_right, from_bottom = width - from_left, height - from_top
    if kind == "collimated":
        inside = np.minimum(from_left - wide[0] * width, from_right - wide[1] * width)
        cover = np.clip(0.5 - inside / max(1.0, PENUMBRA * width), 0, 1)[None].repeat(height, 0)
    elif kind == "barred":
        inside = np.minimum(from_top - wide[2] * height, from_bottom - wide[3] * height)
        cover = (inside < 0).repeat(width, 1)
    else:
        across = np.minimum(from_left - narrow[0] * width, from_right - narrow[1] * width)
        down = np.minimum(from_top - narrow[2] * height, from_bottom - narrow[3] * height)
        cover = np.minimum(across, down) < 0
    cover = cover.astype(np.float32)
    return Overlay(0, 0, np.zeros_like(cover), cover)
