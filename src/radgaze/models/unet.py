"""The U-Net with a classification head, and the classifier without a decoder."""

from __future__ import annotations

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.base import ClassificationHead
from timm.layers.activations import Swish
from torch import Tensor, nn

from radgaze.models.config import ModelConfig
from radgaze.models.drop_block import with_drop_block
from radgaze.models.encoder_input import input_of, scaling
from radgaze.models.input_scale import GreyToRGB
from radgaze.models.output import Output
from radgaze.models.registry import register
from radgaze.models.weights import load_encoder, pretrained, published

__all__ = ["Classifier", "GreyToRGB", "UNet", "create_encoder", "create_unet", "keep_apart", "tidy"]


@register("unet", title="U-Net", provides=("mask",))
class UNet(nn.Module):
    """U-Net whose encoder also feeds a classifier: average pooling, dropout and a linear layer.

    Watanabe et al. (2022), figure 11.
    """

    def __init__(self, config: ModelConfig, classes: int) -> None:
        super().__init__()
        self.grey = scaling(config)
        self.network = create_unet(config, classes)
        head = self.network.classification_head
        self.network.classification_head = with_drop_block(head, config.drop_block, config.drop_block_size)

    def scoring(self) -> Classifier:
        """Return the classifier alone, since the class scores do not depend on the decoder."""
        return Classifier.of(self)

    def forward(self, images: Tensor) -> Output:
        """Compute logits and mask of images (B, 1, H, W); H and W are multiples of 32."""
        mask, logits = self.network(self.grey(images))
        return Output(logits, mask)


@register("classifier")
class Classifier(nn.Module):
    """The U-Net's encoder and classification head without a decoder (Watanabe et al. 2022, figure 14)."""

    def __init__(self, config: ModelConfig, classes: int) -> None:
        super().__init__()
        self.grey = scaling(config)
        self.encoder, channels = create_encoder(config)
        head = ClassificationHead(channels[-1], classes, dropout=config.dropout)
        keep_apart(head)
        self.head = with_drop_block(head, config.drop_block, config.drop_block_size)

    @classmethod
    def of(cls, unet: UNet) -> Classifier:
        """Create the classifier of a U-Net, which shares the U-Net's weights."""
        classifier = cls.__new__(cls)
        nn.Module.__init__(classifier)
        classifier.grey, classifier.encoder = unet.grey, unet.network.encoder
        classifier.head = unet.network.classification_head
        classifier.train(unet.training)
        return classifier

    def forward(self, images: Tensor) -> Output:
        """Compute logits of images (B, 1, H, W)."""
        return Output(self.head(self.encoder(self.grey(images))[-1]), None)


def create_unet(config: ModelConfig, classes: int) -> smp.Unet:
    """Create a U-Net of one mask and a classification head, whose encoder has its initial weights.

    Raises:
        UserError: There is no such encoder, or its weights cannot be loaded.
    """
    with pretrained(config):
        network = smp.Unet(
            config.encoder,
            encoder_weights=published(config),
            in_channels=input_of(config).scale.channels,
            decoder_channels=tuple(config.decoder_channels),
            classes=1,
            aux_params={"classes": classes, "dropout": config.dropout},
        )
    tidy(network.encoder, config)
    keep_apart(network.classification_head)
    return network


def create_encoder(config: ModelConfig) -> tuple[nn.Module, list[int]]:
    """Create an encoder with its initial weights.

    Returns:
        The encoder, and the number of channels of each of its features, from the finest.

    Raises:
        UserError: There is no such encoder, or its weights cannot be loaded.
    """
    with pretrained(config):
        channels = input_of(config).scale.channels
        encoder = smp.encoders.get_encoder(
            config.encoder, in_channels=channels, depth=5, weights=published(config)
        )
    tidy(encoder, config)
    return encoder, list(encoder.out_channels)


def tidy(encoder: nn.Module, config: ModelConfig) -> None:
    """Load an encoder's weights from where the configuration says, and replace its Swish modules by SiLU."""
    load_encoder(encoder, config)
    # timm computes Swish as x·σ(x), in two passes over memory; SiLU is the same function in one.
    for module in encoder.modules():
        for name, child in module.named_children():
            if isinstance(child, Swish):
                setattr(module, name, nn.SiLU())


def keep_apart(head: nn.Module) -> None:
    """Make dropout not operate in place: on a view of the pooled features autograd would not record it as
    dropout, and CAM could not recognise the head as average pooling and a linear layer."""
    for module in head.modules():
        if isinstance(module, nn.Dropout):
            module.inplace = False
