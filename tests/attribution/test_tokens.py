"""Where tokens lie in the image, and class-activation maps of them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution.engine.tokens import GridError, TokenGrid, grid_of
from tests.attribution.transformers import drawn, images_of, vit

CAMS = ("grad_cam", "grad_cam_positive", "grad_cam_pp", "hires_cam", "layer_cam")


class Resizing(nn.Module):
    """A transformer inside another network, which gives it images of another size."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.inside = nn.ModuleDict({"network": network})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": self.inside["network"](F.interpolate(images, size=(32, 32), mode="bilinear"))}


class HubStyle(nn.Module):
    """A ViT as `transformers` has them: a configuration, class and register tokens, its own attention."""

    def __init__(self, registers: int, *, convolution: bool = True) -> None:
        super().__init__()
        self.config = SimpleNamespace(patch_size=8, num_register_tokens=registers, image_size=32)
        self.patches = nn.Conv2d(1, 12, 8, stride=8)
        self.convolution = convolution
        self.first = nn.Parameter(torch.randn(1, 1 + registers, 12))
        self.norm, self.qkv, self.out = nn.LayerNorm(12), nn.Linear(12, 36), nn.LayerNorm(12)
        self.head = nn.Linear(12, 3)

    def forward(self, images: Tensor) -> SimpleNamespace:
        if self.convolution:
            patches = self.patches(images).flatten(2).transpose(1, 2)
        else:  # in a way that shows no feature maps
            patches = F.unfold(images, 8, stride=8).transpose(1, 2) @ self.patches.weight.flatten(1).T
        x = torch.cat([self.first.expand(len(images), -1, -1), patches], 1)
        q, k, v = self.qkv(self.norm(x)).unflatten(2, (3, 2, 6)).permute(2, 0, 3, 1, 4)
        weights = F.softmax(q @ k.transpose(2, 3) / 6**0.5, dim=-1, dtype=torch.float32).to(q.dtype)
        x = x + (weights @ v).transpose(1, 2).flatten(2)
        return SimpleNamespace(logits=self.head(self.out(x)[:, 0]))


CASES: dict[str, tuple[Callable[[], Any], str, tuple[int, int], TokenGrid]] = {
    "ViT": (vit, "blocks.0", (32, 32), TokenGrid(1, 4, 4)),
    "not square": (lambda: vit(img_size=(16, 40)), "blocks.1.norm1", (16, 40), TokenGrid(1, 2, 5)),
    "position embeddings interpolated": (
        lambda: vit(dynamic_img_size=True),
        "blocks.0.norm1",
        (40, 16),
        TokenGrid(1, 5, 2),
    ),
    "padded": (
        lambda: vit(dynamic_img_size=True, dynamic_img_pad=True),
        "blocks.0",
        (33, 16),
        TokenGrid(1, 5, 2),
    ),
    "registers": (lambda: vit(reg_tokens=4), "blocks.0", (32, 32), TokenGrid(5, 4, 4)),
    "DINOv2": (lambda: vit("vit_small_patch14_reg4_dinov2"), "blocks.0", (32, 32), TokenGrid(5, 4, 4)),
    "DINOv3": (
        lambda: vit("vit_small_patch16_dinov3", embed_dim=16),
        "blocks.0",
        (32, 24),
        TokenGrid(5, 4, 3),
    ),
    "EVA": (lambda: vit("eva02_tiny_patch14_224", embed_dim=16), "blocks.0", (32, 32), TokenGrid(1, 4, 4)),
    "DeiT, distilled": (
        lambda: vit("deit_tiny_distilled_patch16_224"),
        "blocks.0",
        (32, 32),
        TokenGrid(2, 4, 4),
    ),
    "SigLIP": (lambda: vit("vit_base_patch16_siglip_224"), "blocks.0", (32, 32), TokenGrid(0, 4, 4)),
    "torchvision": (
        lambda: torchvision.models.VisionTransformer(32, 8, 1, 2, 12, 24, num_classes=3),
        "encoder.layers.encoder_layer_0.ln_1",
        (32, 32),
        TokenGrid(1, 4, 4),
    ),
    "inside another": (lambda: Resizing(vit()), "inside.network.blocks.0", (20, 60), TokenGrid(1, 4, 4)),
    "transformers": (lambda: HubStyle(4), "norm", (24, 32), TokenGrid(5, 3, 4)),
    "no feature maps seen": (lambda: HubStyle(0, convolution=False), "norm", (24, 32), TokenGrid(1, 3, 4)),
    "before the class token": (vit, "patch_embed", (32, 32), TokenGrid(0, 4, 4)),
}


