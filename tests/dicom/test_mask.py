"""Mask files: what is inside, whatever the file's kind, and what is no mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radgaze.dicom.error import DicomError
from radgaze.dicom.mask import read_mask

INSIDE = np.zeros((40, 30), dtype=bool)
INSIDE[5:20, 7:29] = True
INSIDE[30, 2] = True


def grey(high: int, dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray((INSIDE * high).astype(dtype))


def coloured() -> Image.Image:
    """Red on black: by its grey it would be dark."""
    return Image.fromarray(np.stack([INSIDE * 200, INSIDE * 0, INSIDE * 0], -1).astype(np.uint8))


def indexed() -> Image.Image:
    picture = Image.fromarray(INSIDE.astype(np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 40, 90, 220])
    return picture


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("ones.png", grey(1)),
        ("bytes.png", grey(255)),
        ("words.png", grey(65535, np.uint16)),
        ("one_bit.png", Image.fromarray(INSIDE)),
        ("one_bit.tif", Image.fromarray(INSIDE)),
        ("colour.png", coloured()),
        ("indexed.png", indexed()),
        ("bytes.tif", grey(255)),
    ],
)
def test_what_is_set_is_inside_in_every_kind_of_file(tmp_path: Path, name: str, picture: Image.Image) -> None:
    picture.save(tmp_path / name)
    found = read_mask(tmp_path / name)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, INSIDE)


def test_the_soft_edges_of_a_jpeg_are_halved(tmp_path: Path) -> None:
    Image.fromarray((INSIDE * 255).astype(np.uint8)).resize((300, 400)).save(tmp_path / "soft.jpg")
    found = read_mask(tmp_path / "soft.jpg")
    assert found.shape == (400, 300)
    centres = found[5::10, 5::10]
    np.testing.assert_array_equal(centres, INSIDE)


def test_nothing_may_be_inside(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / "none.png")
    assert not read_mask(tmp_path / "none.png").any()
    assert read_mask(tmp_path / "none.png").shape == (8, 9)


def test_numbered_parts_are_no_mask(tmp_path: Path) -> None:
    parts = np.zeros((20, 20), np.uint8)
    parts[:5], parts[10:15] = 1, 2
    Image.fromarray(parts).save(tmp_path / "parts.png")
    with pytest.raises(DicomError, match="labels: 3 values, where a mask has two"):
        read_mask(tmp_path / "parts.png")


def test_broken_absent_and_giant_files_are_refused(tmp_path: Path) -> None:
    grey(255).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.png").write_text("no picture")
    for name in ("cut.png", "text.png", "absent.png"):
        with pytest.raises(DicomError):
            read_mask(tmp_path / name)
    with pytest.raises(DicomError, match="too"):
        read_mask(tmp_path / "whole.png", max_pixels=100)
