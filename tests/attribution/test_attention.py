"""Maps of attention: against the papers' loops over matrices taken by hooks, and finite differences."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
import torchvision
from timm.models.vision_transformer import ParallelThingsBlock
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from radgaze import attribution
from radgaze.objectives import heatmaps
from radgaze.objectives.config import HeatmapConfig
from tests.attribution.finite_differences import assert_heatmap_loss_is_exact
from tests.attribution.generator_contract import break_off, left_as_found, nothing_alive_afterwards
from tests.attribution.networks import Small
from tests.attribution.transformers import (
    as_map,
    attention_of,
    drawn,
    images_of,
    relevance,
    rollout,
    swin,
    unfused,
    vit,
)

NAMES = ("attention", "attention_rollout", "relevance")
GRADIENTS: tuple[Literal["held", "exact"], ...] = ("held", "exact")


def by_hand(name: str, model: Any, images: Tensor, target: int) -> Tensor:
    """The maps written out, with the matrix products of the papers."""
    plain = unfused(copy.deepcopy(model))
    with attention_of(plain) as kept:
        score = plain(images.clone().requires_grad_())[:, target].sum()
    gradients = torch.autograd.grad(score, kept)
    prefix, (h, w) = plain.num_prefix_tokens, (images.shape[2] // 8, images.shape[3] // 8)
    maps = []
    for case in range(len(images)):
        A, dA = [each[case].detach() for each in kept], [each[case] for each in gradients]
        square = {
            "attention": A[-1].mean(0),
            "attention_rollout": rollout(A),
            "relevance": relevance(A, dA) - torch.eye(A[0].shape[-1], dtype=A[0].dtype),
        }[name]
        row = square[0] if plain.global_pool == "token" else square[prefix:].mean(0)
        maps.append(as_map(row, prefix, (h, w), images.shape[2:]))
    return torch.cat(maps)


class Softmaxes(TorchFunctionMode):
    """Keeps what the model's softmaxes give."""

    def __init__(self, kept: list[Tensor]) -> None:
        super().__init__()
        self.kept = kept

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        y = func(*args, **(kwargs or {}))
        if func is Tensor.softmax:
            self.kept.append(y)
        return y


# Values


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reg_tokens": 3},
        {"global_pool": "avg"},
        {"global_pool": "avg", "class_token": False, "reg_tokens": 2},
        {"dynamic_img_size": True},
    ],
    ids=lambda options: " ".join(map(str, options)) or "plain",
)
@pytest.mark.parametrize("name", NAMES)
def test_map_equals_the_papers_matrix_products(name: str, options: dict[str, Any]) -> None:
    model = vit(**options)
    images = images_of(2, (32, 48) if options.get("dynamic_img_size") else (32, 32))
    expected = by_hand(name, model, images, 1)
    for each in (model, unfused(copy.deepcopy(model))):
        found = attribution.create(name, each, normalise="none")(images, 1)
        torch.testing.assert_close(found, expected)
    assert expected.flatten(1).std(1).min() > 0


def test_relevance_is_that_of_a_class_and_attention_of_none() -> None:
    model, images = vit(), images_of(2)
    maps = {name: [attribution.create(name, model)(images, target) for target in (0, 1)] for name in NAMES}
    for name, (one, other) in maps.items():
        assert torch.equal(one, other) == (name != "relevance")


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_relevance_of_small_gradients_is_not_lost_beside_the_identity(pool: str) -> None:
    model, images = vit(global_pool=pool), images_of(2)
    model.head.weight.data *= 1e-7
    model.head.bias.data *= 1e-7
    exact = attribution.create("relevance", model)(images, 1)
    single = attribution.create("relevance", model.float())(images.float(), 1)
    torch.testing.assert_close(single.double(), exact, atol=1e-4, rtol=1e-3)
    assert exact.flatten(1).std(1).min() > 0.01


