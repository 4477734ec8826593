"""The contract of generators on a ViT, a Swin and a ConvNeXt, and what rules mean there."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from radgaze import attribution
from tests.attribution.finite_differences import assert_heatmap_loss_is_exact
from tests.attribution.generator_contract import break_off, left_as_found, nothing_alive_afterwards
from tests.attribution.networks import Small
from tests.attribution.transformers import convnext, images_of, swin, vit

NETWORKS: dict[str, Callable[[], Any]] = {"vit": vit, "swin": swin, "convnext": convnext}
MAPS = [
    *(("vit", name) for name in ("grad_cam", "grad_cam_pp", "layer_cam", "guided_backprop", "relevance")),
    *(("swin", name) for name in ("grad_cam", "hires_cam", "backprop")),
    *(("convnext", name) for name in ("grad_cam", "layer_cam", "deconvnet")),
]
CAMS = ("grad_cam", "hires_cam", "layer_cam", "grad_cam_pp", "grad_cam_positive")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", ".*meaning is thin.*")


def approving(model: nn.Module, name: str) -> int:
    """A class whose map by that generator is not empty."""
    generator = attribution.create(name, model, normalise="none")
    return max(range(3), key=lambda k: float(generator(images_of(2), k).flatten(1).amax(1).min()))


@pytest.mark.parametrize(("network", "name"), MAPS)
def test_contract(network: str, name: str) -> None:
    """One batch equals batches of one, a step equals a look, and the model is left as it was found."""
    model, images = NETWORKS[network](), images_of(2)
    generator, target = attribution.create(name, model), approving(NETWORKS[network](), name)
    with left_as_found(model):
        together = generator(images, target)
    assert together.shape == (2, 1, 32, 32)
    assert together.amax() == 1
    torch.testing.assert_close(torch.cat([generator(image[None], target) for image in images]), together)
    with generator.capture() as read:
        within = read(model(images), target)
    torch.testing.assert_close(within.detach(), together)
    assert within.requires_grad
    del within, read
    with left_as_found(model), pytest.raises(ZeroDivisionError):
        break_off(generator, images)

    def step() -> None:
        generator(images, target)
        with generator.capture() as read:
            heat = read(model(images), target)
        torch.autograd.backward(heat.mean())

    step()
    with left_as_found(model, gradients=True), nothing_alive_afterwards():
        step()


@pytest.mark.parametrize(
    ("network", "name"),
    [("vit", "grad_cam"), ("vit", "guided_backprop"), ("swin", "grad_cam"), ("convnext", "layer_cam")],
)
def test_heatmap_loss_gradient_matches_finite_differences(network: str, name: str) -> None:
    model = NETWORKS[network]()
    names = [name for name, _ in model.named_parameters()]
    chosen = {n: p for k, (n, p) in enumerate(model.named_parameters()) if k % (1 + len(names) // 12) == 0}
    generator = attribution.create(name, model, normalise="none")
    assert_heatmap_loss_is_exact(generator, images_of(2), parameters=chosen)


def test_frozen_blocks_leave_the_gradients_of_the_rest() -> None:
    found = []
    for frozen in (False, True):
        model = vit()
        for part in (model.patch_embed, model.blocks[0]):
            part.requires_grad_(not frozen)
        with attribution.create("relevance", model, attention_gradients="exact").capture() as read:
            heat = read(model(images_of(2)), 1)
        torch.autograd.backward(heat.square().sum())
        assert (model.blocks[0].attn.qkv.weight.grad is None) == frozen
        found.append([p.grad for p in model.blocks[1].parameters()])
    torch.testing.assert_close(*found)


# Swin and ConvNeXt: what the head pools, channels last or first


@pytest.mark.parametrize("name", CAMS)
@pytest.mark.parametrize(("network", "dim"), [("swin", 3), ("convnext", 1)])
def test_last_stage_is_pooled(network: str, dim: int, name: str) -> None:
    size = (32, 32) if network == "swin" else (64, 96)
    model, images = NETWORKS[network](), images_of(2, size)
    A = model.forward_features(images).detach().requires_grad_()
    found = attribution.create(name, model, normalise="none")(images, 1)
    (g,) = torch.autograd.grad(model.forward_head(A)[:, 1].sum(), A)
    if dim == 3:
        A, g = (t.permute(0, 3, 1, 2) for t in (A, g))
    a = 1 / (2 + g * A.sum((2, 3), keepdim=True))
    weights = {
        "grad_cam": g.mean((2, 3), keepdim=True),
        "grad_cam_positive": g.clamp(min=0).mean((2, 3), keepdim=True),
        "grad_cam_pp": (a * g.clamp(min=0)).sum((2, 3), keepdim=True),
        "hires_cam": g,
        "layer_cam": g.clamp(min=0),
    }
    cam = (weights[name] * A).sum(1, keepdim=True).clamp(min=0).detach()
    expected = torch.nn.functional.interpolate(cam, size, mode="bilinear")
    torch.testing.assert_close(found, expected)


def test_class_activation_maps_of_maxvit_are_those_of_its_last_stage() -> None:
    model: Any = timm.create_model("maxvit_rmlp_pico_rw_256", img_size=64, num_classes=3, in_chans=1).eval()
    with torch.no_grad():
        model.head.fc.weight.abs_()
    images = images_of(2, (64, 64)).float()
    found, named = (attribution.create("grad_cam", model, layer=layer)(images, 1) for layer in (None, "norm"))
    torch.testing.assert_close(found, named)
    assert found.max() == 1


# Rules


def told(name: str, model: nn.Module, size: tuple[int, int] = (32, 32)) -> list[str]:
    dtype = next(model.parameters()).dtype
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        generator: Any = attribution.create(name, model)
        for _ in range(2):
            generator(images_of(2, size).to(dtype), 1)
    return [str(each.message) for each in caught if "thin" in str(each.message)]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", ["guided_backprop", "deconvnet", "guided_grad_cam"])
def test_rules_are_warned_of_once_where_norms_and_attention_do_most(network: str, name: str) -> None:
    (text,) = told(name, NETWORKS[network]())
    assert "its rule applies to gelu alone" in text
    assert not told("backprop", NETWORKS[network]())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Small(nn.SiLU),
        lambda: Small(nn.GELU),
        lambda: timm.create_model("efficientnet_lite0", in_chans=1),
        lambda: timm.create_model("test_efficientnet", in_chans=1),
    ],
)
def test_convolutional_networks_are_not_warned_of(make: Callable[[], Any]) -> None:
    assert not told("guided_backprop", make().eval(), (64, 64))


def test_guided_rule_is_written_out_on_a_vit() -> None:
    """At each GELU max(g, 0)·[x > 0]·a'(x); all else passes its plain derivative."""
    model, images = vit(), images_of(2).requires_grad_()
    plain = copy.deepcopy(model)

    class Guided(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return torch.nn.functional.gelu(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            with torch.enable_grad():
                leaf = x.detach().requires_grad_()
                (slope,) = torch.autograd.grad(torch.nn.functional.gelu(leaf).sum(), leaf)
            return g.clamp(min=0) * (x > 0) * slope

    for block in plain.blocks:
        block.mlp.act.forward = Guided.apply
    (expected,) = torch.autograd.grad(plain(images)[:, 1].sum(), images)
    found = attribution.create("guided_backprop", model, normalise="none")(images.detach(), 1)
    torch.testing.assert_close(found, expected.abs())
