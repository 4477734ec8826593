"""`radgaze encoders`: list the encoders that `model.encoder` accepts, with their initial weights."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.parser import Parser

HELP = (
    "List the encoders that `--model.encoder` accepts, with the initial weights that each has for "
    "`--model.weights`. Any model of timm can be given as tu-NAME: convolutional networks, ConvNeXt, and the "
    "transformers ViT, DeiT, DINOv2, DINOv3, BEiT, EVA, Swin and MaxViT; docs/encoders.md describes them."
)
EXAMPLE = "radgaze encoders resnet"

TIMM = (
    "and any model of timm as tu-NAME (`radgaze encoders --timm` lists them), of these families among others:"
    " ResNet, DenseNet, EfficientNet, ConvNeXt (tu-convnext_tiny), Swin (tu-swin_tiny_patch4_window7_224),"
    " MaxViT (tu-maxvit_tiny_tf_224), ViT (tu-vit_tiny_patch16_224), DeiT (tu-deit3_small_patch16_224),"
    " DINOv2 (tu-vit_small_patch14_dinov2), DINOv3 (tu-vit_small_patch16_dinov3),"
    " BEiT (tu-beit_base_patch16_224), EVA (tu-eva02_tiny_patch14_224)"
)
"""What is said below the list, which has none of timm's own names but a few."""


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "part", metavar="PART", nargs="?", default="", help="part of the names (default: all)"
    )
    parser.add_argument("--timm", action="store_true", help="also list timm's, about a thousand")


def run(args: Namespace) -> int:
    from segmentation_models_pytorch.encoders import encoders

    from radgaze.console import put, say
    from radgaze.models.weights import PUBLISHED

    weights = {
        name: ", ".join(each for each in PUBLISHED if each in about["pretrained_settings"])
        for name, about in encoders.items()
    }
    if args.timm:
        import timm

        pretrained = {name.split(".")[0] for name in timm.list_pretrained()}
        weights |= {f"tu-{name}": "imagenet" if name in pretrained else "" for name in timm.list_models()}
    found = {name: each for name, each in weights.items() if args.part in name}
    if not found:
        say(f"no encoder has {args.part!r} in its name; `radgaze encoders --timm` lists timm's too")
        return 1
    width = max(map(len, found))
    for name, each in found.items():
        put(f"{name:<{width}}  {each or 'none'}")
    if not args.timm:
        say(TIMM)
    return 0