def test_row_can_be_named() -> None:
    model, images = vit(reg_tokens=2), images_of(2)
    rows = {
        row: attribution.create("attention", model, row=row, normalise="none")(images, 1)
        for row in ("auto", "mean", 0, 1)
    }
    torch.testing.assert_close(rows["auto"], rows[0])
    assert not torch.allclose(rows[0], rows[1])
    plain = unfused(copy.deepcopy(model))
    with attention_of(plain) as kept, torch.no_grad():
        plain(images)
    mean = kept[-1].mean(1)[:, 3:].mean(1)
    torch.testing.assert_close(rows["mean"], torch.cat([as_map(r, 3, (4, 4), (32, 32)) for r in mean]))
    with pytest.raises(ValueError, match="row=3, but the model has 3 prefix tokens"):
        attribution.create("attention", model, row=3)(images, 1)
    with pytest.raises(ValueError, match="row must be auto, mean or the number"):
        attribution.create("attention", model, row="cls")


def test_distilled_class_tokens_count_alike() -> None:
    """DeiT averages the logits of its class and its distillation token."""
    model, images = vit("deit_tiny_distilled_patch16_224"), images_of(2)
    both = [attribution.create("attention", model, row=row, normalise="none")(images, 1) for row in (0, 1)]
    auto = attribution.create("attention", model, normalise="none")(images, 1)
    torch.testing.assert_close(auto, (both[0] + both[1]) / 2)


@pytest.mark.parametrize("name", NAMES)
def test_pooling_by_attention_is_the_last_row(name: str) -> None:
    model = vit("vit_base_patch16_siglip_224")
    images = images_of(2)
    plain, kept = unfused(copy.deepcopy(model)), list[Tensor]()
    with Softmaxes(kept):
        score = plain(images.clone().requires_grad_())[:, 1].sum()
    gradients = torch.autograd.grad(score, kept)
    assert [A.shape[2:] for A in kept] == [(16, 16), (16, 16), (1, 16)]
    rows = []
    for n in range(2):
        A, dA = [each[n].detach() for each in kept], [each[n] for each in gradients]
        pooling, relevant = A[-1].mean(0)[0], (A[-1] * dA[-1]).clamp(min=0).mean(0)[0]
        rows.append(
            {
                "attention": pooling,
                "attention_rollout": pooling @ rollout(A[:-1]),
                "relevance": relevant @ relevance(A[:-1], dA[:-1]),
            }[name]
        )
    expected = torch.cat([as_map(row, 0, (4, 4), (32, 32)) for row in rows])
    found = attribution.create(name, model, normalise="none")(images, 1)
    torch.testing.assert_close(found, expected)


def test_pooling_whose_result_is_not_used_is_left_out() -> None:
    """The SigLIP of transformers pools by attention, and classifies by the mean of the tokens."""

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.head = vit("vit_base_patch16_siglip_224"), nn.Linear(12, 3).double()

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.network.forward_features(images)
            self.network.attn_pool(tokens)
            logits: Tensor = self.head(tokens.mean(1))
            return logits

    model, images = Mean(), images_of(2)
    for name in NAMES:
        found, mean = (attribution.create(name, model, row=row)(images, 1) for row in ("auto", "mean"))
        torch.testing.assert_close(found, mean)
        assert found.max() == 1


def test_attention_of_torchs_module_is_recorded_with_weights_and_without() -> None:
    """torchvision's ViT asks for no weights, so that the module calls fused attention."""
    model = drawn(torchvision.models.VisionTransformer(32, 8, 2, 2, 12, 24, num_classes=3))
    images = images_of(2).expand(-1, 3, -1, -1)
    kept: list[Tensor] = []
    expected = {}
    for block in model.encoder.layers:
        attend = block.self_attention

        def with_weights(q: Tensor, k: Tensor, v: Tensor, attend: Any = attend, **_: Any) -> Any:
            y, A = type(attend).forward(attend, q, k, v, need_weights=True, average_attn_weights=False)
            kept.append(A)
            return y, A

        expected[attend] = with_weights
    without = {name: attribution.create(name, model, normalise="none")(images, 1) for name in NAMES}
    for attend, forward in expected.items():
        attend.forward = forward
    for name, found in without.items():
        torch.testing.assert_close(attribution.create(name, model, normalise="none")(images, 1), found)
    row = kept[1][:, :, 0].mean(1).detach()  # of the first pass, the second block
    torch.testing.assert_close(without["attention"], torch.cat([as_map(r, 1, (4, 4), (32, 32)) for r in row]))


