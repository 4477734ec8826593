"""Boxes and regions to attention maps, for cases where they were drawn and nobody's gaze is known."""

from __future__ import annotations

import torch
from torch import Tensor

from radgaze.gaze.maps import SMALLEST_SIGMA, Normalise, mirrored_kernel, mirrors_for, normalised


def box_maps(
    boxes: Tensor,
    size: tuple[int, int],
    sigma: float | Tensor,
    *,
    normalise: Normalise = "max",
    mirrors: int | None = None,
    regions: Tensor | None = None,
) -> Tensor:
    """The map of every case's boxes and regions: their filled union, softened by the Gaussian of gaze maps.

    It is `scipy.ndimage.gaussian_filter` (mode "reflect", truncate 4) of the union, in which a pixel at a
    box's edge holds the share that the box covers. The union, not the sum of the boxes' maps: what two
    readers marked counts once, and neither a ridge nor a seam shows where boxes overlap or touch. With many
    boxes it costs no more than with one, a matrix product from each side.

    Args:
        boxes: (B, N, 4) as (x1, y1, x2, y2) in map pixels, pixel centres at +0.5. What lies off the map, and
            a box without area (padding), counts nothing.
        size: (H, W) of the maps.
        sigma: In map pixels; one number, or (B, 2) as (σy, σx).
        normalise: As in `static_maps`.
        mirrors: As in `static_maps`.
        regions: (B, H, W) in [0, 1], what share of each pixel is marked besides.

    Returns:
        (B, 1, H, W) float32 (float64 for float64 boxes); zeros for a case with nothing on the map.
    """
    if boxes.ndim != 3 or boxes.shape[-1] != 4:
        raise ValueError(f"boxes are (B, N, 4); got {tuple(boxes.shape)}")
    dtype = torch.float64 if boxes.dtype == torch.float64 else torch.float32
    with torch.autocast(boxes.device.type, enabled=False):
        sigma = torch.as_tensor(sigma, dtype=dtype, device=boxes.device).expand(len(boxes), 2)
        sigma = sigma.clamp_min(SMALLEST_SIGMA)
        if mirrors is None:
            mirrors = mirrors_for(float(sigma.max()), min(size)) if len(boxes) else 0
        drawn = union(boxes.to(dtype), size)
        if regions is not None:
            drawn = torch.maximum(drawn, regions.to(drawn))
        Gy, Gx = (_blur(length, sigma[:, axis], mirrors) for axis, length in enumerate(size))
        return normalised((Gy @ drawn @ Gx.mT).unsqueeze(1), normalise)


def union(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """What share of each pixel a box covers, the largest share where several do: (B, H, W) in [0, 1].

    Args:
        boxes: (B, N, 4) as (x1, y1, x2, y2) in map pixels.
        size: (H, W).
    """
    height, width = size
    x1, y1, x2, y2 = boxes.unbind(-1)
    rows, columns = _covered(y1, y2, height), _covered(x1, x2, width)
    drawn = boxes.new_zeros(len(boxes), height, width)
    for n in range(boxes.shape[1]):  # one at a time: (B, N, H, W) would be large
        drawn = torch.maximum(drawn, rows[:, n, :, None] * columns[:, n, None, :])
    return drawn


def _covered(start: Tensor, end: Tensor, length: int) -> Tensor:
    """Share of each pixel of an axis between start and end, (B, N) → (B, N, length)."""
    pixel = torch.arange(length, device=start.device, dtype=start.dtype)
    inside = torch.minimum(end.unsqueeze(-1), pixel + 1) - torch.maximum(start.unsqueeze(-1), pixel)
    return inside.clamp(0, 1)


def _blur(length: int, sigma: Tensor, mirrors: int) -> Tensor:
    """SciPy's filter along an axis as a matrix (B, length, length); it is symmetric."""
    centres = torch.arange(length, device=sigma.device, dtype=sigma.dtype) + 0.5
    return mirrored_kernel(centres.expand(len(sigma), length), length, sigma, mirrors)
