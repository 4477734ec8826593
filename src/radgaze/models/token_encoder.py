"""A plain transformer of timm as an encoder: pooled tokens for a head, grids of tokens for a decoder."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from radgaze.models.timm_models import PREFIX, Form, Plain, patch_of

LEVELS = 4
"""Number of depths from which a decoder takes a grid of tokens."""


class TokenEncoder(nn.Module):
    """A ViT, DeiT, DINOv2, DINOv3, BEiT or EVA, whose forward pass is timm's own.

    Args:
        model: The model of timm, without a classifier.
        size: Side in pixels of the images that it was made for.
        levels: Number of depths, evenly spaced, whose grids of tokens are features; the last is the end. A
            model with fewer blocks has fewer.

    Attributes:
        model: The model; its `num_prefix_tokens` and `patch_embed` say which tokens form the grid.
        patch: Side in pixels of the patch of a token.
        channels: Numbers of the pooled tokens.
        out_channels: Channels of each feature, the pooled tokens first.
    """

    def __init__(self, model: nn.Module, size: int, levels: int = 1) -> None:
        super().__init__()
        self.model = model
        self.made_for = size
        self.patch = patch_of(model)
        blocks, width = len(self.plain.blocks), self.plain.num_features
        levels = min(levels, blocks)
        self.taken = [(k + 1) * blocks // levels - 1 for k in range(levels)]
        self.channels = int(getattr(model, "head_hidden_size", width))
        self.out_channels = [self.channels, *[width] * levels]

    @property
    def plain(self) -> Plain:
        """The model, as what it is."""
        return cast("Plain", self.model)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features of images (B, 3, H, W), whose sides are multiples of the patch.

        Returns:
            What timm's model pools (B, channels), its class token or the mean of its patch tokens, for the
            classification head; then grids (B, C, H/patch, W/patch) of patch tokens, the deepest last.
        """
        last, grids = self.plain.forward_intermediates(images, indices=self.taken)
        pooled = self.plain.forward_head(last, pre_logits=True)
        return [pooled, *grids[:-1], self._grid(last, grids[-1])]

    def _grid(self, tokens: Tensor, like: Tensor) -> Tensor:
        """Patch tokens of (B, N, C) on their grid, after the final norm, which some have after the pool."""
        patches = tokens[:, self.plain.num_prefix_tokens :]
        if isinstance(norm := getattr(self.model, "fc_norm", None), nn.Module):
            patches = norm(patches)
        return patches.transpose(1, 2).reshape(like.shape).contiguous()


def token_encoder(
    name: str, form: Form, size: int, *, pretrained: bool, levels: int = 1, channels: int = 3
) -> TokenEncoder:
    """Create the encoder of a plain transformer.

    Args:
        name: Its name, `tu-NAME`.
        form: Its form for images of `size`.
        size: Side of the images in pixels.
        pretrained: Whether it starts from timm's weights; position embeddings are interpolated to the size.
        levels: Number of depths whose grids of tokens are features.
        channels: Channels of the images.
    """
    import timm

    model = timm.create_model(
        name.removeprefix(PREFIX), pretrained=pretrained, num_classes=0, in_chans=channels, **form.arguments
    )
    return TokenEncoder(model, size, levels)


def for_head(features: list[Tensor]) -> Tensor:
    """Return what a classification head takes: pooled tokens, or the deepest feature maps."""
    return features[0] if features[0].dim() == 2 else features[-1]
