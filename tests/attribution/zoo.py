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


UNPOOLED = dict.fromkeys(CAMS, "no feature maps that the class score pools")

ZOO: dict[str, Row] = {
    # Residual networks and what became of them
    "timm-resnet10t": of_timm("resnet10t", "layer4"),
    "timm-resnetv2_18": of_timm("resnetv2_18", "norm", layers=(1, 1, 1, 1)),
    "timm-seresnet18": of_timm("seresnet18", "layer4", layers=(1, 1, 1, 1)),
    "timm-skresnet18": of_timm("skresnet18", "layer4", layers=(1, 1, 1, 1)),
    "timm-resnest14d": of_timm("resnest14d", "layer4"),
    "timm-res2net50_14w_8s": of_timm("res2net50_14w_8s", "layer4", layers=(1, 1, 1, 1)),
    "timm-regnety_002": of_timm("regnety_002", "final_conv"),
    "timm-nf_regnet_b0": of_timm("nf_regnet_b0", "final_act"),
    "timm-test_nfnet": of_timm("test_nfnet", "final_act"),
    "timm-repvgg_a0": of_timm("repvgg_a0", "final_conv"),
    "timm-densenet121": of_timm("densenet121", "features", growth_rate=8, block_config=(2, 3, 2, 2)),
    "timm-dla46_c": of_timm("dla46_c", "level5"),
    "timm-ese_vovnet19b_slim": of_timm("ese_vovnet19b_slim", "stages"),
    "timm-hgnetv2_b0": of_timm("hgnetv2_b0", "stages"),
    "timm-hrnet_w18_small": of_timm("hrnet_w18_small", "final_layer"),
    "timm-inception_next_atto": of_timm("inception_next_atto", "stages"),
    "timm-botnet26t_256": of_timm("botnet26t_256", "final_conv", img_size=64),
    "timm-lambda_resnet26t": of_timm("lambda_resnet26t", "final_conv"),
    "timm-gcresnext26ts": of_timm("gcresnext26ts", "final_conv"),
    # Mobile networks
    "timm-test_efficientnet": of_timm("test_efficientnet", "bn2"),
    "timm-efficientnetv2_rw_t": of_timm("efficientnetv2_rw_t", "bn2"),
    "timm-mobilenetv3_small_050": of_timm("mobilenetv3_small_050", "blocks"),
    "timm-mnasnet_small": of_timm("mnasnet_small", "bn2"),
    "timm-ghostnet_050": of_timm("ghostnet_050", "blocks"),
    "timm-hardcorenas_a": of_timm("hardcorenas_a", "blocks"),
    "timm-mixnet_s": of_timm("mixnet_s", "bn2"),
    "timm-lcnet_050": of_timm("lcnet_050", "blocks"),
    "timm-starnet_s050": of_timm("starnet_s050", "norm"),
    "timm-repvit_m0_9": of_timm("repvit_m0_9", "stages"),
    # Convolutions and attention
    "timm-convnext_atto": of_timm("convnext_atto", "stages"),
    "timm-convnextv2_atto": of_timm("convnextv2_atto", "stages"),
    "timm-poolformer_s12": of_timm("poolformer_s12", "stages"),
    "timm-edgenext_xx_small": of_timm("edgenext_xx_small", "stages", seed=3),
    "timm-mobilevit_xxs": of_timm("mobilevit_xxs", "final_conv"),
    "timm-mobilevitv2_050": of_timm("mobilevitv2_050", "final_conv"),
    "timm-fastvit_t8": of_timm("fastvit_t8", "final_conv"),
    "timm-efficientvit_b0": of_timm("efficientvit_b0", "head.in_conv"),
    "timm-tiny_vit_5m": of_timm("tiny_vit_5m_224", "stages", img_size=64),
    "timm-test_maxvit": of_timm("test_maxvit", "norm", img_size=64),
    "timm-test_coatnet": of_timm("test_coatnet", "norm", img_size=64),
    "timm-test_mambaout": of_timm("test_mambaout", Features("stages", last=True)),
    "timm-pvt_v2_b0": of_timm("pvt_v2_b0", "stages"),
    # Transformers
    "timm-vit_tiny": of_timm(
        "vit_tiny_patch16_224", Features("blocks.11.norm1", tokens=(1, 3, 3)), size=48, img_size=48
    ),
    "timm-deit_tiny_distilled": of_timm(
        "deit_tiny_distilled_patch16_224", Features("blocks.11.norm1", tokens=(2, 3, 3)), size=48, img_size=48
    ),
    "timm-cait_xxs24": of_timm(
        "cait_xxs24_224", Features("blocks.23.norm1", tokens=(0, 3, 3)), size=48, img_size=48
    ),
    "timm-swin_tiny": of_timm(
        "swin_tiny_patch4_window7_224",
        Features("norm", last=True),
        img_size=64,
        window_size=4,
        embed_dim=24,
        depths=(2, 2),
        num_heads=(2, 4),
    ),
    "timm-swinv2_tiny": of_timm(
        "swinv2_tiny_window8_256",
        Features("norm", last=True),
        img_size=64,
        window_size=4,
        embed_dim=24,
        depths=(2, 2),
        num_heads=(2, 4),
    ),
    "timm-xcit_nano": of_timm("xcit_nano_12_p16_224", None, img_size=64, refused=UNPOOLED),
    "timm-levit_128s": of_timm("levit_128s", None, img_size=64, refused=UNPOOLED),
    "timm-mixer_s32": of_timm("mixer_s32_224", None, img_size=64, refused=UNPOOLED),
    "timm-visformer_tiny": of_timm("visformer_tiny", "norm", img_size=64),
    "timm-convit_tiny": of_timm(
        "convit_tiny", Features("blocks.11.norm1", tokens=(1, 3, 3)), size=48, img_size=48
    ),
    "timm-nest_tiny": of_timm("nest_tiny", "norm", size=64, img_size=64),
    "timm-davit_tiny": of_timm(
        "davit_tiny", "stages", depths=(1, 1, 1, 1), embed_dims=(24, 24, 32, 32), num_heads=(2, 2, 2, 2)
    ),
    "timm-focalnet_tiny": of_timm("focalnet_tiny_srf", "norm"),
    # torchvision
    "torchvision-alexnet": of_torchvision(_alexnet, "avgpool"),
    "torchvision-squeezenet1_1": of_torchvision(
        lambda m: m.squeezenet1_1(num_classes=CLASSES), "classifier.2"
    ),
    "torchvision-shufflenet_v2": of_torchvision(lambda m: m.shufflenet_v2_x0_5(num_classes=CLASSES), "conv5"),
    "torchvision-googlenet": of_torchvision(
        lambda m: m.googlenet(num_classes=CLASSES, init_weights=False), "inception5b"
    ),
    "torchvision-inception_v3": of_torchvision(
        lambda m: m.inception_v3(num_classes=CLASSES, init_weights=False, aux_logits=False),
        None,
        size=80,
        refused=dict.fromkeys(CAMS, "the last ones have one place"),
    ),
    "torchvision-densenet": of_torchvision(
        lambda m: m.DenseNet(8, (2, 3, 2, 2), 16, num_classes=CLASSES), Features("features", relu=True)
    ),
    "torchvision-mobilenet_v2": of_torchvision(
        lambda m: m.mobilenet_v2(num_classes=CLASSES, width_mult=0.35), "features"
    ),
    "torchvision-mobilenet_v3_small": of_torchvision(
        lambda m: m.mobilenet_v3_small(num_classes=CLASSES, width_mult=0.5), "features"
    ),
    "torchvision-convnext": of_torchvision(
        lambda m: m.ConvNeXt(
            [m.convnext.CNBlockConfig(8, 16, 1), m.convnext.CNBlockConfig(16, None, 1)], num_classes=CLASSES
        ),
        "features",
    ),
    "torchvision-swin_v2": of_torchvision(
        lambda m: m.SwinTransformer(
            [4, 4],
            16,
            [1, 1],
            [2, 4],
            [4, 4],
            num_classes=CLASSES,
            block=m.swin_transformer.SwinTransformerBlockV2,
            downsample_layer=m.swin_transformer.PatchMergingV2,
        ),
        "permute",
    ),
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
    "monai-efficientnet_b0": of_monai(
        lambda m: m.EfficientNetBN(
            "efficientnet-b0", pretrained=False, spatial_dims=2, in_channels=3, num_classes=CLASSES
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
    # smp's encoders, and radgaze's own networks
    "radgaze-unet-efficientnet-b0": of_radgaze(
        "unet", Features("network.classification_head", entering=True), encoder="timm-efficientnet-b0"
    ),
    "radgaze-unet-resnet18": of_radgaze(
        "unet", Features("network.classification_head", entering=True), encoder="resnet18"
    ),
    "radgaze-unet-mit_b0": of_radgaze(
        "unet", Features("network.classification_head", entering=True), encoder="mit_b0"
    ),
    "radgaze-classifier-mobilenet_v2": of_radgaze(
        "classifier", Features("head", entering=True), encoder="mobilenet_v2"
    ),
    "radgaze-classifier-vgg11_bn": of_radgaze(
        "classifier", Features("head", entering=True), encoder="vgg11_bn"
    ),
    "radgaze-pylon": of_radgaze("pylon", None, encoder="resnet18"),
    "radgaze-class_maps": of_radgaze("class_maps", None, encoder="resnet18"),
    "radgaze-temporal_image_only": of_radgaze("temporal_image_only", None),
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
