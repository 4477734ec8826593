"""The U-Net with a classification head, and the classifier without a decoder."""

from __future__ import annotations

from collections.abc import Sequence

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.base import ClassificationHead
from timm.layers.activations import Swish
from torch import Tensor, nn

from radgaze.errors import UserError
from radgaze.models.config import ModelConfig
from radgaze.models.drop_block import with_drop_block
from radgaze.models.encoder_input import input_of, scaling
from radgaze.models.input_scale import GreyToRGB
from radgaze.models.output import Output
from radgaze.models.registry import SIZE, register
from radgaze.models.timm_models import MADE_FOR, form
from radgaze.models.token_decoder import TokenUNet, token_head
from radgaze.models.token_encoder import LEVELS, TokenEncoder, for_head, token_encoder
from radgaze.models.weights import load_encoder, pretrained, published

__all__ = ["Classifier", "GreyToRGB", "UNet", "create_encoder", "create_unet", "keep_apart", "tidy"]


@register("unet", title="U-Net", provides=("mask",), takes_size=True)
class UNet(nn.Module):
    """U-Net whose encoder also feeds a classifier: average pooling, dropout and a linear layer.

    Watanabe et al. (2022), figure 11. A plain transformer has a decoder of tokens (`TokenUNet`), and a head
    of the tokens that its model in timm pools.
    """

    def __init__(self, config: ModelConfig, classes: int, size: int = SIZE) -> None:
        super().__init__()
        self.grey = scaling(config)
        self.network = create_unet(config, classes, size)
        head, encoder = self.network.classification_head, self.network.encoder
        self.network.classification_head = _dropping(head, encoder, config)

    def scoring(self) -> Classifier:
        """Return the classifier alone, since the class scores do not depend on the decoder."""
        return Classifier.of(self)

    def forward(self, images: Tensor) -> Output:
        """Compute logits and mask of images (B, 1, H, W); H and W are multiples of 32, or of the patch."""
        mask, logits = self.network(self.grey(images))
        return Output(logits, mask)


@register("classifier", takes_size=True)
class Classifier(nn.Module):
    """The U-Net's encoder and classification head without a decoder (Watanabe et al. 2022, figure 14)."""

    def __init__(self, config: ModelConfig, classes: int, size: int = SIZE) -> None:
        super().__init__()
        self.grey = scaling(config)
        self.encoder, channels = create_encoder(config, size)
        if isinstance(self.encoder, TokenEncoder):
            head = token_head(self.encoder.channels, classes, config.dropout)
        else:
            head = ClassificationHead(channels[-1], classes, dropout=config.dropout)
        keep_apart(head)
        self.head = _dropping(head, self.encoder, config)

    @classmethod
    def of(cls, unet: UNet) -> Classifier:
        """Create the classifier of a U-Net, which shares the U-Net's weights."""
        classifier = cls.__new__(cls)
        nn.Module.__init__(classifier)
        classifier.grey, classifier.encoder = unet.grey, unet.network.encoder
        classifier.head = unet.network.classification_head
        classifier.training = unet.training  # not `train`, which would set the parts that they share
        return classifier

    def forward(self, images: Tensor) -> Output:
        """Compute logits of images (B, 1, H, W)."""
        return Output(self.head(for_head(self.encoder(self.grey(images)))), None)


def create_unet(config: ModelConfig, classes: int, size: int = SIZE) -> smp.Unet | TokenUNet:
    """Create a U-Net of one mask and a classification head, whose encoder has its initial weights.

    Raises:
        UserError: There is no such encoder, its weights cannot be loaded, or the size does not fit it.
    """
    with pretrained(config):
        fitted, channels = form(config.encoder, size), input_of(config).scale.channels
        if fitted.patch is not None:
            encoder = token_encoder(
                config.encoder,
                fitted,
                size,
                pretrained=published(config) is not None,
                levels=LEVELS,
                channels=channels,
            )
            network = TokenUNet(encoder, classes, config.decoder_channels, config.dropout)
        else:
            network = smp.Unet(
                config.encoder,
                encoder_weights=published(config),
                in_channels=channels,
                decoder_channels=tuple(config.decoder_channels),
                classes=1,
                aux_params={"classes": classes, "dropout": config.dropout},
                **fitted.arguments,
            )
            setattr(network.encoder, MADE_FOR, size if fitted.arguments else None)
    tidy(network.encoder, config)
    keep_apart(network.classification_head)
    return network


def create_encoder(config: ModelConfig, size: int = SIZE) -> tuple[nn.Module, list[int]]:
    """Create an encoder with its initial weights.

    Returns:
        The encoder, and the number of channels of each of its features, from the finest; those of a
        `TokenEncoder` are the pooled tokens and one grid.

    Raises:
        UserError: There is no such encoder, its weights cannot be loaded, or the size does not fit it.
    """
    with pretrained(config):
        channels = input_of(config).scale.channels
        fitted, weights = form(config.encoder, size), published(config)
        if fitted.patch is not None:
            encoder: nn.Module = token_encoder(
                config.encoder, fitted, size, pretrained=weights is not None, channels=channels
            )
        else:
            encoder = smp.encoders.get_encoder(
                config.encoder, in_channels=channels, depth=5, weights=weights, **fitted.arguments
            )
            setattr(encoder, MADE_FOR, size if fitted.arguments else None)
    tidy(encoder, config)
    made: Sequence[int] = getattr(encoder, "out_channels")  # noqa: B009 - mypy
    return encoder, list(made)


def tidy(encoder: nn.Module, config: ModelConfig) -> None:
    """Load an encoder's weights from where the configuration says, and replace its Swish modules by SiLU."""
    load_encoder(encoder, config)
    # timm computes Swish as x·σ(x), in two passes over memory; SiLU is the same function in one.
    for module in encoder.modules():
        for name, child in module.named_children():
            if isinstance(child, Swish):
                setattr(module, name, nn.SiLU())


def _dropping(head: nn.Sequential, encoder: nn.Module, config: ModelConfig) -> nn.Sequential:
    """A head with DropBlock in front of it, if the settings have it."""
    if config.drop_block and isinstance(encoder, TokenEncoder):
        raise UserError(
            f"`model.drop_block={config.drop_block:g}` sets squares of feature maps to zero, and the head of "
            f"`model.encoder={config.encoder}` takes pooled tokens: leave it out"
        )
    return with_drop_block(head, config.drop_block, config.drop_block_size)


def keep_apart(head: nn.Module) -> None:
    """Make dropout not operate in place: on a view of the pooled features autograd would not record it as
    dropout, and CAM could not recognise the head as average pooling and a linear layer."""
    for module in head.modules():
        if isinstance(module, nn.Dropout):
            module.inplace = False
