"""Networks as users write them, for the tests of own networks."""

from __future__ import annotations

from torch import Tensor, nn


class SmallUNet(nn.Module):
    """Logits and a mask at a quarter of the images' size, in the form that is asked for."""

    def __init__(self, classes: int, width: int = 4, channels: int = 1, form: str = "tuple") -> None:
        super().__init__()
        self.form = form
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, 2, 1),
            nn.BatchNorm2d(width),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1),
            nn.SiLU(),
        )
        self.score = nn.Linear(2 * width, classes)
        self.mask = nn.Conv2d(2 * width, 1, 1)

    def forward(self, images: Tensor) -> object:
        features = self.features(images)
        logits, mask = self.score(features.mean((2, 3))), self.mask(features)
        if self.form == "logits":
            return logits
        return (logits, mask) if self.form == "tuple" else {"logits": logits, "mask": mask}


def unet(classes: int, width: int = 4) -> nn.Module:
    """Make the network; `classes` is given by radgaze."""
    return SmallUNet(classes, width)


def of_logits(num_classes: int) -> nn.Module:
    """Make a network without a mask; the number of classes has the name that others use."""
    return SmallUNet(num_classes, form="logits")


def dense(classes: int) -> nn.Module:
    """Make a network without feature maps."""
    return nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 8), nn.ReLU(), nn.Linear(8, classes))


def a_number(classes: int) -> int:
    """Make no network."""
    return classes
