"""The first module of a network: grey images become the input of its encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from radgaze.models.scale import IMAGENET, Scale


class InputScale(nn.Module):
    """Convert grey images in [0, 1] to the channels and values of a `Scale`.

    Its tensors are no part of a network's state: the settings have them.

    Args:
        scale: The scale.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, scale: Scale = IMAGENET) -> None:
        super().__init__()
        self.scale = scale
        for name, values in (("mean", scale.mean), ("std", scale.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 1, H, W) to (B, channels, H, W).

        Raises:
            ValueError: The images have another shape.
        """
        if images.dim() != 4 or images.shape[1] != 1:
            raise ValueError(f"images are grey, (B, 1, H, W); these have the shape {tuple(images.shape)}")
        low, high = self.scale.low, self.scale.high
        if (low, high) != (0, 1):
            images = low + (high - low) * images
        return (images - self.mean) / self.std


class GreyToRGB(InputScale):
    """Convert grey images in [0, 1] to three channels, normalised by ImageNet's means and deviations."""

    def __init__(self) -> None:
        super().__init__(IMAGENET)


def scale_in(model: nn.Module) -> Scale | None:
    """Return the scale of the first `InputScale` in a network; None without any."""
    module = next((each for each in model.modules() if isinstance(each, InputScale)), None)
    return None if module is None else module.scale
