"""`radgaze methods`: list the methods of making heatmaps, with one line each."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.parser import Parser

HELP = "List the methods of making heatmaps that `--objective.heatmap.generator`, `audit` and `explain` know."
EXAMPLE = "radgaze methods"


def add_arguments(parser: Parser) -> None:
    del parser


def run(args: Namespace) -> int:
    from radgaze.attribution import PRESETS
    from radgaze.attribution.registry import REGISTRY
    from radgaze.console import put

    del args
    width = max(map(len, PRESETS))
    for title, trained in (("For training, and to look at", True), ("To look at", False)):
        put(title)
        for name, preset in PRESETS.items():
            if preset.differentiable == trained:
                about = (REGISTRY[preset.generator].__doc__ or "").strip().splitlines()[0]
                put(f"  {name:<{width}}  {about}")
        put("")
    put(
        "docs/heatmaps.md describes them. A network may lack what a method needs, such as a head with "
        "pooling for CAM."
    )
    return 0
