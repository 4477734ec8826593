"""The settings of a network. Does not import torch, so that the command line starts quickly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from radgaze.models import registry
from radgaze.options import check_choice, option
from radgaze.sections import Section


@dataclass
class ModelConfig(Section):
    """The settings of a network.

    Attributes:
        architecture: "unet", classification head and mask decoder on one encoder; "classifier", without a
            decoder; "pylon", which computes a map of each class and its scores from them; "temporal", whose
            inputs are image and gaze, in prediction too; or "temporal_image_only", the image branch of
            "temporal".
        encoder: Name of an encoder of segmentation-models-pytorch. The temporal networks have a fixed
            encoder, "xraynet".
        weights: Initial weights of the encoder: "imagenet", "noisy-student", "none", or the path of a weights
            file (safetensors, or a state dict of torch). The temporal networks have no pretrained weights.
        decoder_channels: Channels of the U-Net decoder's five stages, from the deepest.
        dropout: Dropout probability before the classifier's last layer, in PYLON for whole channels; in the
            temporal networks, before each embedding.
        pylon_channels: Channels of PYLON's decoder.
        form: Form of the temporal networks: "honest", or "faithful", which also reproduces the peculiarities
            of the published code.
        frames: Content of one frame of "temporal": one "fixation", or a time bin of some "seconds".
        frame_seconds: Length of a time bin in seconds.
        most_frames: Maximum number of frames of a case; later frames are dropped, and training reports for
            how many cases. At 224×224 each frame takes about 12 MB in a training step.
    """

    architecture: str = "unet"
    encoder: str = "timm-efficientnet-b0"
    weights: str = "imagenet"
    decoder_channels: tuple[int, int, int, int, int] = option((256, 128, 64, 32, 16), at_least=1)
    dropout: float = option(0.5, at_least=0, below=1)
    pylon_channels: int = option(128, at_least=1)
    form: Literal["honest", "faithful"] = "honest"
    frames: Literal["fixation", "seconds"] = "fixation"
    frame_seconds: float = option(1.0, above=0)
    most_frames: int = option(64, at_least=1)

    def check(self) -> None:
        """Check the values.

        Raises:
            FieldError: A number is out of range, or there is no such architecture.
        """
        super().check()
        check_choice("architecture", self.architecture, registry.names())

    @property
    def network(self) -> registry.Architecture:
        """The registered architecture."""
        return registry.find(self.architecture)

    @property
    def has_mask(self) -> bool:
        """Whether it has a decoder."""
        return "mask" in self.network.provides

    @property
    def has_class_maps(self) -> bool:
        """Whether it computes a map of each class, which the generator `pylon` shows."""
        return "class_maps" in self.network.provides

    @property
    def reads_gaze(self) -> bool:
        """Whether gaze is part of its input, in training and in use."""
        return self.network.reads_gaze

    @property
    def has_own_encoder(self) -> bool:
        """Whether it has an encoder of its own, so that `encoder` and `weights` have no effect."""
        return self.network.own_encoder is not None
