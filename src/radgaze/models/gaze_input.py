"""The U-Net whose inputs are the image and its gaze map, with gaze drop-out.

Kazemimoghadam et al., "Saliency-guided deep learning network for automatic tumor bed volume delineation in
post-operative breast irradiation", Physics in Medicine and Biology 2021: a saliency map, made from markers
that a person has found, is a channel beside the image. Here it is the gaze map. Gaze as an input is another
task than gaze as a target: a reader has already looked at the image when the network is used.

Drop-out of the map is ours: in training, a case gets an empty map with some probability, so that one network
serves with gaze and without. The first convolution starts from its pretrained weights, and from zeros for the
map, so that the network starts as the U-Net of the image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from radgaze.draws import uniform
from radgaze.errors import UserError
from radgaze.models.config import ModelConfig
from radgaze.models.encoder_input import scaling
from radgaze.models.output import Output
from radgaze.models.registry import SIZE, register
from radgaze.models.token_encoder import for_head
from radgaze.models.unet import create_unet
from radgaze.store.batch import Batch

PURPOSE = 301
"""Number of the draw of the cases whose map is left out."""


@register(
    "unet_with_gaze",
    title="U-Net of image and gaze map",
    provides=("mask",),
    reads_gaze=True,
    gaze_map=True,
    takes_size=True,
)
class UNetWithGaze(nn.Module):
    """U-Net with a classification head, as `UNet`, whose encoder also reads a gaze map."""

    def __init__(self, config: ModelConfig, classes: int, size: int = SIZE) -> None:
        super().__init__()
        self.planes = ImageAndGaze(config)
        self.network = create_unet(config, classes, size)
        widen(self.network.encoder, config.encoder, self.planes.grey.scale.channels)

    def inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return images and gaze maps, both (B, 1, H, W), for `forward`; or images alone."""
        return self.planes.inputs(batch)

    def scoring(self) -> ClassifierWithGaze:
        """Return the classifier alone, since the class scores do not depend on the decoder."""
        return ClassifierWithGaze(self)

    def forward(self, images: Tensor, gaze: Tensor | None = None) -> Output:
        """Compute logits and mask of images (B, 1, H, W), given gaze maps of the same shape or none."""
        mask, logits = self.network(self.planes(images, gaze))
        return Output(logits, mask)


class ClassifierWithGaze(nn.Module):
    """Encoder and classification head of a `UNetWithGaze`, which share its weights."""

    def __init__(self, unet: UNetWithGaze) -> None:
        super().__init__()
        self.planes, self.encoder = unet.planes, unet.network.encoder
        self.head = unet.network.classification_head
        self.training = unet.training  # not `train`, which would set the parts that they share

    def inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return images and gaze maps, both (B, 1, H, W), for `forward`; or images alone."""
        return self.planes.inputs(batch)

    def forward(self, images: Tensor, gaze: Tensor | None = None) -> Output:
        """Compute logits of images (B, 1, H, W), given gaze maps of the same shape or none."""
        return Output(self.head(for_head(self.encoder(self.planes(images, gaze)))), None)


class ImageAndGaze(nn.Module):
    """Join an image's normalised channels and its gaze map, which is dropped at random in training."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.grey = scaling(config)
        self.dropout = config.gaze_dropout
        self.without_gaze = config.without_gaze

    def inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        """Return images and gaze maps (B, 1, H, W) of a batch, or images alone if gaze is left out.

        The map of a case without a fixation on the image is empty, also where boxes, which the labels select,
        stand in for gaze as a target.
        """
        if self.without_gaze:
            return (batch.image,)
        shown = batch.readable
        if self.training and self.dropout > 0:
            shown = shown & (self._drawn(batch) >= self.dropout)
        return batch.image, torch.where(shown.view(-1, 1, 1, 1), batch.gaze_maps(), 0)

    def forward(self, images: Tensor, gaze: Tensor | None) -> Tensor:
        """Join images and gaze maps (B, 1, H, W) in (B, channels + 1, H, W); gaze that is None is 0."""
        if gaze is None:
            gaze = torch.zeros_like(images)
        return torch.cat([self.grey(images), gaze.to(images.dtype)], 1)

    @staticmethod
    def _drawn(batch: Batch) -> Tensor:
        if batch.draw is None:
            return torch.rand(len(batch), device=batch.image.device)
        return uniform(batch.draw, PURPOSE)


_WORDS = {1: "one channel", 3: "three channels"}


def widen(encoder: nn.Module, name: str, channels: int = 3) -> None:
    """Give the first convolution of an encoder of one or three channels a further one, with weights of 0.

    Raises:
        UserError: The encoder does not begin with a convolution of all of its channels.
    """
    first = next((each for each in encoder.modules() if isinstance(each, nn.Conv2d)), None)
    if first is None or first.in_channels != channels or first.groups != 1:
        raise UserError(
            f"`model.encoder={name}` does not begin with a convolution of {_WORDS[channels]}, to which the "
            "model unet_with_gaze adds one for the gaze map; take another encoder"
        )
    added = first.weight.new_zeros(first.out_channels, 1, *first.kernel_size)
    first.weight = nn.Parameter(torch.cat([first.weight.detach(), added], 1))
    first.in_channels += 1
