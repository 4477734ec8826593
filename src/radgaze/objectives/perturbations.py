"""Perturb images where a map is high or low: by a mask, at extreme pixels, or by cutting out a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.double import with_double
from radgaze.objectives.matching import blur_alike

Fill = Literal["black", "mean", "blur", "uniform", "shuffle", "other_case"]
RANDOM: tuple[Fill, ...] = ("uniform", "shuffle")
"""Those that need noise."""

BLUR = 0.1
"""Standard deviation of the blur of `filling`, as a share of the image's sides."""


def soft_mask(map_: Tensor, steepness: float, threshold: float) -> Tensor:
    """T = sigmoid(ω · (A/c − θ)), c = max A of each case (Li et al. 2018, eq. 4).

    c is constant in the backward pass. The paper states neither ω nor θ, nor the scaling of A.

    Args:
        map_: Maps A (B, 1, H, W); negative values count as 0.
        steepness: Steepness ω.
        threshold: Threshold θ, as a share of the maximum.

    Returns:
        Masks in (0, 1), (B, 1, H, W). A map without a positive value gives zeros.
    """
    A = map_.clamp(min=0)
    c = A.detach().flatten(1).amax(1).view(-1, 1, 1, 1)
    dead = c == 0
    mask = torch.sigmoid(steepness * (A / torch.where(dead, 1.0, c) - threshold))
    return torch.where(dead, 0.0, mask)


def extreme_pixels(map_: Tensor, share: float, *, highest: bool) -> Tensor:
    """Mark the pixels with the lowest or highest values of each map, the same number in every case.

    Args:
        map_: Maps (B, 1, H, W).
        share: Share of the pixels in [0, 1]; their number is rounded.
        highest: Whether the highest values are marked, or the lowest. Of equal values the first are marked,
            row by row, whatever the other cases of the batch are.

    Returns:
        Maps of 0 and 1, (B, 1, H, W), without a gradient.
    """
    flat = map_.detach().flatten(1)
    count = round(share * flat.shape[1])
    if count == 0:
        return torch.zeros_like(map_)
    last = flat.topk(count, dim=1, largest=highest).values[:, -1:]
    beyond, equal = (flat > last) if highest else (flat < last), flat == last
    missing = count - beyond.sum(1, keepdim=True)
    return (beyond | (equal & (equal.cumsum(1) <= missing))).to(flat).view_as(map_)


def at_least(map_: Tensor, threshold: float) -> Tensor:
    """Mark the pixels (B, 1, H, W) in which maps have at least a share of their maximum.

    Args:
        map_: Maps (B, 1, H, W); negative values count as 0, and a map without a positive one has no pixel.
        threshold: Share of the maximum of each map.
    """
    A = map_.detach().clamp(min=0)
    c = A.flatten(1).amax(1).view(-1, 1, 1, 1)
    return (c * threshold <= A) & (c > 0)


def widened(inside: Tensor, dilation: float, feather: float) -> Tensor:
    """Turn regions into shares of each pixel that are kept, 1 in the region and 0 far from it.

    Args:
        inside: Which pixels are in the region, (B, 1, H, W) bool.
        dilation: Width by which regions grow in all directions, squares of a pixel to squares, as a share of
            the sides.
        feather: Width of the border outside of the grown region over which the share falls to 0, as a share
            of the sides. Both widths are rounded to whole pixels, that of the border to an even number.

    Returns:
        Shares (B, 1, H, W) in [0, 1], exactly 1 in the grown region.
    """
    rows, columns = inside.shape[-2:]
    grown = _dilated(inside.float(), (round(dilation * rows), round(dilation * columns)))
    radius = (round(feather / 2 * rows), round(feather / 2 * columns))
    if not any(radius):
        return grown
    down, across = radius
    # The region's surroundings reach beyond the image, and so the border is as wide at its edges.
    wide = _dilated(F.pad(grown, (across, across, down, down)), radius)
    soft = F.avg_pool2d(wide, (2 * down + 1, 2 * across + 1), 1)
    return torch.where(grown > 0, grown, soft)


def _dilated(inside: Tensor, radius: tuple[int, int]) -> Tensor:
    for size in ((radius[0], 0), (0, radius[1])):
        inside = F.max_pool2d(inside, (2 * size[0] + 1, 2 * size[1] + 1), 1, size)
    return inside