@pytest.mark.parametrize("case", CASES)
def test_grid_of_tokens_is_found(case: str) -> None:
    make, layer, size, grid = CASES[case]
    model = drawn(make())
    weight = next(p for p in model.parameters() if p.dim() == 4)
    images = images_of(2, size).expand(-1, weight.shape[1], -1, -1)
    generators = [
        attribution.create("input_x_gradient", model, layer=layer, normalise="none", **options)
        for options in ({}, {"reshape": grid.maps}, {"tokens": (grid.prefix, grid.height, grid.width)})
    ]
    found, reshaped, named = (generator(images, 1) for generator in generators)
    torch.testing.assert_close(found, reshaped)
    torch.testing.assert_close(found, named)
    assert found.max() > 0


def test_patches_are_laid_out_as_they_lie_in_the_image() -> None:
    """A change of one patch of the image shows at that place of the map alone."""
    model = vit(depth=1, img_size=(16, 40))
    images = torch.zeros(1, 1, 16, 40, dtype=torch.float64)
    images[..., 8:, 24:32] = 1
    kept: list[Tensor] = []
    model.patch_embed.register_forward_hook(lambda module, args, tokens: kept.append(tokens))
    model(images), model(torch.zeros_like(images))
    changed = TokenGrid(0, 2, 5).maps(kept[0] - kept[1]).abs().sum(1)[0] > 0
    assert changed.nonzero().tolist() == [[1, 3]]


# What is not known is an error

UNKNOWN = nn.Module()


def test_grid_follows_from_number_and_proportions_where_only_one_fits() -> None:
    assert grid_of(197, UNKNOWN, (224, 224)) == TokenGrid(1, 14, 14)
    assert grid_of(9, UNKNOWN, (30, 60)) == TokenGrid(1, 2, 4)
    assert grid_of(201, UNKNOWN, (224, 224)) == TokenGrid(5, 14, 14)


def test_number_that_fits_no_grid_or_several_is_an_error() -> None:
    none = "found no grid of 50 tokens: the images are 64 × 31; .* no number of prefix tokens"
    with pytest.raises(GridError, match=none):
        grid_of(50, UNKNOWN, (64, 31))
    maps = [
        F.conv2d(torch.rand(1, 1, *size), torch.ones(3, 1, 1, 1).requires_grad_())
        for size in ((4, 4), (2, 8))
    ]
    several = r"flattened maps of 4 × 4, 2 × 8; several fit, \(1, 4, 4\), \(1, 2, 8\): name it, tokens="
    with pytest.raises(GridError, match=several):
        grid_of(17, UNKNOWN, (64, 64), maps)


class Fewer(nn.Module):
    """Drops some of its tokens, so that those left lie on no grid."""

    def __init__(self) -> None:
        super().__init__()
        self.network = vit()
        self.network.norm_pre = nn.Identity()
        self.network.norm_pre.forward = lambda x: x[:, :-3]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


