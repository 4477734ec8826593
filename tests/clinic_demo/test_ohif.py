"""A study with the worker's results, as a reader sees it: in OHIF, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.pixels.utils import pack_bits
from pydicom.uid import generate_uid
from scipy.ndimage import distance_transform_edt
from tools.clinic.viewer import Viewer, opened, wait_until

from tests.clinic_demo.conftest import Clinic

pytestmark = [pytest.mark.clinic, pytest.mark.timeout(600)]

REGIONS, REPORT, PICTURE, KNOWN = "radgaze regions", "radgaze report", "radgaze overview", "known pixels"
COLOURED = 30
"""Difference between two channels of a pixel from which on it counts as coloured."""


@dataclass(frozen=True)
class Study:
    """A study in the viewer.

    Attributes:
        viewer: The viewer.
        segment: Pixels of the image that the segmentation `KNOWN` marks, (H, W).
    """

    viewer: Viewer
    segment: NDArray[np.bool_]


@pytest.fixture(scope="module")
def study(clinic: Clinic) -> Iterator[Study]:
    regions = result(clinic, "SEG")
    segment = known_pixels(regions.Rows, regions.Columns)
    clinic.pacs.store_instances([with_pixels(regions, segment)])
    with opened(clinic.address, clinic.studies[0]) as viewer:
        yield Study(viewer, segment)


def result(clinic: Clinic, modality: str) -> pydicom.Dataset:
    """The result of a modality that the worker stored for the first study."""
    series = clinic.pacs.search_for_series(clinic.studies[0], search_filters={"Modality": modality})
    (instance,) = clinic.pacs.retrieve_series(clinic.studies[0], series[0]["0020000E"]["Value"][0])
    return instance


def known_pixels(rows: int, columns: int) -> NDArray[np.bool_]:
    """Two shapes that no turn, mirroring or shift maps onto themselves."""
    segment = np.zeros((rows, columns), bool)
    segment[rows // 8 : rows // 3, columns // 10 : columns // 4] = True
    y, x = np.mgrid[:rows, :columns]
    segment |= np.hypot(y - 0.7 * rows, x - 0.6 * columns) < 0.1 * rows
    return segment


def with_pixels(regions: pydicom.Dataset, segment: NDArray[np.bool_]) -> pydicom.Dataset:
    """A segmentation like the worker's, in a series of its own, whose first frame marks the given pixels."""
    made = deepcopy(regions)
    frames = np.zeros((int(made.NumberOfFrames), *segment.shape), np.uint8)
    frames[0] = segment
    made.PixelData = pack_bits(frames)
    made.SeriesDescription = KNOWN
    made.SeriesInstanceUID, made.SOPInstanceUID = generate_uid(), generate_uid()
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def on_canvas(shape: tuple[int, ...], canvas: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column on the canvas of each pixel's centre; the image fills the canvas as far as it fits."""
    scale = min(canvas[0] / shape[0], canvas[1] / shape[1])
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    y = canvas[0] / 2 + (rows - shape[0] / 2) * scale
    x = canvas[1] / 2 + (columns - shape[1] / 2) * scale
    return y.astype(np.intp), x.astype(np.intp)


def coloured(viewer: Viewer, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether each pixel of an image is coloured on the canvas."""
    canvas = viewer.canvas().astype(int)
    values = canvas[on_canvas(shape, canvas.shape)]
    return np.asarray(np.ptp(values, axis=-1) > COLOURED)


def test_the_list_has_the_radiograph_and_each_result_once(study: Study) -> None:
    wait_until(lambda: len(study.viewer.series()) == 5)
    series = study.viewer.series()
    assert sorted(each.split()[0] for each in series) == ["DX", "OT", "SEG", "SEG", "SR"]
    for words in (f"SR {REPORT}", f"SEG {REGIONS}", f"OT {PICTURE}"):
        assert sum(each.startswith(words) for each in series) == 1


def test_the_segmentation_lies_over_the_pixels_that_it_marks_and_no_others(study: Study) -> None:
    segment = study.segment
    assert not coloured(study.viewer, segment.shape).any()
    study.viewer.show(KNOWN)
    wait_until(lambda: bool(coloured(study.viewer, segment.shape).any()))
    shown = coloured(study.viewer, segment.shape)
    inside = distance_transform_edt(segment) > 2
    outside = distance_transform_edt(~segment) > 2
    assert shown[inside].mean() > 0.99
    assert shown[outside].mean() < 0.001


def test_the_report_is_shown_as_text_with_the_probability_of_each_class(study: Study, clinic: Clinic) -> None:
    study.viewer.show(REPORT)
    wait_until(lambda: "Imaging Measurement Report" in study.viewer.text())
    text = study.viewer.text()
    values = [item.MeasuredValueSequence[0].NumericValue for item in numbers(result(clinic, "SR"))]
    assert len(values) == 3
    assert all(f"Probability: {float(value):g}" in text for value in values)
    assert "Research use only" in text


def test_the_picture_is_shown_in_colour(study: Study) -> None:
    study.viewer.show(PICTURE)
    wait_until(lambda: bool((np.ptp(study.viewer.canvas().astype(int), axis=-1) > COLOURED).mean() > 0.01))


def test_the_page_asks_no_other_host_and_its_scripts_do_not_fail(study: Study) -> None:
    assert study.viewer.elsewhere == []
    assert study.viewer.errors == []


def numbers(item: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    """Items of a report with a probability."""
    for child in item.get("ContentSequence", ()):
        if child.ValueType == "NUM" and child.ConceptNameCodeSequence[0].CodeMeaning == "Probability":
            yield child
        yield from numbers(child)
