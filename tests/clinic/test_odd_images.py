"""Images that are no frontal radiograph are refused with a reason; odd radiographs have valid results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from radgaze.clinic.objects import Maker
from radgaze.clinic.objects.source import read_source
from radgaze.dicom.error import DicomError
from radgaze.predicting.inputs import Preparation
from tests.clinic.images import dot, read, write_dx
from tests.clinic.validators import errors, needs_dciodvfy

IMAGE = dot((60, 50), (20, 20))


def in_colour(dataset: Dataset) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = bytes(60 * 50 * 3)


def with_two_frames(dataset: Dataset) -> None:
    dataset.NumberOfFrames = 2
    dataset.PixelData = dataset.PixelData * 2


@pytest.mark.parametrize(
    ("reason", "elements", "change"),
    [
        ("not_frontal", {"ViewPosition": "LL"}, None),
        ("not_frontal", {"PatientOrientation": ["A", "F"]}, None),
        ("orientation", {"PatientOrientation": ["L", "R"]}, None),
        ("not_a_radiograph", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, None),
        ("not_a_radiograph", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, None),
        ("not_grey", {}, in_colour),
        ("multi_frame", {}, with_two_frames),
    ],
)
def test_what_is_no_frontal_radiograph_is_refused(
    folder: Path, reason: str, elements: dict[str, Any], change: Callable[[Dataset], None] | None
) -> None:
    path = write_dx(folder / "a.dcm", IMAGE, **elements)
    if change is not None:
        dataset = read(path)
        change(dataset)
        dataset.save_as(path)
    assert refusal(path) == reason


@pytest.mark.parametrize(
    ("reason", "content"),
    [("empty", b""), ("not_dicom", b"hello" * 100), ("not_dicom", b"\x89PNG\r\n\x1a\n" + bytes(300))],
)
def test_other_files_are_refused(folder: Path, reason: str, content: bytes) -> None:
    path = folder / "a.dcm"
    path.write_bytes(content)
    assert refusal(path) == reason


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(folder: Path, share: float) -> None:
    path = write_dx(folder / "a.dcm", IMAGE)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert refusal(path) in ("truncated", "broken", "no_image", "no_uid")


@needs_dciodvfy
@pytest.mark.parametrize(
    "greys", [np.array([[0.0, 1.0]]), np.zeros((30, 20)), dot((20, 900), (10, 400)), dot((700, 9), (300, 4))]
)
def test_results_of_odd_shapes_are_valid(maker: Maker, folder: Path, greys: np.ndarray) -> None:
    path = write_dx(folder / "a.dcm", greys)
    preparation = Preparation.of(maker.predictor.run)
    source = read_source(str(path), side=preparation.side, voi=preparation.voi, no_patient=False)
    results = maker._of(source, preparation)
    assert isinstance(results, list)
    assert errors(results, folder / "out") == []
    assert results[1].dataset.pixel_array.shape[1:] == greys.shape


def refusal(path: Path) -> str:
    """The reason why there are no results of a file."""
    with pytest.raises(DicomError) as error:
        read_source(str(path), side=64, voi="window", no_patient=False)
    return error.value.reason
