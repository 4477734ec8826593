"""Weights find their place in an encoder whose tensors are spelt otherwise, and in no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from radgaze.errors import UserError
from radgaze.models import ModelConfig, create
from radgaze.models.weight_names import as_timm, mapped
from radgaze.models.weights import taken_by

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda name: name,
    "DataParallel": lambda name: f"module.{name}",
    "in a model": lambda name: f"module.model.encoder.{name}",
    "timm's features": lambda name: name.replace("features.", "model.features_"),
    "before 2018": lambda name: name.replace("norm1", "norm.1").replace("conv2.", "conv.2."),
}


@pytest.fixture(scope="module")
def densenet() -> Any:
    """A DenseNet-121 of one channel with random weights and statistics, as torchvision's but for the first
    convolution; so is torchxrayvision's."""
    torch.manual_seed(0)
    network = torchvision.models.densenet121(weights=None, num_classes=18)
    network.features.conv0 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(std=0.1)
    return network.eval()


def as_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state of timm's vision transformer under the names of a DINOv2 of the library transformers."""
    names = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "norm.": "layernorm.",
    }
    inner = {
        "attn.proj": "attention.output.dense",
        "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
    }
    spelt: dict[str, Tensor] = {"dinov2.embeddings.mask_token": torch.zeros(1, 16)}
    for name, tensor in state.items():
        if "attn.qkv" in name:
            place = name.replace("blocks.", "encoder.layer.").replace("attn.qkv", "attention.attention.{}")
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                spelt[f"dinov2.{place.format(part)}"] = piece
            continue
        block = name.startswith("blocks.")
        for old, new in (inner if block else names).items():
            name = (
                name.replace(old, new)
                if block
                else (name.replace(old, new, 1) if name.startswith(old) else name)
            )
        spelt[f"dinov2.{name.replace('blocks.', 'encoder.layer.')}"] = tensor
    return spelt


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_densenet_spelt_otherwise_gives_the_same_features_to_the_bit(spelling: str, densenet: Any) -> None:
    state = {SPELLINGS[spelling](name): each for name, each in densenet.state_dict().items()}
    encoder = smp.encoders.get_encoder("densenet121", in_channels=1, weights=None).eval()
    found = mapped(state, shapes(encoder))
    assert (found.by, found.missing, found.changed) == ("name", (), ())
    assert sorted(found.unused) == sorted(name for name in state if "classifier" in name)
    encoder.load_state_dict({**found.tensors, **found.counters})
    images = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(encoder(images)[-1], densenet.features(images))


@pytest.mark.parametrize("encoder", ["efficientnet-b0", "timm-efficientnet-b0", "tu-efficientnet_b0"])
def test_torchvisions_efficientnet_is_taken_in_order_by_three_libraries(encoder: str) -> None:
    torch.manual_seed(1)
    theirs = torchvision.models.efficientnet_b0(weights=None).eval()
    ours = smp.encoders.get_encoder(encoder, weights=None).eval()
    found = mapped(theirs.state_dict(), shapes(ours))
    assert found.by == "order"
    assert found.missing == ()
    ours.load_state_dict(dict(found.tensors), strict=False)
    images = torch.rand(1, 3, 64, 64)
    for norm in ours.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.eps = 1e-5  # as torchvision's; the others' is 1e-3
    with torch.no_grad():
        # Features at 1/16 of the side, where the convolutions of all libraries pad alike.
        torch.testing.assert_close(ours(images)[-2], theirs.features[:6](images), rtol=1e-4, atol=1e-5)


def test_a_vision_transformer_of_the_library_transformers_is_spelt_as_timms() -> None:
    torch.manual_seed(2)
    vit: Any = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0, init_values=0.1
    )
    theirs = as_transformers(vit.state_dict())
    assert not theirs.keys() & vit.state_dict().keys()
    again = as_timm(theirs)
    for name, tensor in vit.state_dict().items():
        assert torch.equal(again[name], tensor), name
    found = mapped(theirs, shapes(vit))
    assert (found.missing, found.unused) == ((), ("dinov2.embeddings.mask_token",))


def test_position_embeddings_are_resampled_to_another_grid_and_this_is_told() -> None:
    vit: Any = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=4, depth=1, num_heads=1, num_classes=0
    )
    other = timm.models.VisionTransformer(
        img_size=64, patch_size=8, embed_dim=4, depth=1, num_heads=1, num_classes=0
    )
    with torch.no_grad():
        vit.pos_embed[:, 1:] = 0.25  # the same at every place: so it stays on any grid
    found = mapped(vit.state_dict(), shapes(other))
    assert (found.missing, found.changed) == ((), ("pos_embed",))
    assert torch.equal(found.tensors["pos_embed"][:, :1], vit.pos_embed[:, :1])
    torch.testing.assert_close(found.tensors["pos_embed"][:, 1:], torch.full((1, 64, 4), 0.25))


