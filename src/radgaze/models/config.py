"""What a model is made of. Free of torch, so that the command line can show it quickly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class ModelConfig:
    """The network.

    Attributes:
        architecture: "unet", classification head and mask decoder on one encoder, or "classifier", which has
            no decoder.
        encoder: Encoder of segmentation-models-pytorch, by name.
        weights: What the encoder starts from: "imagenet", "noisy-student", "none", or the path of a weights
            file (safetensors, or a state dict of torch).
        decoder_channels: Channels of the decoder's five stages, from the deepest.
        dropout: Before the classifier's last layer.
    """

    architecture: Literal["unet", "classifier"] = "unet"
    encoder: str = "timm-efficientnet-b0"
    weights: str = "imagenet"
    decoder_channels: tuple[int, int, int, int, int] = (256, 128, 64, 32, 16)
    dropout: float = 0.5
