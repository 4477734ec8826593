"""Options of an export, and of a model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radgaze.options import Options, option

To = Literal["onnx", "torchscript", "pt2", "monai", "hub"]

AUTO, NONE = "auto", "none"
"""Heatmap: that of the run's own generator, if it can be exported; or none."""


@dataclass(frozen=True)
class CardOptions(Options):
    """Options of a model card.

    Attributes:
        licence: Licence of the weights, such as cc-by-4.0; without it the card states what the data ask for,
            or that none is stated.
    """

    licence: str | None = option(None, metavar="NAME")


@dataclass(frozen=True)
class ExportOptions(Options):
    """Options of an export.

    Attributes:
        to: Format: onnx, torchscript, pt2 (torch.export), monai (a bundle of MONAI) or hub (a folder in the
            form of the Hugging Face hub, which is not uploaded).
        out: Folder to write, new or empty.
        heatmap: Heatmap among the outputs of the graph: auto (default), that of the run's training if it can
            be exported; none; or a method, see `radgaze methods`. It takes most of the graph's time.
        target: Class of the heatmap: predicted (default), a class, or all.
        licence: Licence of the weights, such as cc-by-4.0, for the card; without it the card states what the
            data ask for, or that none is stated.
    """

    to: To = option()
    out: str | Path = option(metavar="DIR")
    heatmap: str = AUTO
    target: str = "predicted"
    licence: str | None = option(None, metavar="NAME")
