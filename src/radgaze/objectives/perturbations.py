"""Perturb images where a map is high or low: by a soft mask, or at its lowest or highest pixels."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.objectives.matching import blur

Fill = Literal["black", "mean", "blur", "uniform", "shuffle", "other_case"]

BLUR = 0.1
"""Standard deviation of the blur of `filling`, as a share of the image's sides."""


def soft_mask(map_: Tensor, steepness: float, threshold: float) -> Tensor:
    """T = σ(ω · (A/c − θ)), c = max A of each case held constant (Li et al. 2018, eq. 4).

    The paper gives neither ω nor θ, nor the scaling of A.

    Args:
        map_: Maps A (B, 1, H, W); negative values count as 0.
        steepness: ω.
        threshold: θ, a share of the maximum.

    Returns:
        Masks in (0, 1), (B, 1, H, W). A map without a positive value gives zeros.
    """
    A = map_.clamp(min=0)
    c = A.detach().flatten(1).amax(1).view(-1, 1, 1, 1)
    dead = c == 0
    mask = torch.sigmoid(steepness * (A / torch.where(dead, 1.0, c) - threshold))
    return torch.where(dead, 0.0, mask)


def extreme_pixels(map_: Tensor, share: float, *, highest: bool) -> Tensor:
    """Mark the pixels of the lowest or highest values of each map, exactly as many of each case.

    Args:
        map_: Maps (B, 1, H, W).
        share: Share of the pixels, rounded to a number of them.
        highest: Whether the highest are marked. Among equal values it is arbitrary which.

    Returns:
        Maps of 0 and 1, (B, 1, H, W), without a gradient.
    """
    flat = map_.detach().flatten(1)
    count = round(share * flat.shape[1])
    places = flat.topk(count, dim=1, largest=highest).indices
    return torch.zeros_like(flat).scatter_(1, places, 1.0).view_as(map_)


def filling(images: Tensor, fill: Fill) -> Tensor:
    """Images (B, 1, H, W) that replace parts of others.

    Args:
        images: Images (B, 1, H, W).
        fill: "black" is 0; "mean" the mean of the image; "blur" the image blurred by a Gaussian of a tenth of
            its sides; "uniform" uniform noise between the image's minimum and maximum; "shuffle" the image's
            own pixels in random order; "other_case" the next image of the batch. Random ones are drawn from
            torch's global generator.
    """
    if fill == "black":
        return torch.zeros_like(images)
    if fill == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images)
    if fill == "blur":
        sides = images.new_tensor(images.shape[-2:], dtype=torch.float32) * BLUR
        return blur(images, sides.expand(len(images), 2)).to(images.dtype)
    if fill == "uniform":
        low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
        return low + (high - low) * torch.rand_like(images)
    if fill == "shuffle":
        flat = images.flatten(1)
        return flat.gather(1, torch.rand_like(flat).argsort(1)).view_as(images)
    return images.roll(-1, 0)


def replaced(images: Tensor, mask: Tensor, fill: Fill) -> Tensor:
    """(1 − mask) · image + mask · filling.

    Args:
        images: Images (B, 1, H, W).
        mask: Masks in [0, 1], (B, 1, h, w); enlarged to the images.
        fill: See `filling`.
    """
    if mask.shape[-2:] != images.shape[-2:]:
        mask = F.interpolate(mask, images.shape[-2:], mode="bilinear", align_corners=False)
    return torch.lerp(images, filling(images, fill).to(images.dtype), mask.to(images.dtype))
