"""Options of the explanation of images."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.devices import check_device
from radgaze.methods import check_methods
from radgaze.options import Options, option

REFERENCES = ("black", "mean", "blurred", "cases")


@dataclass(frozen=True)
class ExplainOptions(Options):
    """Options of an explanation.

    Attributes:
        methods: Methods, separated by commas, or all that apply to the model (default).
        target: Class that is explained: predicted (default), a class, or all.
        reference: Reference image without information, for DeepLIFT, occlusion and LIME: black, mean (the
            image's mean grey value), blurred, or cases (mean of training cases); default: black for DeepLIFT,
            mean for the others.
        device: Device: auto (default), a GPU if there is one; cpu; cuda, or one of several such as cuda:1; or
            mps.
        batch_size: Number of images in a batch (default 4).
        seed: Random seed (default 0).
        keep_names: Name folders after the files, whose names may identify the patient, instead of image-001
            and so on.
    """

    methods: tuple[str, ...] = option(("all",), comma=True, check=check_methods)
    target: str = "predicted"
    reference: str | None = option(None, choices=lambda: REFERENCES)
    device: str = option("auto", check=check_device)
    batch_size: int = option(4, at_least=1)
    seed: int = option(0, at_least=0, at_most=2**32 - 1)
    keep_names: bool = False


@dataclass(frozen=True)
class ExplainFilesOptions(ExplainOptions):
    """Options of an explanation that is written to a folder.

    Attributes:
        overwrite: Replace existing maps in the output folder; those of an image that cannot be read are
            removed, since they may be another image's.
    """

    overwrite: bool = False
