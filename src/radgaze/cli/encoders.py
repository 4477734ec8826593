"""`radgaze encoders`: list the encoders that `model.encoder` accepts, with their initial weights."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.parser import Parser

HELP = (
    "List the encoders that `--model.encoder` accepts, with the initial weights that each has for "
    "`--model.weights`. Those whose name begins with tu- are timm's; any of them with features of several "
    "sizes can be given."
)
EXAMPLE = "radgaze encoders resnet"


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
    return 0
