"""Options of DICOM objects. Does not import torch, pydicom or highdicom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from radgaze.devices import check_device
from radgaze.errors import UserError
from radgaze.methods import generators
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
        method: Method of the heatmap; default: the one that the run was trained and evaluated with.
        no_patient: Leave out the attributes of the patient and of the study, except the study's UID.
        device: Device: auto (default), a GPU if there is one; cpu; cuda, or one of several such as cuda:1; or
            mps.
    """

    kinds: tuple[Kind, ...] = KINDS
    method: str | None = option(None, choices=generators)
    no_patient: bool = False
    device: str = option("auto", check=check_device)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            UserError: There is no such method or kind, or no kind at all.
        """
        super().__post_init__()
        if not self.kinds:
            raise UserError(f"`kinds` must name at least one of {', '.join(KINDS)}")


@dataclass(frozen=True)
class DicomOptions(Options):
    """Options of verbs that write results as DICOM files.

    Attributes:
        dicom: Folder for the results as DICOM: a report, segmentations and a picture of each DICOM file.
            Needs the extra radgaze[clinic].
        no_patient: Leave the attributes of the patient and of the study out of these, except the study's UID.
    """

    dicom: str | None = option(None, metavar="DIR")
    no_patient: bool = False

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            UserError: `no_patient` without `dicom`.
        """
        super().__post_init__()
        if self.no_patient and self.dicom is None:
            raise UserError("`no_patient` is about results as DICOM: set `dicom=DIR` as well")
