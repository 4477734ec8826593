"""Attention maps of boxes and regions, for cases without gaze."""

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
    """Draw the attention map of each case: the filled union of its boxes and regions, blurred by a Gaussian.

    It is `scipy.ndimage.gaussian_filter` (mode "reflect", truncate 4) of the union, in which a pixel at a
    box's edge holds the share that the box covers. Because the boxes are united rather than summed, an area
    marked by two readers counts once, and maps are uniform where boxes overlap or touch. The blur takes two
    matrix products, whatever the number of boxes.

    Args:
        boxes: Boxes (B, N, 4) as (x1, y1, x2, y2) in map pixels, pixel centres at +0.5. Parts off the map,
            and boxes without area (padding), have no effect.
        size: Size (H, W) of the maps.
        sigma: Standard deviation of the Gaussian in map pixels: one number, or (B, 2) as (σy, σx).
        normalise: Scale of each map, see `static_maps`.
        mirrors: Number of mirrored copies on each side, see `static_maps`.
        regions: Share of each pixel that regions cover, (B, H, W) in [0, 1]; None for no regions.

    Returns:
        Maps (B, 1, H, W), float32 (float64 for float64 boxes); zeros for a case without a box on the map.

    Raises:
        ValueError: `boxes` has another shape, or `normalise` is unknown.
    """
    if boxes.ndim != 3 or boxes.shape[-1] != 4:
        raise ValueError(f"boxes must be (B, N, 4), got {tuple(boxes.shape)}")
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
    """Compute the share of each pixel that a box covers.

    Args:
        boxes: Boxes (B, N, 4) as (x1, y1, x2, y2) in map pixels.
        size: Size (H, W) of the map in pixels.

    Returns:
        Shares (B, H, W) in [0, 1]; where boxes overlap, the largest of their shares.
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
