"""A decoder of the token grids of a plain transformer to a mask at the image's size.

As in DPT (Ranftl, Bochkovskiy and Koltun, "Vision transformers for dense prediction", ICCV 2021) tokens of
several depths are arranged on their grid, projected and fused from the deepest to the shallowest, while
convolutions and bilinear upsampling lead back to the size of the image. As in a U-Net, each doubling of the
side halves the channels. All grids have the same size here, so that a shallower one is enlarged to where it
is added, which DPT does with transposed convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from torch import Tensor, nn

from radgaze.models.token_encoder import TokenEncoder


class TokenUNet(nn.Module):
    """Plain transformer, decoder of a mask, and classification head, with the parts of `smp.Unet`."""

    def __init__(self, encoder: TokenEncoder, classes: int, widths: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = TokenDecoder(encoder.out_channels[1:], widths, encoder.patch)
        self.segmentation_head = SegmentationHead(self.decoder.channels, 1)
        self.classification_head = token_head(encoder.channels, classes, dropout)
        initialize_decoder(self.decoder)
        initialize_head(self.segmentation_head)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits of the mask (B, 1, H, W) and of the classes (B, C) of images (B, 3, H, W)."""
        pooled, *grids = self.encoder(images)
        mask = self.segmentation_head(self.decoder(grids, images.shape[-2:]))
        return mask, self.classification_head(pooled)


class TokenDecoder(nn.Module):
    """Map grids of tokens (B, channels[k], h, w) to (B, width, H, W).

    Args:
        channels: Channels of the grids, the deepest last.
        widths: Channels after the projection of the deepest grid and after each doubling of the side; where
            there are more doublings, the last is used again.
        patch: Side in pixels of a token's patch.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], patch: int) -> None:
        super().__init__()
        doublings = max(1, (patch - 1).bit_length())
        width = [widths[min(k, len(widths) - 1)] for k in range(doublings + 1)]
        self.first = _layer(channels[-1], width[0], 1)
        shallower = channels[-2::-1]
        self.skips = nn.ModuleList(
            _layer(before, after, 1) for before, after in zip(shallower, width[1:], strict=False)
        )
        self.ups = nn.ModuleList(_layer(before, after, 3) for before, after in pairwise(width))
        self.fuses = nn.ModuleList(_layer(after, after, 3) for after in width[1:])
        self.channels = width[-1]

    def forward(self, grids: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Decode grids, the deepest last, to features of a size (H, W)."""
        x: Tensor = self.first(grids[-1])
        rows, columns = x.shape[-2:]
        for k, (up, fuse) in enumerate(zip(self.ups, self.fuses, strict=True)):
            last = k == len(self.ups) - 1
            side = (size[0], size[1]) if last else (rows * 2 ** (k + 1), columns * 2 ** (k + 1))
            x = up(_resized(x, side))
            if k < len(self.skips):
                x = x + _resized(self.skips[k](grids[-2 - k]), side)
            x = fuse(x)
        return x


def token_head(channels: int, classes: int, dropout: float) -> nn.Sequential:
    """The classification head of pooled tokens (B, channels): dropout and a linear layer."""
    head = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, classes))
    initialize_head(head)
    return head


def _layer(before: int, after: int, kernel: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
