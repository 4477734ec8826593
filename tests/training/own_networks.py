"""Networks as users write them, for the tests of own networks."""

from __future__ import annotations

from types import SimpleNamespace

import torch
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


def of_tokens(classes: int, trained: bool = True) -> nn.Module:
    """Make a transformer as those of transformers are, with a head; all but the head may be frozen."""
    network = WithHead(Transformer(), classes)
    network.encoder.requires_grad_(trained)
    return network


class WithHead(nn.Module):
    """The head of docs/own_models.md on the class token of a transformer."""

    def __init__(self, encoder: Transformer, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(pixel_values=images).last_hidden_state[:, 0])
        return logits


class Transformer(nn.Module):
    """A small one with the interface of those of transformers: `config`, and an output with attributes."""

    def __init__(self, width: int = 16, depth: int = 3, patch: int = 8, size: int = 32) -> None:
        super().__init__()
        self.config = SimpleNamespace(hidden_size=width, patch_size=patch, image_size=size)
        self.embeddings = nn.Conv2d(3, width, patch, patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 1 + (size // patch) ** 2, width) / 4)
        layer = nn.TransformerEncoderLayer(width, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, pixel_values: Tensor) -> SimpleNamespace:
        if pixel_values.shape[1] != 3:
            raise ValueError(f"three channels are expected, not {pixel_values.shape[1]}")
        patches = self.embeddings(pixel_values).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], 1)
        return SimpleNamespace(last_hidden_state=self.encoder(tokens + self.positions))


def headless(classes: int) -> nn.Module:
    """Make a transformer without a head, which gives no logits."""
    return Transformer()


def dense(classes: int) -> nn.Module:
    """Make a network without feature maps."""
    return nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 8), nn.ReLU(), nn.Linear(8, classes))


def a_number(classes: int) -> int:
    """Make no network."""
    return classes
