"""Models of timm as encoders: plain transformers, those with stages, and the sizes that they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models import register_model
from torch import Tensor, nn

from radgaze import models
from radgaze.errors import UserError
from radgaze.models.config import ModelConfig
from radgaze.models.layers import kept_features, layer_at
from radgaze.models.token_decoder import TokenDecoder
from radgaze.models.token_encoder import TokenEncoder


@register_model
def radgaze_tiny_swin(pretrained: bool = False, **arguments: Any) -> nn.Module:
    from timm.models.swin_transformer import _create_swin_transformer

    tiny = {"patch_size": 4, "window_size": 4, "embed_dim": 16, "depths": (2, 2, 2, 2)}
    heads = {"num_heads": (1, 2, 4, 8)}
    made: nn.Module = _create_swin_transformer(
        "swin_tiny_patch4_window7_224", pretrained=pretrained, **tiny, **heads, **arguments
    )
    return made


@register_model
def radgaze_tiny_eva(pretrained: bool = False, **arguments: Any) -> nn.Module:
    """DINOv3 in small: rotary embeddings, four registers, patches of 14 px."""
    from timm.models.eva import _create_eva

    tiny = {"img_size": 224, "patch_size": 14, "embed_dim": 32, "depth": 2, "num_heads": 2}
    shape = {"use_rot_pos_emb": True, "num_reg_tokens": 4, "use_abs_pos_emb": False}
    made: nn.Module = _create_eva(
        "eva02_tiny_patch14_224", pretrained=pretrained, **{**tiny, **shape, **arguments}
    )
    return made


@register_model
def radgaze_tiny_beit(pretrained: bool = False, **arguments: Any) -> nn.Module:
    """A ViT without dynamic sizes, with relative position embeddings of its size."""
    from timm.models.beit import _create_beit

    tiny = {"patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2, "use_rel_pos_bias": True}
    made: nn.Module = _create_beit(
        "beit_base_patch16_224", pretrained=pretrained, **tiny, **{"init_values": 0.1, **arguments}
    )
    return made


PLAIN = {"tu-test_vit": 1, "tu-test_vit2": 1, "tu-test_vit3": 1, "tu-radgaze_tiny_eva": 5}
"""Plain transformers and their numbers of prefix tokens; they differ in their pools."""

STAGED = ("tu-radgaze_tiny_swin", "tu-test_maxvit", "tu-test_convnext")


def size_of(encoder: str) -> int:
    return 70 if "eva" in encoder else 64


def made(encoder: str, architecture: str = "unet", size: int | None = None, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    small: dict[str, Any] = {"decoder_channels": (16, 8, 8, 4, 4), **more}
    config = ModelConfig(architecture=architecture, encoder=encoder, weights="none", **small)
    return models.create(config, 3, size or size_of(encoder))


@pytest.mark.parametrize("architecture", ["unet", "classifier", "class_maps"])
@pytest.mark.parametrize("encoder", [*PLAIN, *STAGED, "tu-radgaze_tiny_beit"])
def test_a_model_of_timm_gives_scores_and_maps_that_train_all_its_weights(
    encoder: str, architecture: str
) -> None:
    model, size = made(encoder, architecture), size_of(encoder)
    output = model(torch.rand(2, 1, size, size))
    assert output.logits.shape == (2, 3)
    total = output.logits.square().sum()
    if output.mask is not None:
        assert output.mask.shape == (2, 1, size, size)
        total = total + output.mask.square().sum()
    total.backward()
    unused = [name for name, each in model.named_parameters() if each.grad is None]
    # Class maps take the tokens, and not what attention pools of them.
    assert all("attn_pool" in name and architecture == "class_maps" for name in unused)


@pytest.mark.parametrize("encoder", PLAIN)
def test_the_head_takes_what_timms_model_pools(encoder: str) -> None:
    model = made(encoder, "classifier").eval()
    encoded = model.get_submodule("encoder")
    assert isinstance(encoded, TokenEncoder)
    head = model.get_submodule("head")
    whole = timm.create_model(
        encoder.removeprefix("tu-"), num_classes=3, img_size=size_of(encoder), dynamic_img_size=True
    ).eval()
    loaded = whole.load_state_dict(encoded.model.state_dict(), strict=False)
    assert {name.split(".")[0] for name in loaded.missing_keys} == {"head"}
    linear = head[1]  # type: ignore[index]
    whole.get_submodule("head").load_state_dict(linear.state_dict())
    images = torch.rand(2, 1, size_of(encoder), size_of(encoder))
    expected = whole(model.get_submodule("grey")(images))
    torch.testing.assert_close(model(images).logits, expected)


@pytest.mark.parametrize(("encoder", "prefix"), PLAIN.items())
def test_the_features_are_the_patch_tokens_in_their_places(encoder: str, prefix: int) -> None:
    model, size = made(encoder, "classifier").eval(), size_of(encoder)
    encoded = model.get_submodule("encoder")
    assert isinstance(encoded, TokenEncoder)
    assert encoded.model.num_prefix_tokens == prefix
    rows = size // encoded.patch
    images = torch.rand(1, 1, size, size)
    with kept_features(model) as features:
        model(images)
    whole: Any = encoded.model
    tokens = whole.forward_features(model.get_submodule("grey")(images))
    # A model that pools the mean has its final norm behind the pool.
    tokens = encoded.model.get_submodule("fc_norm")(tokens)
    assert features[0].shape == (1, tokens.shape[2], rows, rows)
    for row, column in ((0, 0), (1, 2), (rows - 1, rows - 1)):
        expected = tokens[0, prefix + row * rows + column]
        torch.testing.assert_close(features[0][0, :, row, column], expected)


@pytest.mark.parametrize("architecture", ["unet", "classifier"])
@pytest.mark.parametrize("encoder", ["tu-test_vit", "tu-radgaze_tiny_beit", "tu-radgaze_tiny_swin"])
def test_a_model_of_another_size_than_usual_is_loaded_as_it_was_saved(
    encoder: str, architecture: str, tmp_path: Path
) -> None:
    config = ModelConfig(
        architecture=architecture, encoder=encoder, weights="none", decoder_channels=(16, 8, 8, 4, 4)
    )
    model = models.create(config, 2, 96).eval()
    models.save(model, config, ("a", "b"), tmp_path, size=96)
    again, classes = models.load(tmp_path)
    assert classes == ("a", "b")
    images = torch.rand(1, 1, 96, 96)
    expected, found = model(images), again(images)
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=0)
    if expected.mask is not None:
        torch.testing.assert_close(found.mask, expected.mask, rtol=0, atol=0)


def test_position_embeddings_have_the_size_of_the_run_and_are_interpolated_to_others() -> None:
    model = made("tu-test_vit", "classifier", 96).eval()
    embeddings = dict(model.named_parameters())["encoder.model.pos_embed"]
    assert embeddings.shape[1] == 1 + (96 // 16) ** 2
    assert model(torch.rand(1, 1, 128, 64)).logits.shape == (1, 3)


@pytest.mark.parametrize(
    ("encoder", "size", "words"),
    [
        ("tu-test_vit", 100, "whose patches have 16 px: give a multiple of 16, such as 96 or 112"),
        ("tu-radgaze_tiny_eva", 64, "whose patches have 14 px: give a multiple of 14, such as 56 or 70"),
        ("tu-test_convnext", 72, "whose features are at 1/32 of the side: .* such as 64 or 96"),
        ("tu-test_vti", 64, "did you mean tu-test_vit"),
    ],
)
def test_a_size_that_does_not_fit_is_told_with_those_that_do(encoder: str, size: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        made(encoder, size=size)


def test_an_architecture_of_several_sizes_of_features_refuses_tokens() -> None:
    with pytest.raises(UserError, match="class_maps, or unet"):
        made("tu-test_vit", "pylon")
    assert made("tu-test_convnext", "pylon")(torch.rand(2, 1, 64, 64)).class_maps.shape == (2, 3, 16, 16)


def test_a_layer_by_its_size_is_the_usual_one_of_a_plain_transformer() -> None:
    model = made("tu-test_vit")
    assert layer_at(model, "1/16") is None
    with pytest.raises(UserError, match="all features of the encoder are at 1/16"):
        layer_at(model, "1/32")


def test_a_layer_by_its_size_is_found_in_a_model_that_takes_one_size() -> None:
    model = made("tu-test_maxvit", "classifier", 96).eval()
    name = layer_at(model, "1/16")
    assert name is not None
    shapes: list[torch.Size] = []
    model.get_submodule(name).register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    model(torch.rand(1, 1, 96, 96))
    assert 96 // 16 in shapes[0][1:]


@pytest.mark.parametrize("patch", [8, 14, 16, 32])
def test_the_decoder_of_tokens_keeps_places(patch: int) -> None:
    """The change that a bright token makes lies, on the whole, where that token's patch is."""
    torch.manual_seed(0)
    decoder = TokenDecoder([6] * 4, (16, 8, 8, 4, 4), patch).eval()
    size = (5 * patch, 7 * patch)
    dark = [torch.zeros(1, 6, 5, 7) for _ in range(4)]
    bright = [each.clone() for each in dark]
    for each in bright:
        each[:, :, 3, 1] = 4.0
    with torch.no_grad():
        changed = (decoder(bright, size) - decoder(dark, size)).abs().sum(1)[0]
    assert changed.shape == size
    assert centre(changed, 0) == pytest.approx(3.5 * patch, abs=patch)
    assert centre(changed, 1) == pytest.approx(1.5 * patch, abs=patch)


def centre(weights: Tensor, dim: int) -> float:
    along = weights.sum(1 - dim)
    return float((along * (torch.arange(len(along)) + 0.5)).sum() / along.sum())


def test_a_plain_transformer_reads_a_gaze_map_beside_the_image() -> None:
    model = made("tu-test_vit", "unet_with_gaze", gaze_dropout=0.5).eval()
    images, gaze = torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(model(images, gaze).logits, model(images).logits)  # its weights begin at 0
    model(images, gaze).logits.square().sum().backward()
    first = model.get_submodule("network.encoder.model.patch_embed.proj").weight
    assert isinstance(first, nn.Parameter)
    assert first.grad is not None
    assert bool(first.grad[:, 3].any())
    assert models.scoring(model)(images).logits.shape == (2, 3)


def test_drop_block_is_refused_where_the_head_takes_tokens() -> None:
    with pytest.raises(UserError, match="drop_block"):
        made("tu-test_vit", "classifier", drop_block=0.1)
