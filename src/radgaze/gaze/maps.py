"""Gaze maps of fixations. A Gaussian is separable, so a map of K fixations is one small matrix product."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

Normalise = Literal["max", "minmax", "sum", "none"]

TRUNCATE = 4.0  # radius of a Gaussian in σ: SciPy's default, which the data set's authors used
SMALLEST_SIGMA = 0.05  # map pixels; a narrower Gaussian between two pixels' centres underflows in float32


def static_maps(
    points: Tensor,
    weights: Tensor,
    size: tuple[int, int],
    sigma: float | Tensor,
    *,
    normalise: Normalise = "max",
    mirrors: int | None = None,
) -> Tensor:
    """Draw the gaze map of each reading: the weighted sum of one Gaussian per fixation, mirrored at borders.

    For fixations at pixel centres this is `scipy.ndimage.gaussian_filter` (mode "reflect", truncate 4) of the
    rasterised fixations; otherwise the Gaussian is centred on the fixation itself. Each Gaussian sums to the
    weight of its fixation.

    Args:
        points: Fixations (B, K, 2) as (x, y) in map pixels, pixel centres at +0.5. A point off the map, or
            NaN, is ignored.
        weights: Weights (B, K), e.g. durations in seconds; 0 for padding.
        size: Size (H, W) of the maps.
        sigma: Standard deviation of the Gaussian in map pixels: one number, or (B, 2) as (σy, σx).
        normalise: Scale of each map: divided by its maximum ("max"), stretched from 0 to 1 ("minmax"),
            divided by its sum ("sum"), or unchanged ("none"; its sum is then the sum of the weights).
        mirrors: Number of mirrored copies of the image on each side; None computes it from sigma (see
            `mirrors_for`), which synchronises with the device if sigma is a tensor on it.

    Returns:
        Maps (B, 1, H, W), float32 (float64 for float64 points); zeros for a reading without a fixation on
        the map.

    Raises:
        ValueError: `points` or `weights` has another shape, or `normalise` is unknown.
    """
    with torch.autocast(points.device.type, enabled=False):
        weights, gy, gx = _factors(points, weights, size, sigma, mirrors)
        maps = torch.einsum("bk,bkh,bkw->bhw", weights, gy, gx)
        return normalised(maps.unsqueeze(1), normalise)


def temporal_maps(
    points: Tensor,
    weights: Tensor,
    frame: Tensor,
    frames: int,
    size: tuple[int, int],
    sigma: float | Tensor,
    *,
    normalise: Normalise = "max",
    mirrors: int | None = None,
) -> Tensor:
    """Draw a gaze map for each frame of each reading, of its own fixations and normalised separately.

    Args:
        points: Places (B, K, 2), as for `static_maps`.
        weights: Weights (B, K), as for `static_maps`.
        frame: Frame of each fixation, (B, K) integers (`one_frame_per_fixation`, `frames_of_seconds`, or the
            fixation's index in its reading); a fixation whose frame is not in 0 … frames−1 is ignored.
        frames: Number of frames T.
        size: As for `static_maps`.
        sigma: As for `static_maps`.
        normalise: As for `static_maps`.
        mirrors: As for `static_maps`.

    Returns:
        Maps (B, T, H, W); zeros for a frame without a fixation on the map.

    Raises:
        ValueError: `points`, `weights` or `frame` has another shape, or `normalise` is unknown.
    """
    if frame.shape != weights.shape:
        raise ValueError(
            f"frame must be (B, K) like weights, got {tuple(frame.shape)} and {tuple(weights.shape)}"
        )
    with torch.autocast(points.device.type, enabled=False):
        weights, gy, gx = _factors(points, weights, size, sigma, mirrors)
        in_frame = frame.unsqueeze(1) == torch.arange(frames, device=frame.device).view(1, -1, 1)
        maps = torch.einsum("btk,bkh,bkw->bthw", in_frame * weights.unsqueeze(1), gy, gx)
        return normalised(maps, normalise)


def viewed_maps(
    points: Tensor,
    weights: Tensor,
    size: tuple[int, int],
    sigma: Tensor,
    shown: Tensor,
    frame: Tensor | None = None,
    frames: int = 1,
    *,
    normalise: Normalise = "max",
) -> Tensor:
    """Draw gaze maps whose Gaussians each have their own width and are cut to the part of the image shown.

    H ∝ Σ_k w_k · N((x_k, y_k), diag(σ_k²)), each Gaussian cut to the rectangle shown during fixation k and
    divided by its sum (REFLACX, Bigolin Lanfredi et al. 2022, with σ_k one degree of visual angle). Nothing
    is mirrored, as nothing outside the rectangle was seen.

    Args:
        points, weights, size, normalise: Arguments of `static_maps`.
        sigma: Standard deviations (B, K, 2) as (σy, σx) in map pixels.
        shown: Part of the map that was shown, (B, K, 4) as (x1, y1, x2, y2) in map pixels.
        frame, frames: Arguments of `temporal_maps`; None for one map of all fixations.

    Returns:
        Maps (B, T, H, W); T is 1 without frames.
    """
    with torch.autocast(points.device.type, enabled=False):
        dtype = torch.float64 if points.dtype == torch.float64 else torch.float32
        points, weights, sigma, shown = (t.to(dtype) for t in (points, weights, sigma, shown))
        (height, width), (x, y) = size, points.unbind(-1)
        on_map = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
        x, y = torch.where(on_map, x, 0), torch.where(on_map, y, 0)
        gy = _cut_kernel(y, height, sigma[..., 0], shown[..., 1], shown[..., 3])
        gx = _cut_kernel(x, width, sigma[..., 1], shown[..., 0], shown[..., 2])
        weights = torch.where(on_map, weights, 0)
        if frame is None:
            maps = torch.einsum("bk,bkh,bkw->bhw", weights, gy, gx).unsqueeze(1)
        else:
            in_frame = frame.unsqueeze(1) == torch.arange(frames, device=frame.device).view(1, -1, 1)
            maps = torch.einsum("btk,bkh,bkw->bthw", in_frame * weights.unsqueeze(1), gy, gx)
        return normalised(maps, normalise)


def _cut_kernel(centre: Tensor, length: int, sigma: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """1-D Gaussians (B, K, length) about centre (B, K), 0 at pixels whose centre is not in [start, end]; each
    sums to 1, or is 0 where nothing is shown."""
    pixel = torch.arange(length, device=centre.device, dtype=centre.dtype) + 0.5
    sigma = sigma.clamp_min(SMALLEST_SIGMA).unsqueeze(-1)
    # Beyond 12σ values are negligible (below 1e-31); subnormal numbers there would be slow to compute.
    distance = ((pixel - centre.unsqueeze(-1)) / sigma).abs().clamp(max=12)
    seen = (pixel >= start.unsqueeze(-1)) & (pixel <= end.unsqueeze(-1))
    kernel = torch.exp(-0.5 * distance**2) * seen
    total = kernel.sum(-1, keepdim=True)
    return kernel / torch.where(total > 0, total, torch.inf)


def one_frame_per_fixation(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Number the fixations as frames, in order, without gaps where the weight is 0.

    Args:
        weights: Weights (B, K); 0 for padding and off-image fixations.

    Returns:
        The frame of each fixation, (B, K) int64, −1 for weight 0; and the number of frames of each reading,
        (B,) int64, by which a sequence model masks padded frames.
    """
    counted = weights > 0
    return torch.where(counted, counted.cumsum(1) - 1, -1), counted.sum(1)


def frames_of_seconds(onset: Tensor, duration: Tensor, seconds: float) -> Tensor:
    """Return the index of the time bin that contains the middle of each fixation, (B, K) int64.

    Args:
        onset: Onsets (B, K) in seconds.
        duration: Durations (B, K) in seconds.
        seconds: Length of a bin in seconds.
    """
    return ((onset + duration / 2) / seconds).floor().long()


def normalised(maps: Tensor, how: Normalise) -> Tensor:
    """Scale each map (..., H, W) ≥ 0, see `static_maps`; a map of zeros and, with "minmax", any flat map
    becomes zeros.

    Raises:
        ValueError: `how` is unknown.
    """
    if how not in get_args(Normalise):
        raise ValueError(f"a map is normalised by one of {', '.join(get_args(Normalise))}, got {how!r}")
    if how == "none":
        return maps
    if how == "minmax":
        maps = maps - maps.amin((-2, -1), keepdim=True)
    scale = maps.sum((-2, -1), keepdim=True) if how == "sum" else maps.amax((-2, -1), keepdim=True)
    return maps / torch.where(scale > 0, scale, torch.inf)


def mirrors_for(sigma: float, side: int) -> int:
    """Compute the number of mirrored copies on each side that a Gaussian reaches.

    Args:
        sigma: Standard deviation in pixels.
        side: Side of the map in pixels, the shorter one.
    """
    return math.ceil((math.floor(TRUNCATE * sigma + 0.5) + 0.5) / side)


def _factors(
    points: Tensor, weights: Tensor, size: tuple[int, int], sigma: float | Tensor, mirrors: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (B, K) with points off the map at 0, and the two 1-D kernels (B, K, H) and (B, K, W)."""
    if points.ndim != 3 or points.shape[-1] != 2 or weights.shape != points.shape[:2]:
        raise ValueError(
            "points must be (B, K, 2) and weights (B, K), got "
            f"{tuple(points.shape)} and {tuple(weights.shape)}"
        )
    dtype = torch.float64 if points.dtype == torch.float64 else torch.float32
    points, weights = points.to(dtype), weights.to(dtype)
    sigma = torch.as_tensor(sigma, dtype=dtype, device=points.device).expand(len(points), 2)
    sigma = sigma.clamp_min(SMALLEST_SIGMA)
    height, width = size
    if mirrors is None:
        mirrors = mirrors_for(float(sigma.max()), min(size)) if len(points) else 0
    x, y = points.unbind(-1)
    on_map = (x >= 0) & (x <= width) & (y >= 0) & (y <= height)
    x, y = torch.where(on_map, x, 0), torch.where(on_map, y, 0)  # also where a coordinate is not a number
    gy = mirrored_kernel(y, height, sigma[:, 0], mirrors)
    gx = mirrored_kernel(x, width, sigma[:, 1], mirrors)
    return torch.where(on_map, weights, 0), gy, gx


def mirrored_kernel(centre: Tensor, length: int, sigma: Tensor, mirrors: int) -> Tensor:
    """Compute 1-D Gaussians about `centre`, folded back at the borders.

    Copy j of the axis fills [j·length, (j+1)·length]; odd copies are mirrored. Folding preserves the sum, so
    dividing by the sum over the pixels is SciPy's normalisation of its discrete kernel, at a pixel's centre
    and between centres.

    Args:
        centre: Centres (B, K) in pixels.
        length: Length of the axis in pixels.
        sigma: Standard deviations (B,) in pixels.
        mirrors: Number of mirrored copies on each side.

    Returns:
        Kernels (B, K, length), each of which sums to 1.
    """
    pixel = torch.arange(length, device=centre.device, dtype=centre.dtype) + 0.5
    sigma = sigma.view(-1, 1, 1)
    reach = torch.floor(TRUNCATE * sigma + 0.5) + 0.5
    kernel = torch.zeros((), device=centre.device, dtype=centre.dtype)
    for j in range(-mirrors, mirrors + 1):
        copy = centre + j * length if j % 2 == 0 else (j + 1) * length - centre
        distance = (pixel - copy.unsqueeze(-1)).abs()
        # The exponential beyond the reach is not used; the minimum keeps it from underflowing, which is slow.
        gaussian = torch.exp(-0.5 * (distance.minimum(reach) / sigma) ** 2)
        kernel = kernel + gaussian * (distance <= reach)
    return kernel / kernel.sum(-1, keepdim=True)
