"""Networks as people use them: of timm, torchvision, smp, torchxrayvision, MONAI and radgaze; random weights.

They are the smallest variants, on images as small as their strides allow. For each it is known what its class
score pools, from the source of its library, and which generators refuse it, and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.attribution.networks import Network
from tests.attribution.reference import CAMS, Features

CLASSES = 5
GENERATORS = (
    *("backprop", "input_x_gradient", "guided_backprop", "deconvnet"),
    *("grad_cam", "grad_cam_pp", "hires_cam", "layer_cam"),
)


@dataclass(frozen=True)
class Row:
    """A network of the zoo.

    Attributes:
        make: Function that makes it.
        features: The feature maps that its classifier pools; None where there are none.
        size: Side of its images in pixels.
        channels: Channels of its images.
        refused: What the message says of a generator that refuses the network, by name.
        seed: Random seed of its weights; with some, all maps that are cut at 0 are empty.
    """

    make: Callable[[], nn.Module]
    features: Features | None
    size: int = 64
    channels: int = 3
    refused: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0


def of_timm(
    name: str,
    features: str | Features | None,
    *,
    size: int = 64,
    refused: Mapping[str, str] | None = None,
    seed: int = 0,
    **options: Any,
) -> Row:
    def make() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=CLASSES, **options)

    return Row(make, _features(features), size, refused=refused or {}, seed=seed)


def of_torchvision(make: Callable[[Any], nn.Module], features: str | Features | None, **settings: Any) -> Row:
    def made() -> nn.Module:
        import torchvision

        return make(torchvision.models)

    return Row(made, _features(features), **settings)


def of_monai(make: Callable[[Any], nn.Module], features: str | Features | None, **settings: Any) -> Row:
    def made() -> nn.Module:
        return make(pytest.importorskip("monai.networks.nets", reason="MONAI is not installed"))

    return Row(made, _features(features), **settings)


def of_torchxrayvision(
    make: Callable[[Any], nn.Module], features: str | Features | None, **settings: Any
) -> Row:
    def made() -> nn.Module:
        return make(pytest.importorskip("torchxrayvision", reason="torchxrayvision is not installed"))

    return Row(made, _features(features), channels=1, **settings)


def of_radgaze(
    architecture: str,
    features: str | Features | None,
    *,
    size: int = 64,
    refused: Mapping[str, str] | None = None,
    **settings: Any,
) -> Row:
    """A network of radgaze, with an encoder of segmentation-models-pytorch."""

    def make() -> nn.Module:
        from radgaze.models import registry
        from radgaze.models.config import ModelConfig

        found = registry.find(architecture)
        sized = (size,) if found.takes_size or found.fixed_size else ()
        return found.network(ModelConfig(architecture, weights="none", **settings), CLASSES, *sized)

    return Row(make, _features(features), size, 1, refused or {})


def _features(given: str | Features | None) -> Features | None:
    return Features(given) if isinstance(given, str) else given


def _alexnet(models: Any) -> nn.Module:
    """AlexNet with fewer units in its head, in which its weights are."""
    model: nn.Module = models.AlexNet(CLASSES)
    model.classifier = nn.Sequential(
        nn.Dropout(), nn.Linear(256 * 36, 32), nn.ReLU(inplace=True), nn.Linear(32, CLASSES)
    )
    return model


def _efficientnet(models: Any) -> nn.Module:
    """EfficientNet-v2, with its drop-out and stochastic depth."""
    fused, separable = models.efficientnet.FusedMBConvConfig, models.efficientnet.MBConvConfig
    stages = [fused(1, 3, 1, 8, 8, 1), fused(4, 3, 2, 8, 16, 2), separable(4, 3, 2, 16, 24, 2)]
    model: nn.Module = models.EfficientNet(stages, dropout=0.2, num_classes=CLASSES, last_channel=64)
    return model


def _regnet(models: Any) -> nn.Module:
    kinds = models.regnet.BlockParams([1, 1, 2, 1], [16, 24, 32, 48], [8] * 4, [1.0] * 4, [2] * 4, 0.25)
    model: nn.Module = models.RegNet(kinds, num_classes=CLASSES)
    return model


def _convnext(models: Any) -> nn.Module:
    stages = [models.convnext.CNBlockConfig(8, 16, 1), models.convnext.CNBlockConfig(16, None, 1)]
    model: nn.Module = models.ConvNeXt(stages, num_classes=CLASSES)
    return model


def _swin(models: Any) -> nn.Module:
    swin = models.swin_transformer
    kinds = {"block": swin.SwinTransformerBlockV2, "downsample_layer": swin.PatchMergingV2}
    model: nn.Module = models.SwinTransformer(
        [4, 4], 16, [1, 1], [2, 4], [4, 4], num_classes=CLASSES, **kinds
    )
    return model


UNPOOLED = dict.fromkeys(CAMS, "no feature maps that the class score pools")

SMALL: dict[str, Any] = {"layers": (1, 1, 1, 1), "channels": (16, 24, 32, 48)}
FOUR: dict[str, Any] = {"embed_dims": (16, 24, 32, 48)}
TINY: dict[str, Any] = {"img_size": 48, "embed_dim": 24, "depth": 3, "num_heads": 2}
SWIN: dict[str, Any] = {"window_size": 4, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4)}
LAST = Features("norm", last=True)
HEAD = Features("network.classification_head", entering=True)

ZOO: dict[str, Row] = {
    # Residual and dense networks
    "timm-resnet10t": of_timm("resnet10t", "layer4", **SMALL),
    "timm-resnetv2_18": of_timm("resnetv2_18", "norm", **SMALL),
    "timm-seresnet18": of_timm("seresnet18", "layer4", **SMALL),
    "timm-skresnet18": of_timm("skresnet18", "layer4", **SMALL),
    "timm-resnest14d": of_timm("resnest14d", "layer4", **SMALL),
    "timm-res2net50_14w_8s": of_timm("res2net50_14w_8s", "layer4", **SMALL),
    "timm-test_nfnet": of_timm("test_nfnet", "final_act"),
    "timm-repvgg_a0": of_timm("repvgg_a0", "final_conv"),
    "timm-densenet121": of_timm("densenet121", "features", growth_rate=8, block_config=(2, 3, 2, 2)),
    "timm-dla46_c": of_timm("dla46_c", "level5"),
    "timm-ese_vovnet19b_slim": of_timm("ese_vovnet19b_slim", "stages"),
    "timm-hgnetv2_b0": of_timm("hgnetv2_b0", "stages"),
    "timm-lambda_resnet26t": of_timm("lambda_resnet26t", "final_conv", seed=1),
    # Mobile networks
    "timm-test_efficientnet": of_timm("test_efficientnet", "bn2"),
    "timm-mobilenetv3_small_050": of_timm("mobilenetv3_small_050", "blocks"),
    "timm-mnasnet_small": of_timm("mnasnet_small", "bn2"),
    "timm-ghostnet_050": of_timm("ghostnet_050", "blocks"),
    "timm-lcnet_050": of_timm("lcnet_050", "blocks"),
    "timm-starnet_s050": of_timm("starnet_s050", "norm"),
    "timm-repvit_m0_9": of_timm("repvit_m0_9", "stages", embed_dim=(16, 24, 32, 48), depth=(1, 1, 1, 1)),
    # Convolutions and attention
    "timm-convnext_atto": of_timm(
        "convnext_atto", "stages", depths=(1, 1, 1, 1), dims=(16, 24, 32, 48), seed=3
    ),
    "timm-convnextv2_atto": of_timm("convnextv2_atto", "stages", depths=(1, 1, 1, 1), dims=(16, 24, 32, 48)),
    "timm-inception_next_atto": of_timm("inception_next_atto", "stages", depths=(1, 1, 2, 1)),
    "timm-poolformer_s12": of_timm("poolformer_s12", "stages"),
    "timm-edgenext_xx_small": of_timm("edgenext_xx_small", "stages", seed=3),
    "timm-mobilevit_xxs": of_timm("mobilevit_xxs", "final_conv"),
    "timm-mobilevitv2_050": of_timm("mobilevitv2_050", "final_conv"),
    "timm-fastvit_t8": of_timm("fastvit_t8", "final_conv", layers=(1, 1, 1, 1)),
    "timm-efficientvit_b0": of_timm("efficientvit_b0", "head.in_conv"),
    "timm-tiny_vit_5m": of_timm("tiny_vit_5m_224", "stages", depths=(1, 1, 2, 1)),
    "timm-test_maxvit": of_timm("test_maxvit", "norm", img_size=64),
    "timm-test_coatnet": of_timm("test_coatnet", "norm", img_size=64),
    "timm-test_mambaout": of_timm("test_mambaout", Features("stages", last=True)),
    "timm-pvt_v2_b0": of_timm("pvt_v2_b0", "stages", depths=(1, 1, 1, 1)),
    "timm-visformer_tiny": of_timm("visformer_tiny", "norm", img_size=64, depth=(1, 2, 1), embed_dim=48),
    "timm-davit_tiny": of_timm("davit_tiny", "stages", depths=(1, 1, 1, 1), num_heads=(2, 2, 2, 2), **FOUR),
    # Transformers and mixers
    "timm-vit_tiny": of_timm(
        "vit_tiny_patch16_224", Features("blocks.2.norm1", tokens=(1, 3, 3)), size=48, **TINY
    ),
    "timm-deit_tiny_distilled": of_timm(
        "deit_tiny_distilled_patch16_224", Features("blocks.2.norm1", tokens=(2, 3, 3)), size=48, **TINY
    ),
    "timm-convit_tiny": of_timm(
        "convit_tiny", Features("blocks.2.norm1", tokens=(1, 3, 3)), size=48, local_up_to_layer=2, **TINY
    ),
    "timm-swin_tiny": of_timm(
        "swin_tiny_patch4_window7_224", Features("norm", last=True), img_size=64, **SWIN
    ),
    "timm-swinv2_tiny": of_timm("swinv2_tiny_window8_256", Features("norm", last=True), img_size=64, **SWIN),
    "timm-xcit_nano": of_timm("xcit_nano_12_p16_224", None, size=48, refused=UNPOOLED, **TINY),
    "timm-levit_128s": of_timm("levit_128s", None, img_size=64, refused=UNPOOLED),
    # torchvision
    "torchvision-alexnet": of_torchvision(_alexnet, "avgpool"),
    "torchvision-squeezenet": of_torchvision(lambda m: m.squeezenet1_1(num_classes=CLASSES), "classifier.2"),
    "torchvision-shufflenet_v2": of_torchvision(lambda m: m.shufflenet_v2_x0_5(num_classes=CLASSES), "conv5"),
    "torchvision-googlenet": of_torchvision(
        lambda m: m.googlenet(num_classes=CLASSES, init_weights=False), "inception5b"
    ),
    "torchvision-inception_v3": of_torchvision(
        lambda m: m.inception_v3(num_classes=CLASSES, init_weights=False, aux_logits=False),
        None,
        size=96,
        refused=dict.fromkeys(CAMS, "the last ones have one place"),
    ),
    "torchvision-densenet": of_torchvision(
        lambda m: m.DenseNet(8, (2, 3, 2, 2), 16, num_classes=CLASSES), Features("features", relu=True)
    ),
    "torchvision-mobilenet_v2": of_torchvision(
        lambda m: m.mobilenet_v2(num_classes=CLASSES, width_mult=0.25), "features"
    ),
    "torchvision-mobilenet_v3": of_torchvision(
        lambda m: m.mobilenet_v3_small(num_classes=CLASSES, width_mult=0.5), "features"
    ),
    "torchvision-efficientnet_v2": of_torchvision(_efficientnet, "features"),
    "torchvision-regnet_y": of_torchvision(_regnet, "trunk_output"),
    "torchvision-convnext": of_torchvision(_convnext, "features"),
    "torchvision-swin_v2": of_torchvision(_swin, "permute"),
    "torchvision-vit": of_torchvision(
        lambda m: m.VisionTransformer(32, 8, 2, 2, 12, 24, num_classes=CLASSES),
        Features("encoder.layers.encoder_layer_1.ln_1", tokens=(1, 4, 4)),
        size=32,
    ),
    "torchvision-maxvit": of_torchvision(
        lambda m: m.MaxVit((64, 64), 16, 4, [16, 32], [1, 1], 8, 0.1, num_classes=CLASSES), "blocks.1"
    ),
    # MONAI
    "monai-densenet121": of_monai(
        lambda m: m.DenseNet121(2, 3, CLASSES, 16, 8, (2, 2, 3, 2)), "class_layers.relu"
    ),
    "monai-seresnet50": of_monai(
        lambda m: m.SEResNet50((1, 1, 1, 1), spatial_dims=2, in_channels=3, num_classes=CLASSES), "layer4"
    ),
    "monai-resnet": of_monai(
        lambda m: m.ResNet("basic", [1, 1, 1, 1], [16, 32, 48, 64], 2, 3, num_classes=CLASSES), "layer4"
    ),
    "monai-efficientnet": of_monai(
        lambda m: m.EfficientNet(
            ["r1_k3_s11_e1_i32_o16_se0.25", "r2_k5_s22_e4_i16_o24_se0.25"], num_classes=CLASSES
        ),
        Features("_avg_pooling", entering=True),
    ),
    "monai-classifier": of_monai(
        lambda m: m.Classifier((3, 32, 32), CLASSES, (8, 16), (2, 2)), "net", size=32
    ),
    # torchxrayvision
    "torchxrayvision-densenet": of_torchxrayvision(
        lambda m: m.models.DenseNet(8, (2, 3, 2, 2), 16, num_classes=CLASSES), Features("features", relu=True)
    ),
    # radgaze's own networks, with encoders of smp
    "radgaze-unet-efficientnet-b0": of_radgaze("unet", HEAD, encoder="timm-efficientnet-b0"),
    "radgaze-unet-mit_b0": of_radgaze("unet", HEAD, encoder="mit_b0", decoder_channels=(16, 8, 8, 8, 8)),
    "radgaze-classifier-vgg11_bn": of_radgaze(
        "classifier", Features("head", entering=True), encoder="vgg11_bn"
    ),
    "radgaze-pylon": of_radgaze("pylon", "head", encoder="resnet18", pylon_channels=16),
    "radgaze-class_maps": of_radgaze("class_maps", "localiser", encoder="resnet18"),
    "radgaze-temporal_image_only": of_radgaze("temporal_image_only", "image.pool"),
}


def built(name: str) -> tuple[nn.Module, Tensor]:
    """A network in float64, and two images."""
    row = ZOO[name]
    torch.manual_seed(row.seed)
    source = torch.Generator().manual_seed(row.size)
    images = torch.rand(2, row.channels, row.size, row.size, generator=source, dtype=torch.float64)
    return settled(drawn(row.make(), row.seed), images), images


def drawn(model: Network, seed: int = 0) -> Network:
    """The model in float64, with all that its library makes constant drawn, so that nothing is 0 or 1."""
    source = torch.Generator().manual_seed(seed)
    for name, parameter in model.double().named_parameters():
        if float(parameter.detach().min()) != float(parameter.detach().max()):
            continue
        constant = float(parameter.detach().flatten()[0])
        u = torch.rand(parameter.shape, generator=source, dtype=torch.float64)
        if constant == 0 and parameter.dim() > 1:
            parameter.data = (2 * u - 1) * (3 / parameter[0].numel()) ** 0.5
        else:
            parameter.data = 0.4 * (u - 0.5) if constant == 0 and name.endswith("bias") else 0.5 + u
    return model


def settled(model: Network, images: Tensor) -> Network:
    """The model with running statistics near those of the images, so that values keep their size."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(images)
    source = torch.Generator().manual_seed(1)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        if norm.running_var is not None:
            factor = torch.rand(norm.running_var.shape, generator=source, dtype=torch.float64)
            norm.running_var *= 0.5 + factor
    return model
