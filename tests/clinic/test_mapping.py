"""Maps lie on the pixels of the file that they came from, in every orientation, encoding and fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from radgaze.clinic.objects import Maker
from radgaze.clinic.objects.capture import _on_picture, capture
from radgaze.clinic.objects.mapping import in_file, on_image
from radgaze.clinic.objects.segments import maps_as_segments, regions_as_segments
from radgaze.clinic.objects.source import read_source
from radgaze.dicom.view import Turn, turn_of
from radgaze.gaze.spec import Geometry
from radgaze.predicting.inputs import Preparation
from radgaze.store.placement import Fit, Frame
from tests.clinic.images import ORIENTATIONS, SYNTAXES, dot, write_dx

SHAPES = ((180, 240), (240, 150), (97, 131))


def looking_at_itself(maker: Maker) -> Maker:
    """The maker with heatmaps that are the image itself, so that a dot in the file is a dot on the map."""

    def image(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return images

    return replace(maker, generators=(image,))  # type: ignore[arg-type]  # called like a generator


def centre(values: np.ndarray) -> tuple[float, float]:
    """Row and column of the centroid of what is above half of the maximum."""
    inside = np.where(values >= 0.5 * values.max(), values, 0).astype(float)
    y, x = np.mgrid[: values.shape[0], : values.shape[1]]
    return float((inside * y).sum() / inside.sum()), float((inside * x).sum() / inside.sum())


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("photometric", ["MONOCHROME2", "MONOCHROME1"])
@pytest.mark.parametrize("orientation", [*ORIENTATIONS, None])
def test_a_dot_in_the_file_is_a_dot_on_the_same_pixel_of_the_segmentation(
    maker: Maker, folder: Path, orientation: tuple[str, str] | None, photometric: str, fit: Fit
) -> None:
    shape, at = (180, 240), (50, 170)
    path = write_dx(
        folder / "dot.dcm",
        dot(shape, at, 8),
        PatientOrientation=None if orientation is None else list(orientation),
        PhotometricInterpretation=photometric,
    )
    source = read_source(str(path), side=160, voi="window", no_patient=False)
    reading = looking_at_itself(maker).read(source, Preparation(160, "window", fit, 128))
    maps = maps_as_segments(reading).dataset
    assert (maps.Rows, maps.Columns) == shape
    for frame in maps.pixel_array[:3]:
        assert np.abs(np.subtract(centre(frame), at)).max() < 0.75
    regions = regions_as_segments(replace(reading, predicted=tuple(reading.heatmaps))).dataset
    for frame in regions.pixel_array[:3]:
        assert np.abs(np.subtract(centre(frame), at)).max() < 1
        assert frame[at] == 1
    name = next(iter(reading.heatmaps))
    on_picture = centre(_on_picture(reading, reading.heatmaps[name]))
    assert np.abs(np.subtract(on_picture, centre(source.picture))).max() < 3
    assert capture(reading).dataset.Rows > source.picture.shape[0]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_compressed_files_give_the_same_maps(maker: Maker, folder: Path, syntax: str) -> None:
    at = (40, 61)
    path = write_dx(folder / "dot.dcm", dot((97, 131), at), syntax=syntax)
    source = read_source(str(path), side=160, voi="window", no_patient=False)
    reading = looking_at_itself(maker).read(source, Preparation(160, "window", "stretch", 128))
    assert np.abs(np.subtract(centre(maps_as_segments(reading).dataset.pixel_array[0]), at)).max() < 0.75


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_a_map_of_its_own_coordinates_gives_those_of_each_pixel_centre(
    shape: tuple[int, int], fit: Fit
) -> None:
    size = 64
    geometry = Frame(*shape, 100).geometry(fit, size)
    y, x = np.mgrid[:size, :size] + 0.5
    rows, columns = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    down, across = on_image(y, geometry), on_image(x, geometry)
    expected = np.clip(rows * geometry.scale_y + geometry.shift_y, 0.5, size - 0.5)
    np.testing.assert_allclose(down, np.broadcast_to(expected[:, None], shape), atol=1e-4)
    expected = np.clip(columns * geometry.scale_x + geometry.shift_x, 0.5, size - 0.5)
    np.testing.assert_allclose(across, np.broadcast_to(expected, shape), atol=1e-4)


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("horizontal", [False, True])
def test_a_turn_is_undone(diagonal: bool, vertical: bool, horizontal: bool) -> None:
    turn, pixels = Turn(diagonal, vertical, horizontal), np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(turn.undone(turn.applied(pixels)), pixels)
    assert bool(turn) == (diagonal or vertical or horizontal)


def test_a_map_of_an_image_on_its_side_has_the_shape_of_the_file() -> None:
    values = np.zeros((8, 8), np.float32)
    laid = in_file(values, Geometry(30, 20, 0.4, 8 / 30), Turn(diagonal=True))
    assert laid.shape == (20, 30)
    from pydicom.dataset import Dataset

    assert turn_of(Dataset()) == Turn()
