"""PYLON against its published form, written out, and what a class map is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from timm.layers.drop import DropPath
from torch import Tensor, nn

from radgaze.models import ModelConfig, create, load, save
from radgaze.models.pylon import Decoder, Pylon, Up
from tests.attribution.finite_differences import assert_matches, still
from tests.attribution.networks import randomised

ENCODERS = ("tu-test_efficientnet", "resnet18")
CHANNELS = (3, 4, 5, 6, 7, 8)
WIDTH = 4


@pytest.fixture(autouse=True)
def _same_numbers() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def network(encoder: str = ENCODERS[0], *, dropout: float = ModelConfig.dropout) -> Pylon:
    model = create(ModelConfig("pylon", encoder, "none", dropout=dropout), 3)
    assert isinstance(model, Pylon)
    return model.eval()


def features(side: int = 256, cases: int = 2) -> list[Tensor]:
    """Random feature maps of an encoder with `CHANNELS`, for images of the given side."""
    return [
        torch.rand(cases, channels, -(-side // 2**k), -(-side // 2**k), dtype=torch.float64)
        for k, channels in enumerate(CHANNELS)
    ]


def test_it_has_as_many_parameters_as_the_published_network() -> None:
    """ResNet-50 to 14 classes; ours sees three channels, where the published one's first layer sees one."""
    encoder = 25_557_032 - (2048 * 1000 + 1000)  # of torchvision's model table, less its classifier

    def layer(before: int, after: int, kernel: int) -> int:
        return before * after * kernel**2 + after + 2 * after  # a convolution with bias, and batch norm

    attention = (
        layer(2048, 128, 1) + layer(2048, 1, 7) + layer(1, 1, 7) + 2 * (layer(1, 1, 5) + layer(1, 1, 3))
    )
    up = sum(layer(channels, channels, 1) + layer(channels, 128, 1) for channels in (1024, 512, 256))
    expected = encoder + attention + up + 128 * 14 + 14
    with torch.device("meta"):
        model = create(ModelConfig("pylon", "resnet50", "none"), 14)
    assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (96, 64), (224, 224)])
