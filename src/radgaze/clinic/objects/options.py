"""Options of DICOM objects. Does not import torch, pydicom or highdicom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from radgaze.devices import check_device
from radgaze.errors import UserError
from radgaze.methods import check_methods
from radgaze.options import Options, option

Kind = Literal["sr", "seg", "seg_fractional", "sc"]
KINDS: tuple[Kind, ...] = get_args(Kind)
EXTRA = "clinic"


@dataclass(frozen=True)
class ObjectOptions(Options):
    """Which DICOM objects are made of an image, and how.

    Attributes:
        kinds: Objects: sr, a structured report; seg, a segmentation of the regions above the threshold;
            seg_fractional, one of the maps themselves; and sc, a picture. All by default.
        method: Method of the heatmap, a name of `radgaze methods`; default: the one that the run was trained
            and evaluated with.
        no_patient: Leave out the attributes of the patient and of the study, except the study's UID.
        device: Device: auto (default), a GPU if there is one; cpu; cuda, or one of several such as cuda:1; or
            mps.
    """

    kinds: tuple[Kind, ...] = KINDS
    method: str | None = None
    no_patient: bool = False
    device: str = option("auto", check=check_device)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            UserError: There is no such method or kind, or no kind at all.
        """
        super().__post_init__()
        if self.method is not None:
            if self.method == "all":
                raise UserError("`method` must be one method, got all")
            check_methods((self.method,))
        if not self.kinds:
            raise UserError(f"`kinds` must name at least one of {', '.join(KINDS)}")
