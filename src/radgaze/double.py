"""Double precision, which Apple's GPUs do not have."""

from __future__ import annotations

from torch import Tensor

WITHOUT = ("mps",)
"""Kinds of devices that refuse tensors of 64-bit numbers."""


def with_double(x: Tensor) -> Tensor:
    """Move a tensor to the CPU where its device has no double precision."""
    return x.cpu() if x.device.type in WITHOUT else x


def double(x: Tensor) -> Tensor:
    """Convert a tensor to double precision, on the CPU where its device has none; differentiable."""
    return with_double(x).double()
