"""The networks against the library they are made of, and against each other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Literal, overload

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from timm.layers.activations import Swish
from timm.layers.drop import DropPath
from torch import Tensor, nn

from radgaze.errors import UserError
from radgaze.models import ModelConfig, create, scoring
from radgaze.models.unet import Classifier, GreyToRGB, UNet

SMALL = "tu-test_efficientnet"
CHANNELS = (16, 8, 8, 8, 4)


@pytest.fixture(autouse=True)
def _same_numbers() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("encoder", [SMALL, "resnet18"])
@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (32, 96)])
def test_unet_gives_class_scores_and_a_mask_of_the_images_size(encoder: str, rows: int, columns: int) -> None:
    logits, mask, *_ = small("unet", 5, encoder=encoder)(images(rows, columns))
    assert logits.shape == (3, 5)
    assert mask.shape == (3, 1, rows, columns)


def test_a_unets_class_scores_are_made_without_its_decoder_and_by_its_very_weights() -> None:
    unet, x = small("unet", 5), images(64, 64)
    bare = scoring(unet)
    assert bare(x).mask is None
    assert torch.equal(bare(x).logits, unet(x).logits)
    own = {id(parameter) for parameter in unet.parameters()}
    assert {id(parameter) for parameter in bare.parameters()} < own
    assert not bare.training
    classifier = small("classifier", 5)
    assert scoring(classifier) is classifier


@pytest.mark.parametrize("encoder", [SMALL, "resnet18"])
def test_classifier_gives_class_scores_and_no_mask(encoder: str) -> None:
    logits, mask, *_ = small("classifier", 5, encoder=encoder)(images(32, 96))
    assert logits.shape == (3, 5)
    assert mask is None


def test_grey_becomes_three_channels_with_imagenets_mean_and_deviation() -> None:
    grey = images(4, 6)
    expected = [(grey.numpy() - m) / s for m, s in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    np.testing.assert_allclose(GreyToRGB()(grey).numpy(), np.concatenate(expected, 1), rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 3, 32, 32), (3, 32, 32), (32, 32)])
def test_images_that_are_not_grey_batches_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    for architecture in ("unet", "classifier"):
        with pytest.raises(ValueError, match=r"images are grey, \(B, 1, H, W\)"):
            small(architecture, 2)(torch.rand(shape))


@pytest.mark.parametrize("training", [False, True])
def test_unet_and_classifier_are_one_function_of_encoder_and_head(training: bool) -> None:
    unet, classifier = small("unet", 3, dropout=0.0), small("classifier", 3, dropout=0.0)
    x = images(64, 32)
    assert not torch.allclose(unet(x).logits, classifier(x).logits)
    classifier.encoder.load_state_dict(unet.network.encoder.state_dict())
    classifier.head.load_state_dict(unet.network.classification_head.state_dict())
    without_drop_path(unet.train(training)), without_drop_path(classifier.train(training))
    torch.testing.assert_close(classifier(x).logits, unet(x).logits)


@pytest.mark.parametrize("architecture", ["unet", "classifier"])
def test_head_is_dropout_before_the_last_layer_on_pooled_features(architecture: str) -> None:
    model = small(architecture, 3, dropout=0.75)
    encoder = model.network.encoder if isinstance(model, UNet) else model.encoder
    head = model.network.classification_head if isinstance(model, UNet) else model.head
    x = images(64, 64)
    pooled = encoder(model.grey(x))[-1].mean((2, 3))
    linear = [module for module in head if isinstance(module, nn.Linear)]
    assert len(linear) == 1
    torch.testing.assert_close(model(x).logits, linear[0](pooled))
    dropped: list[Tensor] = []
    linear[0].register_forward_pre_hook(lambda module, args: dropped.append(args[0]))
    head.train()
    head(torch.ones(200, pooled.shape[1], 2, 2))
    assert float((dropped[0] == 0).float().mean()) == pytest.approx(0.75, abs=0.02)


def test_unet_is_smps_network_on_normalised_images() -> None:
    """With EfficientNet's Swish replaced by SiLU, and nothing else: the numbers stay those of the library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = smp.Unet(
            "timm-efficientnet-b0",
            encoder_weights=None,
            decoder_channels=CHANNELS,
            aux_params={"classes": 3, "dropout": 0.5},
        ).eval()
    ours = small("unet", 3, encoder="timm-efficientnet-b0")
    ours.network.load_state_dict(theirs.state_dict())
    x = images(64, 64)
    with torch.no_grad():
        mask, logits = theirs(GreyToRGB()(x))
        found = ours(x)
    torch.testing.assert_close(found.logits, logits, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.mask, mask, rtol=1e-4, atol=1e-6)
    swishes = sum(isinstance(module, Swish) for module in theirs.encoder.modules())
    assert swishes > 0
    assert not any(isinstance(module, Swish) for module in ours.modules())
    silus = [sum(isinstance(m, nn.SiLU) for m in net.modules()) for net in (ours.network, theirs)]
    assert silus[0] == silus[1] + swishes


@pytest.mark.parametrize("architecture", ["unet", "classifier"])
def test_every_parameter_learns(architecture: str) -> None:
    model = without_drop_path(small(architecture, 3).train())
    output = model(images(64, 64))
    loss = output.logits.square().sum() + (0 if output.mask is None else output.mask.square().sum())
    loss.backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not still


@pytest.mark.parametrize("architecture", ["unet", "classifier"])
@pytest.mark.parametrize("weights", ["none", "imagenet"])
@pytest.mark.parametrize("encoder", ["resnet81", "tu-resnet81"])
def test_unknown_encoder_is_named_with_its_option(architecture: str, weights: str, encoder: str) -> None:
    with pytest.raises(UserError, match=f"`model.encoder={encoder}`") as caught:
        create(ModelConfig(architecture, encoder, weights), 3)
    assert str(caught.value).count("resnet") <= 3  # the likely name, and not the hundreds of others
    assert "download" not in str(caught.value)


@overload
def small(
    architecture: Literal["unet"], classes: int, *, encoder: str = SMALL, dropout: float = 0.5
) -> UNet: ...


@overload
def small(
    architecture: Literal["classifier"], classes: int, *, encoder: str = SMALL, dropout: float = 0.5
) -> Classifier: ...


@overload
def small(architecture: str, classes: int, *, dropout: float = 0.5) -> UNet | Classifier: ...


def small(
    architecture: str, classes: int, *, encoder: str = SMALL, dropout: float = 0.5
) -> UNet | Classifier:
    model = create(ModelConfig(architecture, encoder, "none", CHANNELS, dropout), classes).eval()
    assert isinstance(model, UNet | Classifier)
    return model


def images(rows: int, columns: int) -> Tensor:
    return torch.rand(3, 1, rows, columns, generator=torch.Generator().manual_seed(1))


def without_drop_path(model: nn.Module) -> nn.Module:
    """Whole blocks are dropped at random in training; here they are not."""
    for module in model.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0
    return model
