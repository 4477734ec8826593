"""The objects: valid, in the image's study, the same when they are made again, and read back by highdicom."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from radgaze.clinic.objects import KINDS, Maker, ObjectOptions, Result, make
from radgaze.clinic.objects.files import save
from radgaze.clinic.objects.result import RESEARCH_USE
from radgaze.clinic.objects.source import read_source
from radgaze.clinic.objects.threshold import GRID, dice_at
from radgaze.dicom.error import DicomError
from radgaze.errors import UserError
from radgaze.predicting.inputs import Preparation
from radgaze.runs.run import Run
from tests.clinic.images import SECRETS, SYNTAXES, dot, read, uid, write_dx, write_jpeg
from tests.clinic.validators import errors, needs_dciodvfy

IMAGE = dot((90, 120), (30, 70), 12)


def made(maker: Maker, path: Path) -> list[Result]:
    """The objects of a file, read in this process."""
    preparation = Preparation.of(maker.predictor.run)
    no_patient = maker.options.no_patient
    source = read_source(str(path), side=preparation.side, voi=preparation.voi, no_patient=no_patient)
    results = maker._of(source, preparation)
    assert isinstance(results, list)
    return results


def by_kind(results: list[Result]) -> dict[str, Result]:
    return {each.kind: each for each in results}


def words_of(dataset: Dataset) -> str:
    """All values of an object."""
    return "\n".join(str(element.value) for element in dataset.iterall() if element.VR != "SQ")


def test_each_kind_is_one_new_series_in_the_study_of_the_image(maker: Maker, folder: Path) -> None:
    path = write_dx(folder / "a.dcm", IMAGE)
    results = maker(path)
    assert tuple(each.kind for each in results) == KINDS
    image = read(path)
    series = {str(each.dataset.SeriesInstanceUID) for each in results}
    assert len(series) == len(KINDS)
    assert str(image.SeriesInstanceUID) not in series
    for each in results:
        dataset = each.dataset
        assert dataset.StudyInstanceUID == image.StudyInstanceUID
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientAge", "StudyDate"):
            assert str(dataset[keyword].value) == str(image[keyword].value)
        for value in (dataset.SOPInstanceUID, dataset.SeriesInstanceUID):
            assert value.startswith("2.25.")
            assert len(value) <= 64


@needs_dciodvfy
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_dciodvfy_finds_nothing(maker: Maker, folder: Path, syntax: str) -> None:
    path = write_dx(folder / "a.dcm", IMAGE, syntax=syntax)
    assert errors(made(maker, path), folder / "out") == []


@needs_dciodvfy
@pytest.mark.parametrize(
    "elements",
    [
        dict.fromkeys(("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyID")),
        dict.fromkeys(("StudyTime", "AccessionNumber", "ReferringPhysicianName", "PatientOrientation")),
        {"BodyPartExamined": None},
        {"PatientBirthDate": "1945-05-08", "PatientSex": "Female", "StudyTime": "25:00", "PatientAge": "71"},
        {"PatientIdentityRemoved": "YES"},
        {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "by hand"},
        {"PatientOrientation": ["H", "L"], "ImageLaterality": "U"},
        {"PatientOrientation": ["R", "H"], "Laterality": "L"},
        {"LossyImageCompression": "01", "LossyImageCompressionRatio": 10, "PatientName": "A^B^C^D^E"},
        {"ClinicalTrialSponsorName": "S", "ClinicalTrialProtocolID": "P", "ClinicalTrialSubjectID": "1"},
        {"ClinicalTrialSponsorName": "S"},
        {"FrameOfReferenceUID": "1.2.3", "PositionReferenceIndicator": ""},
    ],
)
def test_dciodvfy_finds_nothing_whatever_the_header_lacks(
    maker: Maker, folder: Path, elements: dict[str, Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about what the file gets here
        path = write_dx(folder / "a.dcm", IMAGE, **elements)
        results = made(maker, path)
    assert errors(results, folder / "out") == []


def test_the_same_image_and_options_give_the_same_uids_and_others_do_not(
    maker: Maker, run: Run, folder: Path
) -> None:
    path = write_dx(folder / "a.dcm", IMAGE)
    first, again = made(maker, path), made(Maker.of(run, ObjectOptions(device="cpu")), path)
    for one, other in zip(first, again, strict=True):
        differing = {e.keyword for e in one.dataset if e != other.dataset.get(e.tag)}
        dates = ("Date", "Time", "Capture", "ContributingEquipmentSequence")  # which has a time
        assert all(word.endswith(dates) for word in differing), differing
    others = [
        made(maker, write_dx(folder / "b.dcm", IMAGE)),
        made(replace(maker, options=ObjectOptions(no_patient=True, device="cpu")), path),
        made(replace(maker, model=replace(maker.model, weights="0" * 64)), path),
    ]
    uids = [str(each.dataset.SOPInstanceUID) for results in (first, *others) for each in results]
    series = [str(each.dataset.SeriesInstanceUID) for results in (first, *others) for each in results]
    assert len(set(uids + series)) == 2 * 4 * len(KINDS)


@pytest.mark.parametrize("offset", ["+0900", "-0330"])
def test_times_are_in_the_zone_that_the_object_states(maker: Maker, folder: Path, offset: str) -> None:
    save(made(maker, write_dx(folder / "a.dcm", IMAGE, TimezoneOffsetFromUTC=offset)), folder / "out")
    for kind in KINDS:
        dataset = read(folder / "out" / f"{kind}.dcm")
        assert dataset.TimezoneOffsetFromUTC == offset
        assert (dataset.StudyDate, dataset.StudyTime) == ("20200102", "101112.5")
        words = [
            dataset.ContentDate + dataset.ContentTime,
            dataset.InstanceCreationDate + dataset.InstanceCreationTime,
            *(each.ContributionDateTime for each in dataset.ContributingEquipmentSequence),
        ]
        if kind == "sc":
            words.append(dataset.DateOfSecondaryCapture + dataset.TimeOfSecondaryCapture)
        for each in words:
            moment = datetime.strptime(each[:14] + offset, "%Y%m%d%H%M%S%z")
            assert abs((datetime.now(UTC) - moment).total_seconds()) < 600


def test_the_report_says_what_was_predicted_by_what_and_for_what_use(maker: Maker, folder: Path) -> None:
    import highdicom as hd

    path = write_dx(folder / "a.dcm", IMAGE)
    save(made(maker, path), folder / "out")
    document: Any = hd.sr.srread(folder / "out" / "sr.dcm")
    assert document.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.34"
    assert (document.VerificationFlag, document.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    groups = document.content.get_image_measurement_groups()
    classes = maker.predictor.run.classes
    assert len(groups) == 1 + len(classes)
    prediction = maker.read(
        read_source(str(path), side=64, voi="window", no_patient=False), Preparation.of(maker.predictor.run)
    )
    for group, name in zip(groups[1:], classes, strict=True):
        (measurement,) = group.get_measurements()
        assert measurement.name.value == "122157"
        assert measurement.value == pytest.approx(prediction.probabilities[name], abs=1e-6)
        assert group.source_images[0].referenced_sop_instance_uid == read(path).SOPInstanceUID
    assert [group.finding_type.meaning for group in groups[1:]] == [
        "Normal",
        "Congestive heart failure",
        "pneumonia",
    ]
    text = words_of(document)
    for words in (maker.model.weights, "radgaze", RESEARCH_USE, "Not calibrated", "No reject option"):
        assert words in text


def test_the_report_has_the_decision_and_the_calibrated_probability(maker: Maker, folder: Path) -> None:
    from radgaze.evaluation.referral.selective import Referral, ReferralValidation

    classes = maker.predictor.run.classes
    rule = Referral(
        classes=classes,
        kind="softmax",
        score="maximum",
        temperature=1.0,
        magnitude=0.0,
        threshold=-1.0,
        goal="coverage",
        value=0.9,
        calibration=2.0,
        validation=ReferralValidation(10, 1, 0.9, 0.1, 0.1),
    )
    predictor = replace(maker.predictor, referral=rule)
    refer = replace(maker, predictor=predictor, model=replace(maker.model, temperature=2.0))
    report = by_kind(made(refer, write_dx(folder / "a.dcm", IMAGE)))["sr"].dataset
    text = words_of(report)
    for words in ("Refer to a reader", "is above -1.000", "temperature 2", "Probability after temperature"):
        assert words in text
    accept = replace(refer, predictor=replace(predictor, referral=replace(rule, threshold=1.0)))
    text = words_of(by_kind(made(accept, folder / "a.dcm"))["sr"].dataset)
    assert "Prediction accepted" in text
    assert "is within 1.000" in text


def test_the_segmentations_refer_to_the_image_and_have_a_segment_for_each_class_and_the_mask(
    maker: Maker, folder: Path
) -> None:
    import highdicom as hd

    path = write_dx(folder / "a.dcm", IMAGE)
    image, classes = read(path), maker.predictor.run.classes
    save(made(maker, path), folder / "out")
    maps = hd.seg.segread(folder / "out" / "seg_fractional.dcm")
    regions = hd.seg.segread(folder / "out" / "seg.dcm")
    for each in (maps, regions):
        (series,) = each.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == image.SeriesInstanceUID
        assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
        assert "FrameOfReferenceUID" not in each
        labels = [each.get_segment_description(k).segment_label for k in each.segment_numbers]
        assert labels == [*classes, "mask"]
    assert maps.SegmentationType == "FRACTIONAL"
    pixels = maps.get_pixels_by_source_instance([image.SOPInstanceUID], rescale_fractional=True)
    assert pixels.shape == (1, *IMAGE.shape, 1 + len(classes))
    assert pixels[..., :-1].max() == pytest.approx(1, abs=0.02)
    assert regions.SegmentationType == "BINARY"
    shown = regions.get_pixels_by_source_instance([image.SOPInstanceUID])[0]
    predicted = [name in str(regions.SegmentSequence[k].SegmentDescription) for k, name in enumerate(classes)]
    assert all(predicted)
    inside = shown.any((0, 1))[:-1]
    assert inside.sum() == 1  # that of the one predicted class
    chosen = int(inside.argmax())
    whole, region = pixels[0, ..., chosen], shown[..., chosen] > 0
    threshold = maker.model.thresholds.heatmap.value
    # The maps of the fractional object are in steps of 1/255.
    certain = np.abs(whole - threshold) > 1 / 255
    np.testing.assert_array_equal((whole >= threshold)[certain], region[certain])


def test_the_picture_is_in_colour_and_says_that_text_is_burnt_in(maker: Maker, folder: Path) -> None:
    picture = by_kind(made(maker, write_dx(folder / "a.dcm", IMAGE)))["sc"].dataset
    assert picture.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert (picture.PhotometricInterpretation, picture.BurnedInAnnotation) == ("RGB", "YES")
    assert picture.PatientOrientation == ["L", "F"]
    pixels = picture.pixel_array
    assert pixels.shape == (picture.Rows, picture.Columns, 3)
    warning = np.array([255, 200, 60])
    assert (np.abs(pixels[:40].astype(int) - warning).max(2) < 10).sum() > 200  # the words at the top


@pytest.mark.parametrize("stated", [None, "00", "01"])
def test_results_of_a_lossy_image_say_so_also_where_its_header_does_not(
    maker: Maker, folder: Path, stated: str | None
) -> None:
    results = by_kind(made(maker, write_jpeg(folder / "a.dcm", IMAGE, LossyImageCompression=stated)))
    for kind in ("seg", "seg_fractional", "sc"):
        assert results[kind].dataset.LossyImageCompression == "01"


@pytest.mark.parametrize(
    ("stated", "shown"),
    [(["L", "F"], ["L", "F"]), (["R", "H"], ["L", "F"]), (["H", "L"], ["L", "F"]), (None, [])],
)
def test_the_picture_is_upright(
    maker: Maker, folder: Path, stated: list[str] | None, shown: list[str]
) -> None:
    path = write_dx(folder / "a.dcm", IMAGE, PatientOrientation=stated)
    assert list(by_kind(made(maker, path))["sc"].dataset.PatientOrientation or []) == shown


def test_without_the_patient_only_uids_are_left(maker: Maker, folder: Path) -> None:
    path = write_dx(folder / "a.dcm", IMAGE)
    nameless = replace(maker, options=ObjectOptions(no_patient=True, device="cpu"))
    save(made(nameless, path), folder / "out")
    for kind in KINDS:
        content = (folder / "out" / f"{kind}.dcm").read_bytes()
        for secret in (*SECRETS, "secretaccessio", "20200102", "071Y", "CHEST\0"):
            assert secret.encode() not in content
        assert uid("study").encode() in content


def test_nothing_about_the_patient_is_logged_or_warned_of(
    maker: Maker, folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about what the file gets here
        path = write_dx(folder / "a.dcm", IMAGE, PatientSex="Secretname", PatientID="s3cretnumber" * 9)
    caplog.clear()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        save(maker(path), folder / "out")
    said = capfd.readouterr()
    words = caplog.text + said.out + said.err + " ".join(str(each.message) for each in warned)
    for secret in (*SECRETS, str(uid("study")), str(uid("instance a"))):
        assert secret not in words


def test_bytes_are_read_like_the_file(maker: Maker, folder: Path) -> None:
    path = write_dx(folder / "a.dcm", IMAGE)
    of_bytes = make(maker, path.read_bytes())
    expected = {str(each.dataset.SOPInstanceUID) for each in made(maker, path)}
    assert {str(each.dataset.SOPInstanceUID) for each in of_bytes} == expected


def test_a_result_is_never_taken_for_an_image(maker: Maker, folder: Path) -> None:
    save(made(maker, write_dx(folder / "a.dcm", IMAGE)), folder / "out")
    for kind in KINDS:
        with pytest.raises(DicomError) as error:
            read_source(str(folder / "out" / f"{kind}.dcm"), side=64, voi="window", no_patient=False)
        assert error.value.reason == "own_result"


def test_options_are_checked() -> None:
    wrong = ({"kinds": ("report",)}, {"kinds": ()}, {"method": "all"}, {"method": "magic"}, {"device": "x"})
    given: Any
    for given in wrong:
        with pytest.raises(UserError):
            ObjectOptions(**given)


def test_without_the_extra_the_error_says_what_to_install(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from radgaze.clinic.objects import library

    monkeypatch.setattr(library, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "radgaze\[clinic\]"'):
        Maker.of(run)


def test_options_need_no_torch() -> None:
    code = "import sys, radgaze.clinic.objects as o; o.ObjectOptions(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_threshold_is_chosen_on_validation_cases_and_kept(run: Run, maker: Maker) -> None:
    import json

    kept = json.loads((run.path / "map_thresholds.json").read_text())
    assert kept["weights"] == maker.model.weights
    chosen = maker.model.thresholds.heatmap
    assert chosen.cases > 0
    assert chosen.value in GRID
    assert kept["methods"]["guided_backprop"]["heatmap"]["value"] == chosen.value


def test_dice_is_one_where_the_region_above_the_threshold_is_the_region() -> None:
    values = np.linspace(0, 1, 100).reshape(1, 10, 10)
    region = values >= 0.7
    shares = dice_at(values, region)[0]
    assert GRID[int(shares.argmax())] == pytest.approx(0.7)
    assert shares.max() == 1
    t = GRID.index(0.5)
    assert shares[t] == pytest.approx(2 * 30 / (50 + 30), abs=0.02)
