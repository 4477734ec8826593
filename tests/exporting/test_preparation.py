"""The reader that travels with an export gives what radgaze's own reader gives, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from radgaze.exporting.shipped.preparation import prepared
from radgaze.predicting.inputs import Preparation
from radgaze.store.pixels import read_and_fit
from tests.clinic.images import SYNTAXES, write_dx
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
    "voi_lut_below_zero": {
        "RescaleIntercept": "-2000",
        "VOILUTSequence": [lut(list(range(0, 4000, 2)), 2**16 - 1500)],
    },
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


def _words(dataset: Dataset, made: Callable[[NDArray[np.uint16]], NDArray[np.int64]]) -> None:
    """Replace the words of 16 bits that hold the pixels of 12 bits."""
    words = np.frombuffer(dataset.PixelData, "<u2").copy()
    dataset.PixelData = (made(words) & 0xFFFF).astype("<u2").tobytes()


def padded_above(dataset: Dataset) -> None:
    _words(dataset, lambda words: np.where(np.arange(len(words)) < 900, 0xFFFF, words))
    dataset.add_new(0x00280120, "US", 0xFFFF)


def overlaid(dataset: Dataset) -> None:
    _words(dataset, lambda words: np.where(np.arange(len(words)) % 7, words, words | 0x8000))


def shifted(dataset: Dataset) -> None:
    _words(dataset, lambda words: words.astype(np.int64) << 4)
    dataset.HighBit = 15


def shifted_and_padded(dataset: Dataset) -> None:
    shifted(dataset)
    _words(dataset, lambda words: np.where(np.arange(len(words)) < 900, 0xFFFF, words))
    dataset.add_new(0x00280120, "US", 0xFFFF)


def shifted_and_padded_within(dataset: Dataset) -> None:
    shifted(dataset)
    _words(dataset, lambda words: np.where(np.arange(len(words)) < 900, 0xFFF0, words))
    dataset.add_new(0x00280120, "US", 0x0FFF)


def signed(dataset: Dataset) -> None:
    _words(dataset, lambda words: (words.astype(np.int64) - 2048) & 0xFFF)
    dataset.PixelRepresentation, dataset.WindowCenter = 1, 0


def signed_and_padded(dataset: Dataset) -> None:
    signed(dataset)
    _words(dataset, lambda words: np.where(np.arange(len(words)) < 900, 0x8000, words))
    dataset.add_new(0x00280120, "SS", -(2**15))


def signed_without_negative_values(dataset: Dataset) -> None:
    _words(dataset, lambda words: words.astype(np.int64) >> 1)
    dataset.PixelRepresentation = 1
    item = lut(list(range(4096)), 0)
    item.add_new(0x00283002, "US", [4096, 2**16 - 1024, 16])  # the first value, -1024, as some files have it
    dataset.ModalityLUTSequence = [item]


@pytest.mark.parametrize("voi", ["window", "none"])
@pytest.mark.parametrize(
    "change",
    [
        *(padded_above, overlaid, shifted, shifted_and_padded, shifted_and_padded_within),
        *(signed, signed_and_padded, signed_without_negative_values),
    ],
)
def test_pixels_that_do_not_fill_their_words_become_the_same_input(
    change: Callable[[Dataset], None], voi: Any, tmp_path: Path
) -> None:
    path = tmp_path / "a.dcm"
    write_dx(path, np.random.default_rng(2).random((61, 83)))
    dataset = dcmread(path)
    change(dataset)
    dataset.save_as(path)
    assert_same(path, "stretch", voi)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_compressed_file_becomes_the_same_input(syntax: str, tmp_path: Path) -> None:
    path = write_dx(tmp_path / "a.dcm", np.random.default_rng(2).random((61, 83)), syntax=syntax)
    assert_same(path, "pad", "window")


def test_white_that_lossy_jpeg_rounds_beyond_the_stored_bits_stays_white(tmp_path: Path) -> None:
    path = write_dx(tmp_path / "a.dcm", np.ones((64, 64)), WindowCenter=64, WindowWidth=128)
    dataset, content = dcmread(path), BytesIO()
    greys = (np.random.default_rng(0).random((64, 64)) > 0.5).astype(np.uint8) * 127
    Image.fromarray(greys).save(content, "JPEG", quality=20)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 7, 6
    dataset.PixelData = encapsulate([content.getvalue()])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.save_as(path)
    assert_same(path, "pad", "window", differing=1.0)  # two decoders of lossy JPEG


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_a_picture_becomes_the_same_input(mode: str, tmp_path: Path) -> None:
    values = np.random.default_rng(3).integers(10, 250, (70, 50))
    if mode == "I;16":
        Image.fromarray((values * 200).astype(np.uint16)).save(tmp_path / "a.png")
    else:
        Image.fromarray(values.astype(np.uint8)).convert(mode).save(tmp_path / "a.png")
    for voi in ("window", "none"):
        assert_same(tmp_path / "a.png", "stretch", voi)


def assert_same(path: Path, fit: Any, voi: Any, differing: float = 0.01) -> None:
    own = Preparation(64, voi, fit, 32)
    fitted = read_and_fit(path, size=64, voi=voi)
    wanted = own.subject("", fitted.pixels, fitted.rows, fitted.columns).image.numpy()
    made = prepared(path, {"square": 64, "grey_values": voi, "fit": fit, "size": 32})
    assert wanted.std() > 0.01
    np.testing.assert_allclose(made, wanted, atol=1.01 / 255)
    assert (made != wanted).mean() <= differing  # a level of 255, where float64 rounds otherwise
