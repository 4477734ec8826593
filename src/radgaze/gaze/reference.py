"""Gaze maps made as the Eye Gaze data set's authors made their training targets (the "reference" mode)."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from radgaze.gaze.maps import static_maps, temporal_maps

SIGMA = 150.0  # full-resolution image pixels


def reference_map(
    points: Tensor, image_size: tuple[int, int], size: tuple[int, int] | None = None, *, sigma: float = SIGMA
) -> Tensor:
    """Draw the authors' static map of one reading.

    The count of fixations per full-resolution pixel is blurred by a Gaussian of 150 pixels, stretched from 0
    to 1, written as a viridis picture and read back as grey; so targets lie in [0.118, 0.843]. At another
    size the Gaussian is evaluated at that size with sigma scaled in proportion, whereas the authors filtered
    at full size and resized the picture: on synthetic readings the two differ by less than 0.02 at 224×224,
    mostly because the authors resized a picture of 256 levels.

    Args:
        points: Fixations (K, 2) as (x, y) in image pixels; those off the image or in its top row count 0.
        image_size: Size of the image (rows, columns) in pixels.
        size: Size (H, W) of the map; None for the size of the image.
        sigma: Standard deviation of the Gaussian in image pixels.

    Returns:
        Map (1, 1, H, W), float32; flat at 0.118 without a fixation.
    """
    at, counts, spread, size = _on_map(points, image_size, size, sigma)
    return viridis_grey(static_maps(at, counts, size, spread, normalise="minmax"))


def reference_frames(
    points: Tensor, image_size: tuple[int, int], size: tuple[int, int] | None = None, *, sigma: float = SIGMA
) -> Tensor:
    """Draw the authors' temporal maps of one reading: one frame per fixation, each scaled separately.

    Args:
        points, image_size, size, sigma: Arguments of `reference_map`.

    Returns:
        Maps (1, K, H, W), float32; the frame of an off-image fixation is flat.
    """
    at, counts, spread, size = _on_map(points, image_size, size, sigma)
    frame = torch.arange(len(points), device=points.device).unsqueeze(0)
    return viridis_grey(temporal_maps(at, counts, frame, len(points), size, spread, normalise="minmax"))


def reference_points(points: Tensor) -> tuple[Tensor, Tensor]:
    """Move fixations to the centre of their pixel, and count those below the top row of the image.

    The authors stored integer positions and tested only Y > 0, so a fixation in the top row is lost too.

    Args:
        points: Fixations (..., 2) as (x, y) in image pixels.

    Returns:
        The pixels' centres (..., 2), and the counts (...), 1 where the pixel's row is above 0 and else 0.
    """
    pixel = points.floor()
    return pixel + 0.5, (pixel[..., 1] > 0).to(points.dtype)


def lowest_share() -> float:
    """The share of its maximum below which no map of the authors' falls, however little was looked at."""
    lowest, highest = viridis_grey(torch.tensor([0.0, 1.0])).tolist()
    return float(lowest / highest)


def viridis_grey(maps: Tensor) -> Tensor:
    """Convert maps in [0, 1] to the grey values in [0, 1] of a viridis picture, float32 of the same shape.

    The colours are those of matplotlib, the grey value is the luma of Pillow.
    """
    level = (maps * 256).long().clamp(0, 255)
    return torch.as_tensor(_viridis_lumas(), device=maps.device)[level]


def _on_map(
    points: Tensor, image_size: tuple[int, int], size: tuple[int, int] | None, sigma: float
) -> tuple[Tensor, Tensor, Tensor, tuple[int, int]]:
    size = size or image_size
    scale = torch.tensor([size[0] / image_size[0], size[1] / image_size[1]], device=points.device)
    at, counts = reference_points(points.float())
    return (at * scale.flip(0)).unsqueeze(0), counts.unsqueeze(0), sigma * scale.unsqueeze(0), size


@cache
def _viridis_lumas() -> np.ndarray:
    """Grey value of each of the 256 viridis colours, (256,) float32 in [0, 1].

    Matplotlib is imported here so that only reference maps need it.
    """
    from matplotlib import colormaps
    from PIL import Image

    picture = Image.fromarray(colormaps["viridis"](np.arange(256)[None], bytes=True), "RGBA")
    lumas: np.ndarray = np.asarray(picture.convert("RGB").convert("L"), dtype=np.float32)[0] / 255
    return lumas
