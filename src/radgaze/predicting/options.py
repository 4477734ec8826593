"""Options of the prediction of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from radgaze.devices import check_device
from radgaze.options import Options, option

NamedBy = Literal["number", "file", "path"]
"""Names of files in an output: a number, the file's name, or its path."""


@dataclass(frozen=True)
class PredictOptions(Options):
    """Options of a prediction.

    Attributes:
        device: Device: auto (default), a GPU if there is one; cpu; cuda, or one of several such as cuda:1; or
            mps.
        batch_size: Number of images in a batch (default 16).
        keep_names: Write the paths of the files, which may identify the patient, instead of image-001 and so
            on.
    """

    device: str = option("auto", check=check_device)
    batch_size: int = option(16, at_least=1)
    keep_names: bool = False

    @property
    def named_by(self) -> NamedBy:
        """Names of files in the output."""
        return "path" if self.keep_names else "number"


@dataclass(frozen=True)
class PredictFilesOptions(PredictOptions):
    """Options of a prediction that is written to a file.

    Attributes:
        overwrite: Replace an existing output file.
    """

    overwrite: bool = False
