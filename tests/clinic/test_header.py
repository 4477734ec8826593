"""Attributes of patient and study: copied in any character set, without private ones and broken values."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radgaze.clinic.objects import Maker
from radgaze.clinic.objects.files import save
from radgaze.clinic.objects.header import header_of
from radgaze.clinic.objects.source import read_source
from radgaze.dicom.error import DicomError
from radgaze.predicting.inputs import Preparation
from tests.clinic.images import dot, read, write_dx
from tests.clinic.validators import errors, needs_dciodvfy

IMAGE = dot((60, 50), (20, 20))
NAMES = {
    "ISO_IR 192": "王^小東",
    "GB18030": "王^小东",
    "ISO_IR 144": "Люкceмбypг^Иван",
    "ISO_IR 100": "Äneas^Rüdiger",
    ("", "ISO 2022 IR 87"): "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ("", "ISO 2022 IR 149"): "Hong^Gildong=洪^吉洞=홍^길동",
}


@needs_dciodvfy
@pytest.mark.parametrize("charset", NAMES)
def test_names_are_the_same_in_any_character_set(
    maker: Maker, folder: Path, charset: str | tuple[str, ...]
) -> None:
    name = NAMES[charset]
    stated = charset if isinstance(charset, str) else list(charset)
    path = write_dx(folder / "a.dcm", IMAGE, SpecificCharacterSet=stated, PatientName=name)
    results = maker(path)
    assert errors(results, folder / "out") == []
    for each in results:
        written = read(folder / "out" / f"{each.kind}.dcm")
        assert str(written.PatientName) == str(read(path).PatientName) == name


def test_classes_in_any_script_stand_in_the_objects(maker: Maker, folder: Path) -> None:
    from dataclasses import replace

    path = write_dx(folder / "a.dcm", IMAGE)
    preparation = Preparation.of(maker.predictor.run)
    source = read_source(str(path), side=64, voi="window", no_patient=False)
    reading = maker.read(source, preparation)
    names = {"Normal": "正常", "CHF": "Herzvergrößerung", "pneumonia": "x" * 200 + "\\\n"}
    renamed = replace(
        reading,
        probabilities={names[name]: p for name, p in reading.probabilities.items()},
        heatmaps={names[name]: values for name, values in reading.heatmaps.items()},
        predicted=tuple(names[name] for name in reading.predicted),
    )
    from radgaze.clinic.objects.library import quiet
    from radgaze.clinic.objects.making import MAKERS

    with quiet():
        results = [made(renamed) for made in MAKERS.values()]
    save(results, folder / "out")
    segments = read(folder / "out" / "seg.dcm").SegmentSequence
    assert segments[0].SegmentLabel == "正常"
    modifier = segments[0].SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert (modifier.CodingSchemeDesignator, modifier.CodeMeaning) == ("99RADGAZE", "正常")
    assert len(modifier.CodeValue) <= 16


def test_private_elements_are_left_behind(folder: Path) -> None:
    path = write_dx(folder / "a.dcm", IMAGE)
    dataset = read(path)
    block = dataset.private_block(0x0011, "SECRET MAKER", create=True)
    block.add_new(0x01, "LO", "secretprivate")
    item = Dataset()
    item.PatientID, item.TypeOfPatientID = "other", "TEXT"
    item.private_block(0x0011, "SECRET MAKER", create=True).add_new(0x01, "LO", "secretprivate")
    dataset.OtherPatientIDsSequence = Sequence([item])
    header = header_of(dataset)
    assert header.OtherPatientIDsSequence[0].PatientID == "other"
    assert "secretprivate" not in str(header)
    assert not any(element.tag.is_private for element in header.iterall())


def test_missing_elements_of_type_2_are_there_and_empty() -> None:
    dataset = Dataset()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = "1.2", "1.3", "1.4"
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    header = header_of(dataset)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate"):
        assert keyword in header
        assert not header[keyword].value


@pytest.mark.parametrize(
    ("keyword", "wrong"),
    [
        ("PatientBirthDate", "19450230"),
        ("PatientBirthDate", "1945-05-08"),
        ("StudyTime", "25"),
        ("PatientSex", "Female"),
        ("PatientAge", "71"),
        ("PatientIdentityRemoved", "perhaps"),
        ("PatientWeight", "heavy"),
        *(("TimezoneOffsetFromUTC", text) for text in ("JST", "-0000", "-1201", "+1401", "+0960")),
    ],
)
def test_values_that_are_none_of_their_element_are_left_out(keyword: str, wrong: str) -> None:
    dataset = Dataset()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = "1.2", "1.3", "1.4"
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            setattr(dataset, keyword, wrong)
        except ValueError:
            pytest.skip("pydicom does not make it")
        assert not header_of(dataset).get(keyword)


def test_a_text_with_a_backslash_is_not_copied_as_two_values(folder: Path) -> None:
    values: dict[str, Any] = {"PatientID": "A\\B", "StudyDescription": "CHEST\\PA"}
    names = ["A^B", "C^D"]
    path = write_dx(folder / "a.dcm", IMAGE, OtherPatientNames=names, **values)
    header = header_of(read(path))
    assert header.PatientID == ""
    assert "StudyDescription" not in header
    assert [str(name) for name in header.OtherPatientNames] == names


@pytest.mark.parametrize("removed", ["YES", "NO"])
def test_a_de_identified_image_has_de_identified_results(maker: Maker, folder: Path, removed: str) -> None:
    path = write_dx(
        folder / "a.dcm",
        IMAGE,
        PatientName="",
        PatientID="anon",
        PatientIdentityRemoved=removed,
        DeidentificationMethod="by hand",
        LongitudinalTemporalInformationModified="MODIFIED",
    )
    for result in maker(path):
        assert result.dataset.PatientIdentityRemoved == removed
        assert result.dataset.DeidentificationMethod == "by hand"
        assert result.dataset.LongitudinalTemporalInformationModified == "MODIFIED"
        assert not result.dataset.PatientName


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
)
@pytest.mark.parametrize("value", [None, "", "not-a-uid", "1.2.03"])
def test_an_image_without_a_usable_uid_has_no_results(folder: Path, keyword: str, value: str | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        elements: dict[str, Any] = {keyword: value}
        path = write_dx(folder / "a.dcm", IMAGE, **elements)
        with pytest.raises(DicomError) as error:
            read_source(str(path), side=64, voi="window", no_patient=False)
    assert error.value.reason in ("no_uid", "bad_uid", "not_a_radiograph")
    assert "not-a-uid" not in str(error.value)