def filling(images: Tensor, fill: Fill, mask: Tensor, noise: Tensor | None = None) -> Tensor:
    """Make the images (B, 1, H, W) by which parts of images are replaced.

    Args:
        images: Images (B, 1, H, W).
        fill: "black" is 0; "mean" the mean of the image; "blur" the image blurred by a Gaussian whose
            standard deviation is a tenth of its sides; "uniform" uniform noise between the image's minimum
            and maximum; "shuffle" the replaced pixels (mask at least 1/2) in random order, as in ActDiff
            (Viviano et al. 2021); "other_case" the next image of the batch, the first for the last one.
            Random values are drawn from torch's global generator, unless they are given.
        mask: Masks in [0, 1] of the replaced parts, (B, 1, H, W), used by "shuffle" alone.
        noise: Uniform noise in [0, 1), (B, 1, H, W), for "uniform" and "shuffle"; None to draw it.
    """
    if fill == "black":
        return torch.zeros_like(images)
    if fill == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images)
    if fill == "blur":
        sigma = (BLUR * images.shape[-2], BLUR * images.shape[-1])
        return blur_alike(images, sigma).to(images.dtype)
    if fill == "other_case":
        return images.roll(-1, 0)
    noise = torch.rand_like(images) if noise is None else noise
    if fill == "uniform":
        low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
        return low + (high - low) * noise
    flat, unmasked = images.flatten(1), (mask < 0.5).flatten(1)
    places = unmasked.byte().argsort(dim=1, stable=True)  # the replaced ones first
    drawn = (noise.flatten(1) + 2 * unmasked).argsort(dim=1)
    shuffled = torch.empty_like(flat).scatter_(1, places, flat.gather(1, drawn))
    return torch.where(unmasked, flat, shuffled).view_as(images)


def replaced(images: Tensor, mask: Tensor, fill: Fill, noise: Tensor | None = None) -> Tensor:
    """(1 − mask) · image + mask · filling.

    Args:
        images: Images (B, 1, H, W).
        mask: Masks in [0, 1], (B, 1, h, w); enlarged to the images.
        fill: See `filling`.
        noise: See `filling`.
    """
    if mask.shape[-2:] != images.shape[-2:]:
        mask = F.interpolate(mask, images.shape[-2:], mode="bilinear", align_corners=False)
    return torch.lerp(
        images, filling(images, fill, mask.detach(), noise).to(images.dtype), mask.to(images.dtype)
    )


def windows(map_: Tensor, share: float, count: int = 1, *, overlap: float = 0.25) -> list[Tensor]:
    """Find the windows of each map with the highest means, by non-maximum suppression.

    The window with the highest mean is chosen, windows that overlap it too much are left out, and so on; of
    equal means, the first in row-major order is chosen. Where no window is left, the last one is repeated, as
    implemented in CUB-GHA (Rong et al. 2021).

    Args:
        map_: Maps (B, 1, H, W).
        share: Sides of the windows as a share of the map's, rounded to whole pixels and at least one.
        count: Number of windows.
        overlap: Largest intersection over union of two windows.

    Returns:
        `count` times windows (B, 4): left, top, width and height in pixels. For a map without a positive
        value, the window is the whole map.
    """
    map_ = with_double(map_.detach())
    rows, columns = map_.shape[-2:]
    height, width = max(1, round(share * rows)), max(1, round(share * columns))
    sums = F.pad(map_.double()[:, 0], (1, 0, 1, 0)).cumsum(1).cumsum(2)
    means = sums[:, height:, width:] - sums[:, :-height, width:] - sums[:, height:, :-width]
    means = means + sums[:, :-height, :-width]
    y, x = (torch.arange(n, device=map_.device) for n in means.shape[1:])
    size = torch.tensor([width, height], device=map_.device).expand(len(map_), 2)
    dead = (map_.flatten(1).amax(1) <= 0)[:, None]
    chosen = list[Tensor]()
    top = left = torch.zeros(len(map_), dtype=torch.int64, device=map_.device)
    for _ in range(count):
        some = means.flatten(1).isfinite().any(1)
        best = means.flatten(1).argmax(1)
        top, left = torch.where(some, best // len(x), top), torch.where(some, best % len(x), left)
        window = torch.cat([torch.stack([left, top], 1), size], 1)
        chosen.append(torch.where(dead, window.new_tensor([0, 0, columns, rows]), window))
        down = (height - (y - top[:, None]).abs()).clamp(min=0)
        across = (width - (x - left[:, None]).abs()).clamp(min=0)
        common = down[:, :, None] * across[:, None, :]
        too_much = common > overlap * (2 * height * width - common)
        means = means.masked_fill(too_much, -torch.inf)
    return chosen


def cut_out(images: Tensor, window: Tensor, size: Sequence[int]) -> Tensor:
    """Cut windows out of images, and resize them to (B, 1, *size) by bilinear interpolation.

    Args:
        images: Images (B, 1, H, W).
        window: Windows (B, 4): left, top, width and height in pixels.
        size: Height and width of the result in pixels.
    """
    rows, columns = images.shape[-2:]
    sides = images.new_tensor([columns, rows])
    corner, extent = window[:, :2].to(images) / sides, window[:, 2:].to(images) / sides
    affine = torch.cat([torch.diag_embed(extent), (2 * corner + extent - 1)[:, :, None]], 2)
    grid = F.affine_grid(affine, [len(images), 1, size[0], size[1]], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