@pytest.mark.parametrize("name", ["grad_cam", "relevance"])
def test_tokens_on_no_grid_are_an_error_that_says_what_was_found(name: str) -> None:
    match = (
        r"found no grid of 14 tokens: the images are 32 × 32; the model says 1 prefix tokens; it flattened "
        r"maps of 4 × 4; it says grids of 4 × 4: name it, tokens=\(prefix, h, w\)"
    )
    with pytest.raises(GridError, match=match):
        attribution.create(name, Fewer())(images_of(2), 1)
    assert name not in attribution.methods(Fewer(), 32)


@pytest.mark.parametrize("name", ["grad_cam", "attention"])
def test_named_grid_has_to_fit(name: str) -> None:
    with pytest.raises(GridError, match=r"tokens=\(0, 4, 4\) are 0 \+ 4 · 4, but there are 17 tokens"):
        attribution.create(name, vit(), tokens=(0, 4, 4))(images_of(2), 1)
    for wrong in ((1, 4), (1, 0, 4), "1,4,4", (1, 4, 4.0)):
        with pytest.raises(ValueError, match=r"tokens is \(prefix, h, w\)"):
            attribution.create(name, vit(), tokens=wrong)


# Class-activation maps without a layer


@pytest.mark.parametrize("name", CAMS)
@pytest.mark.parametrize(
    "options", [{}, {"global_pool": "avg"}, {"reg_tokens": 2}], ids=["class token", "mean", "registers"]
)
def test_class_activation_map_is_made_at_the_norm_in_front_of_the_last_attention(
    name: str, options: dict[str, Any]
) -> None:
    model, images = vit(**options), images_of(2)
    prefix = model.num_prefix_tokens
    reference = attribution.create(
        name,
        model,
        layer="blocks.1.norm1",
        reshape=lambda t: t[:, prefix:].transpose(1, 2).unflatten(2, (4, 4)),
        normalise="none",
    )
    generator = attribution.create(name, model, normalise="none")
    found = torch.cat([generator(images, target) for target in range(3)])
    torch.testing.assert_close(found, torch.cat([reference(images, target) for target in range(3)]))
    assert found.max() > 0


def test_patches_after_the_last_block_do_not_reach_a_class_token() -> None:
    """Why the map is not made there."""
    last = attribution.create("grad_cam", vit(), layer="blocks.1", normalise="none")(images_of(2), 1)
    assert last.max() == 0
    mean = attribution.create("grad_cam", vit(global_pool="avg"), layer="blocks.1", normalise="none")
    assert mean(images_of(2), 1).max() > 0


@pytest.mark.parametrize("fused", [True, False])
def test_usual_layer_of_a_nested_transformer_with_its_own_attention_is_found(fused: bool) -> None:
    model = drawn(HubStyle(1))
    found, named = (
        attribution.create("hires_cam", model, **options)(images_of(2), 1)
        for options in ({}, {"layer": "norm"})
    )
    torch.testing.assert_close(found, named)
    assert found.max() > 0
    nested = Resizing(vit() if fused else vit("vit_base_patch16_siglip_224"))
    maps = [
        attribution.create("layer_cam", nested, layer=layer)(images_of(2, (40, 24)), 1)
        for layer in (None, "inside.network.blocks.1.norm1")
    ]
    torch.testing.assert_close(*maps)


def test_tokens_with_channels_first_are_laid_out_too() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.flat = nn.Conv2d(1, 12, 8, stride=8), nn.Flatten(2)
            self.head = nn.Linear(12, 3)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(self.flat(self.patches(images)).mean(2))
            return logits

    model, images = drawn(Flat()), images_of(2, (32, 24))
    flat, maps = (
        attribution.create("hires_cam", model, layer=layer)(images, 1) for layer in ("flat", "patches")
    )
    torch.testing.assert_close(flat, maps)


def test_methods_of_a_vit_are_listed() -> None:
    assert {*CAMS, "attention", "attention_rollout", "relevance", "guided_grad_cam"} <= set(
        attribution.methods(vit(), 64)  # it takes images of 32 × 32 alone
    )
    assert "cam" not in attribution.methods(vit(), 32)
