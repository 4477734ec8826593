"""A DICOM object that was made, and what all of them have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict

from pydicom.dataset import Dataset
from pydicom.valuerep import DA, DT, TM

from radgaze.clinic.objects.codes import PRIVATE
from radgaze.clinic.objects.header import shared
from radgaze.clinic.objects.options import Kind
from radgaze.clinic.objects.reading import Reading
from radgaze.clinic.objects.source import OWN

if TYPE_CHECKING:
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

RESEARCH_USE = "RESEARCH USE ONLY - NOT FOR DIAGNOSIS"
SERIES = {"sr": 9101, "seg": 9102, "seg_fractional": 9103, "sc": 9104}
"""Series numbers."""
DESCRIPTIONS = {
    "sr": "radgaze report (research use only)",
    "seg": "radgaze regions (research use only)",
    "seg_fractional": "radgaze maps (research use only)",
    "sc": "radgaze overview (research use only)",
}
TIMES = (
    ("ContentDate", "ContentTime"),
    ("InstanceCreationDate", "InstanceCreationTime"),
    ("DateOfSecondaryCapture", "TimeOfSecondaryCapture"),
)
"""Elements that state when an object was made."""


@dataclass(frozen=True)
class Result:
    """A DICOM object.

    Attributes:
        kind: Its kind.
        dataset: The object with its file meta information, ready to be written or sent.
    """

    kind: Kind
    dataset: Dataset


class Common(TypedDict):
    """Arguments that all of highdicom's objects take."""

    series_instance_uid: str
    series_number: int
    sop_instance_uid: str
    instance_number: int
    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str
    series_description: str
    content_qualification: str
    specific_character_set: str
    coding_schemes: list[CodingSchemeIdentificationItem]


def common(reading: Reading, kind: Kind) -> Common:
    """Return the arguments that all of highdicom's objects take."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return Common(
        series_instance_uid=reading.uids("series", kind),
        series_number=SERIES[kind],
        sop_instance_uid=reading.uids("instance", kind),
        instance_number=1,
        manufacturer=OWN,
        manufacturer_model_name=OWN,
        software_versions=reading.model.version,
        device_serial_number=reading.model.weights[:16],
        series_description=DESCRIPTIONS[kind],
        content_qualification="RESEARCH",
        specific_character_set="ISO_IR 192",
        coding_schemes=[
            CodingSchemeIdentificationItem(PRIVATE, name="radgaze", responsible_organization="radgaze")
        ],
    )


def finished(dataset: Dataset, reading: Reading, kind: Kind) -> Result:
    """Give an object the attributes that the image shares with its results."""
    header = reading.source.header
    for keyword in shared(header):
        dataset[keyword] = header[keyword]
    if "TimezoneOffsetFromUTC" in header:
        _move(dataset, str(header.TimezoneOffsetFromUTC))
    if kind != "sr":
        dataset.BodyPartExamined = header.get("BodyPartExamined") or "CHEST"
    if kind in ("seg", "seg_fractional"):
        dataset.PatientOrientation = header.get("PatientOrientation")
    return Result(kind, dataset)


def _move(dataset: Dataset, offset: str) -> None:
    """Move the times of an object that highdicom took from the machine's clock to the zone of the image.

    Args:
        dataset: The object, whose Timezone Offset From UTC holds for all its times.
        offset: The offset, as +0100.
    """
    zone = datetime.strptime(offset, "%z").tzinfo
    for day, time in TIMES:
        if day in dataset and time in dataset:
            moment = datetime.combine(dataset[day].value, dataset[time].value).astimezone(zone)
            setattr(dataset, day, DA(moment.date()))
            setattr(dataset, time, TM(moment.time()))
    for item in dataset.get("ContributingEquipmentSequence", ()):
        if "ContributionDateTime" in item:
            moment = item.ContributionDateTime.astimezone(zone)
            item.ContributionDateTime = DT(moment.replace(tzinfo=None))


def decision_in_words(reading: Reading) -> str:
    """Describe the decision of the reject option on one line."""
    if reading.decision is None:
        return "no reject option was chosen for this model"
    verdict = "accepted" if reading.decision.accept else "refer to a reader"
    return f"{verdict}: {reading.decision.reason}"
