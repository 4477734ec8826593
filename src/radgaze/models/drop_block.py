"""DropBlock in front of a classification head."""

from __future__ import annotations

from torch import nn
from torchvision.ops import DropBlock2d


def with_drop_block(head: nn.Sequential, probability: float, size: int) -> nn.Sequential:
    """Put DropBlock (Ghiasi, Lin and Le, NeurIPS 2018) in front of a head.

    In training it sets squares of the features to zero, in each channel at other places, and scales the rest
    so that their sum over the batch is kept. A classifier then cannot rely on a single place, and its maps
    cover more of a finding. Outside of training it passes features on as they are.

    Args:
        head: Head that takes features (B, C, h, w).
        probability: Share of the features that is set to zero; 0 leaves the head as it is.
        size: Side of the squares, in places of the features; at most that of the features.
    """
    return head if not probability else nn.Sequential(DropBlock2d(probability, size), *head)
