"""Every kind of JPEG gives the pixels that were encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("imagecodecs")
pytest.importorskip("libjpeg")

from radgaze.dicom.error import DicomError
from radgaze.dicom.read import read_image
from tests.dicom.jpeg import KINDS, write_jpeg

CASES = [(kind, bits) for kind, (_, _, depths, _) in KINDS.items() for bits in depths]


def smooth(bits: int) -> np.ndarray:
    """What JPEG was made for, over the whole range."""
    y, x = np.mgrid[:48, :40]
    wave = (np.sin(x / 9) * np.cos(y / 7) + 1) / 2
    wave = (wave - wave.min()) / (wave.max() - wave.min())
    return np.round(wave * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize(("kind", "bits"), CASES)
def test_the_pixels_are_those_that_were_encoded(tmp_path: Path, kind: str, bits: int) -> None:
    pixels, tolerance = smooth(bits), KINDS[kind][3]
    top = 2**bits - 1
    path = write_jpeg(
        tmp_path / "a.dcm", pixels, kind, bits=bits, WindowCenter=(top + 1) / 2, WindowWidth=top + 1
    )
    np.testing.assert_allclose(read_image(path), pixels / top, atol=tolerance + 1e-6)


@pytest.mark.parametrize(("kind", "bits"), [(kind, depths[-1]) for kind, (_, _, depths, _) in KINDS.items()])
def test_one_that_is_cut_in_half_is_an_error_or_an_image_and_no_crash(
    tmp_path: Path, kind: str, bits: int
) -> None:
    """Some decoders fill in what is missing."""
    path = write_jpeg(tmp_path / "a.dcm", smooth(bits), kind, bits=bits)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 150])
    try:
        found = read_image(path)
    except DicomError:
        return
    assert found.shape == (48, 40)