@pytest.mark.parametrize("spelt", [dict, as_transformers])
def test_the_class_tokens_position_is_added_to_it_where_the_encoder_has_those_of_patches_alone(
    spelt: Callable[[Mapping[str, Tensor]], dict[str, Tensor]],
) -> None:
    torch.manual_seed(4)
    sizes: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    vit: Any = timm.models.VisionTransformer(**sizes, num_classes=0).eval()
    other: Any = timm.models.VisionTransformer(**sizes, num_classes=0, no_embed_class=True).eval()
    with torch.no_grad():
        vit.pos_embed.normal_()
        vit.cls_token.normal_()
        found = mapped(spelt(vit.state_dict()), shapes(other), prefix_tokens=0)
        assert (found.missing, found.changed) == ((), ())
        other.load_state_dict(found.tensors)
        images = torch.rand(2, 3, 32, 32)
        torch.testing.assert_close(other.forward_features(images), vit.forward_features(images))
        again = mapped(other.state_dict(), shapes(other), prefix_tokens=0).tensors
    assert torch.equal(again["pos_embed"], other.pos_embed)
    assert torch.equal(again["cls_token"], other.cls_token)


def test_register_tokens_are_found_by_the_name_in_dinov2s_own_files() -> None:
    sizes: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    vit: Any = timm.models.VisionTransformer(**sizes, num_classes=0, reg_tokens=4, no_embed_class=True)
    source = {
        f"backbone.{name}".replace("reg_token", "register_tokens"): each
        for name, each in vit.state_dict().items()
    }
    found = mapped(source, shapes(vit), prefix_tokens=0)
    assert (found.by, found.missing, found.unused) == ("name", (), ())
    assert torch.equal(found.tensors["reg_token"], vit.reg_token)


def test_weights_without_position_embeddings_that_fit_are_refused(tmp_path: Path) -> None:
    encoder = "tu-test_vit"
    state = create(settings(encoder, "none"), 3).state_dict()
    (name,) = (each for each in state if each.endswith("pos_embed"))
    save_file({**state, name: state[name][:, :3].clone()}, tmp_path / "cut.safetensors")
    with pytest.raises(
        UserError, match=r"none that fit .*pos_embed, .* without which its patches have no place"
    ):
        create(settings(encoder, tmp_path / "cut.safetensors"), 3)


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
def test_a_first_convolution_of_other_channels_answers_grey_images_alike(before: int, after: int) -> None:
    torch.manual_seed(3)
    one, other = (smp.encoders.get_encoder("resnet18", in_channels=n, weights=None) for n in (before, after))
    found = mapped(one.state_dict(), shapes(other))
    assert found.changed == ("conv1.weight",)
    other.load_state_dict({**found.tensors, **found.counters})
    grey = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        features = [
            each.eval()(grey.expand(-1, n, -1, -1))[-1] for each, n in ((one, before), (other, after))
        ]
    torch.testing.assert_close(*features, rtol=1e-4, atol=1e-5)


def test_what_is_missing_and_unused_is_counted_by_hand() -> None:
    wanted = {"conv.weight": (2, 3, 3, 3), "norm.weight": (2,), "norm.bias": (2,), "last.weight": (4, 2)}
    file = {
        "module.conv.weight": torch.ones(2, 3, 3, 3),
        "module.norm.weight": torch.ones(2),
        "module.norm.bias": torch.ones(3),
        "module.norm.num_batches_tracked": torch.tensor(5),
        "module.head.weight": torch.ones(14, 2),
    }
    found = mapped(file, {name: torch.Size(shape) for name, shape in wanted.items()})
    assert sorted(found.tensors) == ["conv.weight", "norm.weight"]
    assert found.missing == ("norm.bias", "last.weight")
    assert found.unused == ("module.head.weight", "module.norm.bias")


def test_weights_with_too_few_of_an_encoders_numbers_are_refused_with_names_of_both(tmp_path: Path) -> None:
    state = smp.encoders.get_encoder("resnet18", weights=None).state_dict()
    halved = {name: tensor for name, tensor in state.items() if not name.startswith("layer4")}
    save_file(halved, tmp_path / "half.safetensors")
    with pytest.raises(UserError, match=r"at least 90% are expected.*conv1\.weight") as caught:
        create(settings("resnet18", tmp_path / "half.safetensors"), 3)
    share = sum(each.numel() for each in halved.values()) / sum(each.numel() for each in state.values())
    assert f"they have {share:.0%} of the numbers of resnet18" in str(caught.value)


def test_what_was_taken_is_kept_with_the_network_and_survives_a_copy(tmp_path: Path) -> None:
    state = smp.encoders.get_encoder("resnet18", weights=None).state_dict()
    state = {f"net.{name}": tensor for name, tensor in state.items()} | {"net.fc.weight": torch.ones(5, 512)}
    save_file(state, tmp_path / "all.safetensors")
    taken = taken_by(create(settings("resnet18", tmp_path / "all.safetensors"), 3))
    assert taken is not None
    assert (taken.tensors, taken.total, taken.unused) == (100, 100, ("net.fc.weight",))
    assert "100 of the encoder's 100 tensors taken, by name" in taken.words
    assert taken_by(create(settings("resnet18", "none"), 3)) is None


def shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def settings(encoder: str, weights: Path | str) -> ModelConfig:
    return ModelConfig(architecture="classifier", encoder=encoder, weights=str(weights))
