"""DropBlock in front of a classification head."""

from __future__ import annotations

from torch import Tensor, nn


class DropBlock(nn.Module):
    """torchvision's DropBlock, whose squares shrink to an odd side in features of a smaller, even side.

    Args:
        probability: Share of the features that is set to zero.
        size: Side of the squares, odd.
    """

    def __init__(self, probability: float, size: int) -> None:
        super().__init__()
        self.probability, self.size = probability, size

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, C, h, w), in training with squares of zeros."""
        from torchvision.ops import drop_block2d  # seconds to import, and few networks have it

        side = min(self.size, *features.shape[-2:])
        odd = side - 1 + side % 2
        dropped: Tensor = drop_block2d(features, self.probability, odd, training=self.training)
        return dropped


def with_drop_block(head: nn.Sequential, probability: float, size: int) -> nn.Sequential:
    """Put DropBlock (Ghiasi, Lin and Le, NeurIPS 2018) in front of a head.

    In training it sets squares of the features to zero, in each channel at other places, and scales the rest
    so that their sum over the batch is kept. A classifier then cannot rely on a single place, and its maps
    cover more of a finding. Outside of training it passes features on as they are.

    Args:
        head: Head that takes features (B, C, h, w).
        probability: Share of the features that is set to zero; 0 leaves the head as it is.
        size: Side of the squares, in places of the features, odd; in smaller features the largest odd side.
    """
    return head if not probability else nn.Sequential(DropBlock(probability, size), *head)
