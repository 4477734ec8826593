"""Random numbers that follow from keys: the same on every device, in every process and in any order of cases.

A generator's numbers depend on how many were drawn before, and so on the other cases of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

BITS = 0xFFFFFFFF
"""The bits of a number in [0, 2³²)."""


def uniform(draw: Tensor, purpose: int) -> Tensor:
    """Draw a number in [0, 1) for each case, (B,) float32.

    Args:
        draw: Key of each case, (B,) int64, not negative.
        purpose: Number that differs between independent draws of the same case.
    """
    return _share(_key(draw, purpose))


def uniform_maps(draw: Tensor, purpose: int, size: tuple[int, int]) -> Tensor:
    """Draw a number in [0, 1) for each pixel of each case, (B, 1, *size) float32.

    Args:
        draw: Key of each case, (B,) int64, not negative.
        purpose: Number that differs between independent draws of the same case.
        size: Height and width.
    """
    pixel = torch.arange(size[0] * size[1], device=draw.device)
    drawn = _mixed(_key(draw, purpose)[:, None] ^ _mixed(pixel))
    return _share(drawn).view(-1, 1, *size)


def of_pairs(draw: Tensor, others: Tensor, purpose: int) -> Tensor:
    """Draw a whole number in [0, 2³²) for each case with each of others, (B, N) int64.

    Args:
        draw: Key of each case, (B,) int64, not negative.
        others: Keys of the others, (N,).
        purpose: Number that differs between independent draws of the same pair.
    """
    return _mixed(_key(draw, 2 * purpose)[:, None] ^ _key(others, 2 * purpose + 1))


def _key(draw: Tensor, purpose: int) -> Tensor:
    return _mixed(_mixed((draw >> 32) + purpose) ^ draw)


def _share(drawn: Tensor) -> Tensor:
    return (drawn >> 8).float() / 2**24  # as many bits as a float32 holds


def _mixed(x: Tensor) -> Tensor:
    """Mix the lower 32 bits of integers, as implemented in lowbias32 of Wellons' hash-prospector."""
    x = x & BITS
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & BITS
    x = x ^ (x >> 15)
    x = (x * (0x846CA68B - 2**32)) & BITS  # the same lower bits, without an overflow of 64 bits
    return x ^ (x >> 16)
