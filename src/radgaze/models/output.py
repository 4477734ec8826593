"""The output of every network."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Output(NamedTuple):
    """Output of every model.

    Attributes:
        logits: Class scores, (B, C).
        mask: Mask logits, (B, 1, H, W), or None without a decoder; of a model with class maps, the enlarged
            map of the predicted class.
        class_maps: Logits of each class and place, (B, C, h, w), from which the class scores are pooled, or
            None.
        aux_logits: Class scores (B, C) of an auxiliary classifier, which are trained alone, or None.
    """

    logits: Tensor
    mask: Tensor | None
    class_maps: Tensor | None = None
    aux_logits: Tensor | None = None

    def mask_of(self, classes: Tensor) -> Tensor | None:
        """Return the mask (B, 1, H, W) of one class for each case; without class maps, `mask` itself.

        Args:
            classes: Index of the class of each case, (B,).
        """
        if self.class_maps is None or self.mask is None:
            return self.mask
        return map_of(self.class_maps, classes, self.mask.shape[-2:])


def map_of(class_maps: Tensor, classes: Tensor, size: torch.Size) -> Tensor:
    """Select the map of one class for each case, and resize it to (B, 1, H, W), bilinearly.

    Args:
        class_maps: Maps (B, C, h, w).
        classes: Index of the class of each case, (B,).
        size: Size (H, W) of the result.
    """
    # Not `take_along_dim`, which fixes the number of cases in a trace.
    selected = class_maps.gather(1, classes.view(-1, 1, 1, 1).expand(-1, 1, *class_maps.shape[-2:]))
    return F.interpolate(selected, size=size, mode="bilinear", align_corners=False)
