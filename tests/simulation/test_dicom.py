from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, JPEG2000Lossless

from radgaze.simulation.anatomy import Pose, Thorax
from radgaze.simulation.dicom import spoil, write_image
from radgaze.simulation.plan import Case

CASE = Case(
    0, 0, 0, "00000000-11111111-22222222-33333333-44444444", 10000001, 50000001, 30000001, "CHF", "train", "x"
)


def written(folder: Path, seed: int) -> tuple[np.ndarray, pydicom.Dataset]:
    rng = np.random.default_rng(seed)
    pose = Pose.draw(rng, Thorax.draw(rng), 96)
    pixels = rng.integers(200, 4000, (pose.height, pose.width)).astype(np.uint16)
    path = folder / f"{seed}.dcm"
    write_image(path, pixels, CASE, pose, "F", rng)
    return pixels, pydicom.dcmread(path)


def test_pixels_come_back_whatever_the_photometric_interpretation(tmp_path: Path) -> None:
    kinds = set()
    for seed in range(120):
        pixels, ds = written(tmp_path, seed)
        back = ds.pixel_array
        if ds.PhotometricInterpretation == "MONOCHROME1":
            back = 4095 - back
        kinds.add((ds.PhotometricInterpretation, ds.file_meta.TransferSyntaxUID, "PixelPaddingValue" in ds))
        real = back != 0 if "PixelPaddingValue" in ds else np.ones(back.shape, bool)
        np.testing.assert_array_equal(back[real], pixels[real])
        assert real.mean() > 0.9
    assert {kind[0] for kind in kinds} == {"MONOCHROME1", "MONOCHROME2"}
    assert {kind[1] for kind in kinds} == {ExplicitVRLittleEndian, JPEG2000Lossless}
    assert {kind[2] for kind in kinds} == {True, False}


def test_the_window_covers_most_of_the_picture(tmp_path: Path) -> None:
    for seed in range(30):
        _, ds = written(tmp_path, seed)
        if "WindowCenter" not in ds:
            continue
        centre, width = np.atleast_1d(ds.WindowCenter)[0], np.atleast_1d(ds.WindowWidth)[0]
        values = ds.pixel_array
        inside = (values >= float(centre) - float(width) / 2) & (values <= float(centre) + float(width) / 2)
        assert inside.mean() > 0.8


def test_the_header_is_that_of_a_digital_x_ray_without_a_person(archive: Path) -> None:
    from pydicom.errors import InvalidDicomError

    read = 0
    for path in (archive / "mimic" / "files").rglob("*.dcm"):
        try:
            ds = pydicom.dcmread(path)
            ds.pixel_array  # noqa: B018
        except (InvalidDicomError, EOFError, ValueError, AttributeError, KeyError, NotImplementedError):
            continue
        read += 1
        assert ds.SOPClassUID == DigitalXRayImageStorageForPresentation
        assert (ds.Modality, ds.BitsAllocated, ds.BitsStored, ds.HighBit) == ("DX", 16, 12, 11)
        assert max(ds.Rows, ds.Columns) == 128
        assert ds.PixelRepresentation == 0
        assert str(ds.PatientName) == ds.PatientBirthDate == ds.AccessionNumber == ""
        assert f"p{ds.PatientID}" in path.parts
        assert int(ds.StudyDate[:4]) >= 2110
    assert read > 30


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_a_spoilt_file_cannot_be_decoded(tmp_path: Path, kind: int) -> None:
    written(tmp_path, 3)
    spoil(tmp_path / "3.dcm", kind)
    with pytest.raises(Exception):  # noqa: B017, PT011 - pydicom raises whatever the cut happens to break
        pydicom.dcmread(tmp_path / "3.dcm").pixel_array  # noqa: B018
