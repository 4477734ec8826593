"""The reader that travels with an export gives what radgaze's own reader gives, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from radgaze.exporting.shipped.preparation import prepared
from radgaze.predicting.inputs import Preparation
from radgaze.store.pixels import read_and_fit
from tests.store.cohorts import write_dicom


def lut(entries: list[int], first: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, 16]
    item.add_new(0x00283006, "OW", np.array(entries, "<u2").tobytes())
    return item


CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "inverted": {"PhotometricInterpretation": "MONOCHROME1"},
    "lut_shape": {"PresentationLUTShape": "INVERSE"},
    "rescaled": {"RescaleSlope": "2", "RescaleIntercept": "-100"},
    "no_window": {"WindowCenter": None, "WindowWidth": None},
    "exact": {"VOILUTFunction": "LINEAR_EXACT", "WindowCenter": 2000, "WindowWidth": 1500},
    "sigmoid": {"VOILUTFunction": "SIGMOID", "WindowCenter": 1800, "WindowWidth": 900},
    "voi_lut": {"VOILUTSequence": [lut(list(range(0, 4000, 2)), 500)]},
    "padding": {
        "WindowCenter": None,
        "WindowWidth": None,
    },
    "on_its_side": {"PatientOrientation": ["F", "L"]},
    "on_its_head": {"PatientOrientation": ["R", "H"]},
}


@pytest.mark.parametrize("voi", ["window", "none"])
@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_dicom_file_becomes_the_same_input(change: str, fit: Any, voi: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    write_dicom(path, np.random.default_rng(2).random((61, 83)))
    dataset = dcmread(path)
    for keyword, value in CHANGES[change].items():
        setattr(dataset, keyword, value)
    if change == "padding":
        dataset.add_new(0x00280120, "US", 0)
        dataset.add_new(0x00280121, "US", 300)
    dataset.save_as(path)
    assert_same(path, fit, voi)


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_a_picture_becomes_the_same_input(mode: str, tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(10, 250, (70, 50))
    if mode == "I;16":
        Image.fromarray((values * 200).astype(np.uint16)).save(tmp_path / "a.png")
    else:
        Image.fromarray(values.astype(np.uint8)).convert(mode).save(tmp_path / "a.png")
    for voi in ("window", "none"):
        assert_same(tmp_path / "a.png", "stretch", voi)


def assert_same(path: Path, fit: Any, voi: Any) -> None:
    own = Preparation(64, voi, fit, 32)
    fitted = read_and_fit(path, size=64, voi=voi)
    wanted = own.subject("", fitted.pixels, fitted.rows, fitted.columns).image.numpy()
    made = prepared(path, {"square": 64, "grey_values": voi, "fit": fit, "size": 32})
    assert wanted.std() > 0.01
    np.testing.assert_allclose(made, wanted, atol=1.01 / 255)
    assert (made != wanted).mean() < 0.01  # a level of 255, where float64 rounds otherwise
