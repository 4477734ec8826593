"""Sizes of images from their headers."""

from __future__ import annotations

import logging
import struct
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from radgaze.sources.sizes import image_sizes
from tests.dicom.files import write

PIXELS = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)


def with_name(path: Path, keyword: str, vr: str) -> Path:
    """Write a file whose element is the name of a patient."""
    with warnings.catch_warnings(action="ignore"):
        dataset = dcmread(write(path, PIXELS, bits=12))
        dataset[keyword] = RawDataElement(Tag(keyword), vr, 8, b"DOE^JOHN", 0, False, True)
        dataset.save_as(path)
    return path


def test_no_value_of_a_file_reaches_a_message_or_a_log(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "c.tif")
    tiff = bytearray((tmp_path / "c.tif").read_bytes())
    at = struct.unpack_from("<I", tiff, 4)[0]
    struct.pack_into("<HHI", tiff, at + 2 + 12 * 8, 33000, 7, 2**30)  # a tag larger than the file
    (tmp_path / "c.tif").write_bytes(tiff)
    paths = [
        with_name(tmp_path / "a.dcm", "NumberOfFrames", "IS"),
        with_name(tmp_path / "b.dcm", "SpecificCharacterSet", "CS"),
        tmp_path / "c.tif",
    ]
    cases = pl.DataFrame({"case_id": ["a", "b", "c"], "image": [str(path) for path in paths]})
    caplog.clear()
    sizes = image_sizes(cases)
    assert sizes.select("rows", "columns").rows()[1] == (40, 50)
    assert not [str(warning.message) for warning in recwarn]
    assert "DOE" not in caplog.text
    assert not logging.getLogger("pydicom").disabled