def test_step_with_recorded_attention_has_the_gradients_of_the_bare_model() -> None:
    model = vit()
    bare, images = copy.deepcopy(model), images_of(3)
    with attribution.create("relevance", model).capture() as read:
        logits = model(images)
        read(logits, 1)
    torch.testing.assert_close(logits, bare(images))
    torch.autograd.backward(logits.square().sum())
    torch.autograd.backward(bare(images).square().sum())
    for ours, theirs in zip(model.parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


# Training through them


@pytest.mark.parametrize("name", ["attention", "attention_rollout"])
@pytest.mark.parametrize("fused", [True, False])
def test_gradients_of_attention_maps_match_finite_differences(name: str, fused: bool) -> None:
    model = vit(reg_tokens=1)
    generator = attribution.create(name, model if fused else unfused(model), normalise="none")
    assert_heatmap_loss_is_exact(generator, images_of(2))


@pytest.mark.parametrize("options", [{}, {"global_pool": "avg"}], ids=["class token", "mean"])
def test_exact_gradients_of_relevance_match_finite_differences(options: dict[str, Any]) -> None:
    generator = attribution.create("relevance", vit(**options), normalise="none", attention_gradients="exact")
    assert_heatmap_loss_is_exact(generator, images_of(2))


def test_held_gradients_of_relevance_are_those_of_a_map_with_constant_gradients() -> None:
    model, images = unfused(vit()), images_of(2)
    weights = torch.rand(2, 1, 32, 32, dtype=torch.float64)
    with attribution.create("relevance", model, normalise="none").capture() as read:
        loss = (weights * read(model(images), 1)).sum()
    parameters = [
        model.blocks[0].attn.qkv.weight,
        model.blocks[1].norm1.weight,
        model.patch_embed.proj.weight,
    ]
    ours = torch.autograd.grad(loss, parameters)
    with attention_of(model) as kept:
        score = model(images.requires_grad_())[:, 1].sum()
    dA = torch.autograd.grad(score, kept, retain_graph=True)
    maps = [
        as_map(relevance([A[n] for A in kept], [g[n] for g in dA])[0], 1, (4, 4), (32, 32)) for n in range(2)
    ]
    theirs = torch.autograd.grad((weights * torch.cat(maps)).sum(), parameters)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("gradients", GRADIENTS)
def test_training_moves_the_relevance_towards_a_mark(gradients: str) -> None:
    model, images = vit(seed=1), images_of(4)
    mark = torch.zeros(4, 1, 32, 32, dtype=torch.float64)
    mark[..., :16, :16] = 1
    generator = attribution.create("relevance", model, attention_gradients=gradients, normalise="none")
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    inside = []
    for _ in range(12):
        with generator.capture() as read:
            heat = read(model(images), 1)
        share = (heat * mark).sum() / heat.sum()
        optimiser.zero_grad()
        torch.autograd.backward(1 - share)
        optimiser.step()
        inside.append(float(share.detach()))
    assert inside[-1] > inside[0] + 0.2


def test_setting_of_a_run_chooses_how_gradients_of_attention_are_treated() -> None:
    made = [
        heatmaps.create(vit(), HeatmapConfig(generator="relevance", attention_gradients=gradients))
        for gradients in GRADIENTS
    ]
    assert [getattr(each, "attention_gradients", None) for each in made] == list(GRADIENTS)


# What is left behind


@pytest.mark.parametrize("name", NAMES)
def test_model_and_torch_are_left_as_found_also_after_exceptions(name: str) -> None:
    model, images = vit().train(), images_of(2)
    function, module = F.scaled_dot_product_attention, F.multi_head_attention_forward
    generator = attribution.create(name, model)

    def failing(*_: Any) -> Tensor:
        raise ZeroDivisionError

    broken = copy.deepcopy(model)
    broken.blocks[1].attn.proj.register_forward_hook(failing)
    with left_as_found(model):
        generator(images, 1)
    with left_as_found(model), pytest.raises(ZeroDivisionError):
        break_off(generator, images)
    with left_as_found(broken), pytest.raises(ZeroDivisionError):
        attribution.create(name, broken)(images, 1)
    assert F.scaled_dot_product_attention is function
    assert F.multi_head_attention_forward is module
    assert all(block.attn.fused_attn for block in model.blocks)


@pytest.mark.parametrize("name", NAMES)
def test_no_call_leaves_a_matrix_behind(name: str) -> None:
    model, images = vit(), images_of(2)
    generator = attribution.create(name, model)

    def step() -> None:
        generator(images, 1)
        with generator.capture() as read:
            heat = read(model(images), 1)
        torch.autograd.backward(heat.mean())

    step()
    with nothing_alive_afterwards():
        step()


def test_one_batch_equals_batches_of_one() -> None:
    model, images = vit(), images_of(9)
    targets = torch.arange(9) % 3
    for name in NAMES:
        generator = attribution.create(name, model)
        apart = [generator(images[n : n + 1], int(targets[n])) for n in range(9)]
        torch.testing.assert_close(generator(images, targets), torch.cat(apart))


@pytest.mark.parametrize("name", NAMES)
def test_recomputed_blocks_change_nothing(name: str) -> None:
    model, images = vit(), images_of(2)
    again = copy.deepcopy(model).train()
    again.set_grad_checkpointing()
    found = []
    for each in (model, again):
        with attribution.create(name, each, normalise="none").capture() as read:
            heat = read(each(images), 1)
        torch.autograd.backward(heat.square().sum())
        found.append([heat, each.patch_embed.proj.weight.grad, each.blocks[0].attn.qkv.weight.grad])
    torch.testing.assert_close(*found)


def test_two_generators_read_one_pass() -> None:
    model, images = vit(), images_of(2)
    relevant, cam = (attribution.create(name, model) for name in ("relevance", "grad_cam"))
    with relevant.capture() as first, cam.capture() as second:
        output = model(images)
        found = [read(output, 1).detach() for read in (first, second)]
    torch.testing.assert_close(found, [relevant(images, 1), cam(images, 1)])


def test_half_precision_is_close_to_float32() -> None:
    model, images = vit().float(), images_of(2).float()
    for name in NAMES:
        generator = attribution.create(name, model)
        with torch.autocast("cpu", torch.bfloat16):
            half = generator(images, 1)
        expected = generator(images, 1)
        assert torch.corrcoef(torch.stack([half.flatten(), expected.flatten()]))[0, 1] > 0.9


def test_smooth_grad_averages_relevance() -> None:
    model, images = vit(), images_of(2)
    smooth = attribution.create("smooth_grad", model, base="relevance", samples=2, noise=0.0)
    torch.testing.assert_close(smooth(images, 1), attribution.create("relevance", model)(images, 1))


# Where there is no such matrix


def test_models_without_attention_of_all_tokens_are_told_why() -> None:
    images = images_of(2)
    for model, why in ((swin(), "within windows"), (Small(nn.SiLU).double(), "no attention that can be")):
        for name in NAMES:
            with pytest.raises(RuntimeError, match=why):
                attribution.create(name, model)(images, 1)
        with pytest.raises(ValueError, match=f"the method relevance does not apply: .*{why}"):
            attribution.choose(["relevance"], model, 32)
        assert not set(NAMES) & set(attribution.methods(model, 32))


def test_attention_side_by_side_in_a_block_is_refused() -> None:
    model = vit(block_fn=ParallelThingsBlock)
    with pytest.raises(RuntimeError, match="several attentions side by side"):
        attribution.create("relevance", model)(images_of(2), 1)
