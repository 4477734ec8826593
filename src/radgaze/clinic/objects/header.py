"""The attributes of an image's header that its results share: of the patient and of the study.

They are copied as text in UTF-8, whatever the image's character set is. A value that breaks the rules of its
element, such as a date that is none, is left out, since an archive may refuse the result for it; names and
numbers, by which an archive files an image, are copied as they are, unless a backslash divides them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from datetime import date

from pydicom import config
from pydicom.datadict import dictionary_VM
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.uid import UID
from pydicom.valuerep import validate_value

from radgaze.dicom.error import DicomError

PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "TypeOfPatientID", "PatientBirthDate"),
    *("PatientBirthTime", "PatientSex", "OtherPatientNames", "OtherPatientIDsSequence", "EthnicGroup"),
    *("PatientComments", "PatientAge", "PatientSize", "PatientWeight"),
)
TRIAL = (
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName"),
    *("ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID"),
)
STUDY = (
    *("StudyDate", "StudyTime", "AccessionNumber", "IssuerOfAccessionNumberSequence", "StudyID"),
    *("ReferringPhysicianName", "StudyDescription"),
)
OF_A_PERSON = (*PATIENT, *TRIAL, *STUDY)
"""Elements that `no_patient` leaves out."""
REMOVED = (
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    "LongitudinalTemporalInformationModified",
)
"""What the image says about its de-identification."""
OF_THE_IMAGE = (
    *("Modality", "Rows", "Columns", "PatientOrientation", "ImageLaterality", "Laterality"),
    *("BodyPartExamined", "LossyImageCompression", "LossyImageCompressionRatio"),
    *("LossyImageCompressionMethod", "BurnedInAnnotation", "TimezoneOffsetFromUTC"),
)
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName"),
)
"""Elements that every object has, if only empty."""
AS_THEY_ARE = ("PatientName", "PatientID", "AccessionNumber", "StudyID", "ReferringPhysicianName")
OFFSET = r"\+(0\d|1[0-3])[0-5]\d|\+1400|-(0\d|1[01])[0-5]\d|-1200"
"""Offsets from UTC that DICOM PS3.3 allows, −1200 to +1400 (SOP Common Module), except −0000."""
TERMS = {
    "PatientSex": ("M", "F", "O"),
    "PatientIdentityRemoved": ("YES", "NO"),
    "LongitudinalTemporalInformationModified": ("UNMODIFIED", "MODIFIED", "REMOVED"),
    "LossyImageCompression": ("00", "01"),
    "ImageLaterality": ("L", "R", "U", "B"),
    "Laterality": ("L", "R"),
}
READ = ("SpecificCharacterSet", "ManufacturerModelName", *OF_A_PERSON, *REMOVED, *OF_THE_IMAGE, *UIDS)
"""Elements that are read."""
NOT_STATED = "not stated in the image that this result is of"


def header_of(dataset: Dataset, *, no_patient: bool = False) -> Dataset:
    """Copy the attributes of an image that its results share.

    Args:
        dataset: The image, of which the elements of `READ` are used.
        no_patient: Whether those of the patient and of the study are left out.

    Raises:
        DicomError: The image lacks a UID by which results refer to it, or one is invalid.
    """
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings hold the values
        for keyword in (*(() if no_patient else OF_A_PERSON), *REMOVED, *OF_THE_IMAGE):
            _copy(dataset, header, keyword)
        for keyword in UIDS:
            setattr(header, keyword, _uid(dataset, keyword))
    for keyword in TYPE_2:
        if keyword not in header:
            setattr(header, keyword, "")
    _complete(header)
    return header


def shared(header: Dataset) -> Iterable[str]:
    """Keywords of the elements that a result has from the header."""
    return (keyword for keyword in (*OF_A_PERSON, *REMOVED, "TimezoneOffsetFromUTC") if keyword in header)


def _copy(dataset: Dataset, header: Dataset, keyword: str) -> None:
    """Copy an element, unless it is absent or unusable."""
    try:
        value = dataset[keyword].value if keyword in dataset else None
        vr = dataset[keyword].VR if value is not None else ""
        if value is None or value == "":
            return
        if vr == "SQ":
            items = [_item(item) for item in value]
            setattr(header, keyword, Sequence([item for item in items if len(item)]))
            return
        several = isinstance(value, (MultiValue, list))
        if several and dictionary_VM(keyword) == "1":  # a backslash within a text, which divides values
            return
        texts = [str(one).strip() if vr != "US" else int(one) for one in (value if several else [value])]
        if keyword not in AS_THEY_ARE and not all(_is_usable(keyword, vr, text) for text in texts):
            return
        setattr(header, keyword, texts if several else texts[0])
    except (ValueError, TypeError, KeyError, AttributeError, LookupError, NotImplementedError):
        return  # the element cannot be parsed


def _item(dataset: Dataset) -> Dataset:
    """Copy an item of a sequence, without private elements."""
    item = Dataset()
    for element in dataset:
        if element.keyword and not element.tag.is_private and element.keyword != "SpecificCharacterSet":
            _copy(dataset, item, element.keyword)
    return item


def _is_usable(keyword: str, vr: str, text: str | int) -> bool:
    if isinstance(text, int):
        return True
    terms = TERMS.get(keyword)
    if terms is not None:
        return text in terms
    if keyword == "TimezoneOffsetFromUTC":
        return text != "-0000" and re.fullmatch(OFFSET, text) is not None
    if vr == "DA":
        return _is_date(text)
    if vr == "TM":
        return re.fullmatch(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?", text) is not None
    try:
        validate_value(vr, text, config.RAISE)
    except ValueError:
        return False
    return True


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"\d{8}", text):
        return False
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True


def _uid(dataset: Dataset, keyword: str) -> UID:
    try:
        uid = UID(str(dataset.get(keyword) or "").strip())
    except (ValueError, TypeError):
        uid = UID("")
    if not uid:
        raise DicomError("no_uid", f"the file has no {keyword}, so that no result can refer to it")
    if not uid.is_valid:
        raise DicomError("bad_uid", f"the file's {keyword} is no UID, so that no result can refer to it")
    return uid


def _complete(header: Dataset) -> None:
    """Add what the standard demands of elements that are there together."""
    if header.get("PatientIdentityRemoved") == "YES" and not (
        header.get("DeidentificationMethod") or header.get("DeidentificationMethodCodeSequence")
    ):
        header.DeidentificationMethod = NOT_STATED
    needed = ("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialSubjectID")
    has_trial = all(header.get(keyword) for keyword in needed)
    for keyword in TRIAL:
        if not has_trial and keyword in header:
            delattr(header, keyword)
        elif has_trial and keyword not in header:
            setattr(header, keyword, "")
    for keyword in ("OtherPatientIDsSequence", "IssuerOfAccessionNumberSequence"):
        if keyword in header and not header[keyword].value:
            delattr(header, keyword)