def test_class_maps_have_a_quarter_of_the_side_and_their_maxima_are_the_logits(
    encoder: str, rows: int, columns: int
) -> None:
    logits, mask, maps, _ = network(encoder)(torch.rand(2, 1, rows, columns))
    assert maps.shape == (2, 3, rows // 4, columns // 4)
    assert torch.equal(logits, maps.flatten(2).max(2).values)
    assert mask.shape == (2, 1, rows, columns)


def test_mask_is_the_map_of_the_class_asked_for_and_by_itself_of_the_predicted_one() -> None:
    output = network()(torch.rand(3, 1, 64, 64))
    own = F.interpolate(output.class_maps, size=(64, 64), mode="bilinear")
    for classes in (torch.tensor([2, 0, 1]), output.logits.argmax(1)):
        expected = torch.stack([own[b, k : k + 1] for b, k in enumerate(classes.tolist())])
        torch.testing.assert_close(output.mask_of(classes), expected)
    torch.testing.assert_close(output.mask, expected)


def test_a_mask_without_class_maps_is_the_same_for_every_class() -> None:
    for architecture in ("unet", "classifier"):
        output = create(ModelConfig(architecture, ENCODERS[0], "none"), 3).eval()(torch.rand(2, 1, 32, 32))
        assert output.mask_of(torch.tensor([0, 2])) is output.mask


def test_a_class_has_its_map_to_itself() -> None:
    model, x = network(), torch.rand(2, 1, 64, 64)
    before = model(x).class_maps
    with torch.no_grad():
        model.head.weight[1] *= -2
    after = model(x).class_maps
    assert torch.equal(after[:, [0, 2]], before[:, [0, 2]])
    assert not torch.allclose(after[:, 1], before[:, 1])


def test_decoder_is_the_published_one_where_sides_halve_evenly() -> None:
    decoder = randomised(Decoder(CHANNELS, WIDTH)).eval()
    found = features()
    torch.testing.assert_close(decoder(found), published(decoder, found))


@pytest.mark.parametrize("side", [32, 96, 224])
def test_decoder_takes_sides_that_do_not_halve_evenly(side: int) -> None:
    decoder = randomised(Decoder(CHANNELS, WIDTH)).train()
    for cases in (1, 3):  # a level of one value in each channel among them
        found = decoder(features(side, cases))
        assert found.shape == (cases, WIDTH, side // 4, side // 4)
        assert found.isfinite().all()
        found.square().sum().backward()


def test_decoder_turns_with_its_features() -> None:
    """A mirrored image has a mirrored map, as far as the kernels are symmetric."""
    decoder = randomised(Decoder(CHANNELS, WIDTH)).eval()
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = (module.weight + module.weight.flip(-1)).data
    found = features()
    mirrored = decoder([feature.flip(-1) for feature in found])
    torch.testing.assert_close(mirrored, decoder(found).flip(-1))
    assert not torch.allclose(mirrored, decoder(found))


def test_the_finest_features_are_seen_place_by_place() -> None:
    decoder = randomised(Decoder(CHANNELS, WIDTH)).eval()
    found = features(64)
    before = decoder(found)
    found[2][:, :, 5, 9] += 1
    changed = (decoder(found) - before).abs().amax((0, 1)) > 0
    assert changed.nonzero().tolist() == [[5, 9]]


@pytest.mark.parametrize("training", [False, True])
def test_gradients_through_maps_and_maxima_match_finite_differences(training: bool) -> None:
    parts = nn.ModuleDict({"decoder": Decoder(CHANNELS, WIDTH), "head": nn.Conv2d(WIDTH, 3, 1)})
    model = still(randomised(parts)).train(training)
    found, weight = features(64, 3), torch.rand(3, 3, 16, 16, dtype=torch.float64)

    def loss() -> Tensor:
        maps: Tensor = model["head"](model["decoder"](found))
        return F.cross_entropy(maps.amax((2, 3)), torch.arange(3)) + (weight * maps.sigmoid()).mean()

    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss(), list(parameters.values()))
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        assert_matches(loss, parameter, gradient, name)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_parameter_learns(encoder: str) -> None:
    model = network(encoder).train()
    for module in model.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0
    model(torch.rand(6, 1, 128, 128)).class_maps.square().sum().backward()
    # What batch norm takes off again, a bias before it, learns nothing but rounding.
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    weights = [(n, p) for n, p in model.named_parameters() if n.endswith("weight")]
    assert not [name for name, p in weights if p.grad is None or not p.grad.abs().max() > 0]


def test_dropout_leaves_out_whole_channels() -> None:
    model = network(dropout=0.5)
    seen: list[Tensor] = []
    model.head.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model.dropout.train()
    model(torch.rand(4, 1, 64, 64))
    dropped = (seen[0] == 0).flatten(2)
    assert float(dropped.all(2).float().mean()) == pytest.approx(0.5, abs=0.15)


def test_a_model_comes_back_to_the_bit(tmp_path: Path) -> None:
    config = ModelConfig("pylon", ENCODERS[0], "none", pylon_channels=24, dropout=0.25)
    model = create(config, 2)
    model.train()(torch.rand(4, 1, 64, 64))
    save(model, config, ("a", "b"), tmp_path)
    found, classes = load(tmp_path)
    assert classes == ("a", "b")
    x = torch.rand(2, 1, 96, 64)
    for ours, theirs in zip(found(x)[:3], model.eval()(x)[:3], strict=True):
        assert torch.equal(ours, theirs)


def published(decoder: Decoder, features: list[Tensor]) -> Tensor:
    """The published decoder's formula with a decoder's weights: every level is half as large as the last."""

    def layer(parts: nn.Module, x: Tensor, first: int = 0) -> Tensor:
        assert isinstance(parts, nn.Sequential)
        conv, norm = parts[first], parts[first + 1]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        x = F.conv2d(x, conv.weight, conv.bias, padding=conv.kernel_size[0] // 2)
        y = (x - norm.running_mean.view(-1, 1, 1)) / (norm.running_var.view(-1, 1, 1) + norm.eps).sqrt()
        return (norm.weight.view(-1, 1, 1) * y + norm.bias.view(-1, 1, 1)).clamp(min=0)

    def doubled(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)

    part, x = decoder.attention, features[5]
    x1 = layer(part.down[0], F.max_pool2d(x, 2), 1)
    x2 = layer(part.down[1], F.max_pool2d(x1, 2), 1)
    x3 = layer(part.down[2], F.max_pool2d(x2, 2), 1)
    weight = doubled(layer(part.level[2], x3))
    weight = doubled(layer(part.level[1], x2) + weight)
    weight = doubled(layer(part.level[0], x1) + weight)
    x = layer(part.features, x) * weight
    for up, finer in zip(decoder.up, (features[4], features[3], features[2]), strict=True):
        assert isinstance(up, Up)
        x = doubled(x) + layer(up.features, layer(up.features, finer), 3)
    return x
