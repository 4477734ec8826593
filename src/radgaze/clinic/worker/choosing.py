"""Choose frontal chest radiographs: by what a search says, and then by the header of the file."""

from __future__ import annotations

import re
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation

from radgaze.clinic.worker.pacs import MODALITIES, Instance
from radgaze.dicom.error import DicomError
from radgaze.dicom.file import check_values, opened_dicom
from radgaze.dicom.guard import errors_only
from radgaze.dicom.read import MAX_PIXELS, UNPARSED
from radgaze.dicom.view import check_frontal

CLASSES = frozenset({str(ComputedRadiographyImageStorage), str(DigitalXRayImageStorageForPresentation)})
"""SOP classes of radiographs. None of them is the class of a result, so that a result is never answered to;
a Secondary Capture of a radiograph is therefore passed over."""

OWN = "radgaze"
"""Manufacturer's Model Name of results, in case that another program changed their SOP class."""

CHEST_PARTS = frozenset({"CHEST", "THORAX", "LUNG", "LUNGS", "CHESTABDOMEN", "PORTABLECHEST", "PORT CHEST"})
"""Values of Body Part Examined (0018,0015): the defined term, and others in use."""
CHEST_CODES = frozenset({"51185008", "T-D3000", "816094009", "39607008", "T-28000"})
"""Codes of Anatomic Region Sequence: chest and lung in SNOMED CT, and their older SNOMED-RT codes."""
CHEST_WORDS = re.compile(r"\b(chest|thorax|thoracic|torax|cxr|lungs?|poumons?)\b", re.IGNORECASE)
DESCRIPTIONS = ("StudyDescription", "SeriesDescription", "ProtocolName", "PerformedProcedureStepDescription")
USED = (
    *("SOPInstanceUID", "SOPClassUID", "ManufacturerModelName", "ViewPosition", "ViewCodeSequence"),
    *("PatientOrientation", "BodyPartExamined", "AnatomicRegionSequence", *DESCRIPTIONS),
    "SpecificCharacterSet",
)


def may_be_radiograph(instance: Instance) -> bool:
    """Whether the results of a search do not exclude that an instance is a radiograph."""
    if instance.sop_class:
        return instance.sop_class in CLASSES
    return not instance.modality or instance.modality in MODALITIES


def read_header(path: Path) -> Dataset:
    """Read the elements of a file that choose radiographs.

    Raises:
        DicomError: The file cannot be read.
    """
    with errors_only(UNPARSED), opened_dicom(path, MAX_PIXELS) as (file, _):
        header = dcmread(file, stop_before_pixels=True, specific_tags=list(USED))
        check_values(header, USED)
        return header


def check_radiograph(header: Dataset, *, assume_chest: bool) -> None:
    """Refuse all but frontal chest radiographs.

    Args:
        header: Header of the file.
        assume_chest: Whether an image of which the header does not state the body part is one of the chest.

    Raises:
        DicomError: `own_result`, `not_radiograph`, `not_frontal`, `not_chest` or `broken`.
    """
    with errors_only("elements of the header cannot be used"):  # pydicom parses each when it is asked for
        if str(header.get("ManufacturerModelName") or "").strip() == OWN:
            raise DicomError("own_result", "this is a result of radgaze, not an image")
        if str(header.get("SOPClassUID", "")) not in CLASSES:
            raise DicomError("not_radiograph", "the file is no CR or DX image for presentation")
        check_frontal(header)
        stated = _is_chest(header)
    if stated is False:
        raise DicomError("not_chest", "the header states another part of the body")
    if stated is None and not assume_chest:
        raise DicomError("not_chest", "the header does not state the part of the body")


def _is_chest(header: Dataset) -> bool | None:
    """Whether the image is one of the chest; None where the header does not state it."""
    part = str(header.get("BodyPartExamined") or "").strip().upper()
    codes = {str(item.get("CodeValue", "")).strip() for item in header.get("AnatomicRegionSequence") or ()}
    codes.discard("")
    if part or codes:
        return part in CHEST_PARTS or bool(CHEST_WORDS.search(part)) or bool(codes & CHEST_CODES)
    words = " ".join(str(header.get(name) or "") for name in DESCRIPTIONS)
    return True if CHEST_WORDS.search(words) else None
