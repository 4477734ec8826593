from __future__ import annotations

import math
import pickle
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from radgaze.dicom.guard import errors_only
from radgaze.dicom.read import MAX_PIXELS, DicomError, read_header, read_image
from tests.dicom.files import Elements, lut, write

SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg2000": JPEG2000Lossless,
}


def picture(bits: int = 12, *, signed: bool = False, shape: tuple[int, int] = (45, 33)) -> np.ndarray:
    """Random pixels that take the whole of their range."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    pixels = np.random.default_rng(bits).integers(low, high, shape)
    pixels[0, :2] = low, high - 1
    return pixels.astype(("i" if signed else "u") + ("1" if bits <= 8 else "2"))


def oracle(pixels: np.ndarray, show: Callable[[int], float]) -> np.ndarray:
    """Pixel by pixel, in Python's own numbers."""
    return np.array([[show(int(x)) for x in row] for row in pixels], np.float64)


def linear(x: float, c: float, w: float, y_min: float = 0.0, y_max: float = 1.0) -> float:
    """PS3.3 C.11.2.1.2.1, its pseudo-code."""
    if x <= c - 0.5 - (w - 1) / 2:
        return y_min
    if x > c - 0.5 + (w - 1) / 2:
        return y_max
    return ((x - (c - 0.5)) / (w - 1) + 0.5) * (y_max - y_min) + y_min


def linear_exact(x: float, c: float, w: float) -> float:
    """PS3.3 C.11.2.1.3.2."""
    if x <= c - w / 2:
        return 0.0
    if x > c + w / 2:
        return 1.0
    return (x - c) / w + 0.5


def sigmoid(x: float, c: float, w: float) -> float:
    """PS3.3 C.11.2.1.3.1."""
    return 1 / (1 + math.exp(-4 * (x - c) / w))


def same(image: np.ndarray, expected: np.ndarray) -> None:
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, expected, rtol=0, atol=1e-6)


def refused(path: Path, *, max_pixels: int = MAX_PIXELS) -> str:
    """The reason, after a look at what else the error says."""
    with pytest.raises(DicomError) as caught:
        read_image(path, max_pixels=max_pixels)
    assert not any(word in str(caught.value) for word in (path.name, str(path.parent), "Secret", "SECRET"))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.reason, str(again)) == (caught.value.reason, str(caught.value))
    return caught.value.reason


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(("bits", "signed"), [(8, False), (12, False), (12, True), (16, False), (16, True)])
def test_every_encoding_gives_the_same_pixels(tmp_path: Path, syntax: str, bits: int, signed: bool) -> None:
    pixels = picture(bits, signed=signed)
    c, w = (0, 2 ** (bits - 2)) if signed else (2 ** (bits - 1), 2 ** (bits - 2))
    path = write(
        tmp_path / "a.dcm", pixels, bits=bits, syntax=SYNTAXES[syntax], WindowCenter=c, WindowWidth=w
    )
    same(read_image(path), oracle(pixels, lambda x: linear(x, c, w)))


def test_an_odd_number_of_bytes_is_padded_by_one(tmp_path: Path) -> None:
    pixels = picture(8, shape=(3, 5))
    same(read_image(write(tmp_path / "a.dcm", pixels, bits=8)), pixels / 255)


@pytest.mark.parametrize(
    ("name", "window"), [("LINEAR_EXACT", linear_exact), ("SIGMOID", sigmoid), ("LINEAR", linear)]
)
def test_windows_follow_the_standards_formulas(
    tmp_path: Path, name: str, window: Callable[[float, float, float], float]
) -> None:
    pixels = picture()
    path = write(
        tmp_path / "a.dcm", pixels, bits=12, WindowCenter="1800.5", WindowWidth="900.25", VOILUTFunction=name
    )
    same(read_image(path), oracle(pixels, lambda x: window(x, 1800.5, 900.25)))


def test_the_narrowest_window_is_a_step(tmp_path: Path) -> None:
    pixels = np.arange(16, dtype=np.uint16).reshape(4, 4)
    path = write(tmp_path / "a.dcm", pixels, bits=12, WindowCenter=8, WindowWidth=1)
    same(read_image(path), oracle(pixels, lambda x: 0 if x <= 7.5 else 1))


def test_a_window_scales_by_its_own_range_and_not_by_what_the_image_has(tmp_path: Path) -> None:
    pixels = np.full((4, 4), 2048, np.uint16)
    pixels[0] = 2148
    path = write(tmp_path / "a.dcm", pixels, bits=12, WindowCenter=2048.5, WindowWidth=1001)
    same(read_image(path), np.where(pixels == 2048, 0.5, 0.6))


def test_the_first_of_several_windows_is_used(tmp_path: Path) -> None:
    pixels = picture()
    path = write(
        tmp_path / "a.dcm", pixels, bits=12, WindowCenter=[2000, 1000, 500], WindowWidth=[1500, 100, 50]
    )
    same(read_image(path), oracle(pixels, lambda x: linear(x, 2000, 1500)))


@pytest.mark.parametrize("slope", [2.5, -0.75])
def test_rescale_comes_before_the_window(tmp_path: Path, slope: float) -> None:
    pixels = picture()
    path = write(
        tmp_path / "a.dcm",
        pixels,
        bits=12,
        RescaleSlope=slope,
        RescaleIntercept=-1000,
        WindowCenter=-500,
        WindowWidth=3000,
    )
    same(read_image(path), oracle(pixels, lambda x: linear(slope * x - 1000, -500, 3000)))


@pytest.mark.parametrize("as_words", [True, False])
@pytest.mark.parametrize("depth", [8, 12, 16])
def test_a_voi_lut_is_taken_before_a_window_and_scaled_by_its_depth(
    tmp_path: Path, depth: int, as_words: bool
) -> None:
    pixels = picture()
    table = [round((2**depth - 1) * math.sin(i / 2000)) for i in range(3000)]
    path = write(
        tmp_path / "a.dcm",
        pixels,
        bits=12,
        VOILUTSequence=lut(table, 500, depth, as_words=as_words),
        WindowCenter=1,
        WindowWidth=2,
    )
    same(read_image(path), oracle(pixels, lambda x: table[min(max(x - 500, 0), 2999)] / (2**depth - 1)))


def test_a_modality_lut_of_65536_entries_comes_before_the_window(tmp_path: Path) -> None:
    pixels = picture(16)
    table = [(i * i) >> 20 for i in range(65536)]
    path = write(
        tmp_path / "a.dcm",
        pixels,
        bits=16,
        ModalityLUTSequence=lut(table, 0, 12, as_words=True),
        WindowCenter=2000,
        WindowWidth=1000,
    )
    same(read_image(path), oracle(pixels, lambda x: linear(table[x], 2000, 1000)))


@pytest.mark.parametrize("vr_signed", [True, False])
def test_a_lut_of_signed_pixels_begins_below_zero(tmp_path: Path, vr_signed: bool) -> None:
    pixels = picture(12, signed=True)
    table = list(range(0, 4000, 2))
    first = -800 if vr_signed else 2**16 - 800
    path = write(tmp_path / "a.dcm", pixels, bits=12, VOILUTSequence=lut(table, first, 12, signed=vr_signed))
    same(read_image(path), oracle(pixels, lambda x: table[min(max(x + 800, 0), 1999)] / 4095))


def test_monochrome1_is_inverted_once_and_after_the_window(tmp_path: Path) -> None:
    pixels = picture()
    path = write(
        tmp_path / "a.dcm",
        pixels,
        bits=12,
        PhotometricInterpretation="MONOCHROME1",
        PresentationLUTShape="INVERSE",
        WindowCenter=1000,
        WindowWidth=1500,
    )
    same(read_image(path), oracle(pixels, lambda x: 1 - linear(x, 1000, 1500)))


def test_without_a_window_the_image_is_stretched(tmp_path: Path) -> None:
    pixels = picture()[1:] // 2 + 700
    low, high = int(pixels.min()), int(pixels.max())
    same(
        read_image(write(tmp_path / "a.dcm", pixels, bits=12)),
        oracle(pixels, lambda x: (x - low) / (high - low)),
    )


def test_voi_none_gives_pixels_over_their_maximum(tmp_path: Path) -> None:
    pixels = picture()[1:] // 2 + 700
    path = write(tmp_path / "a.dcm", pixels, bits=12, WindowCenter=1, WindowWidth=2)
    same(read_image(path, voi="none"), oracle(pixels, lambda x: x / int(pixels.max())))


def test_voi_none_moves_negative_values_up(tmp_path: Path) -> None:
    pixels = picture(12, signed=True)
    same(read_image(write(tmp_path / "a.dcm", pixels, bits=12), voi="none"), (pixels + 2048.0) / 4095)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_stretch_the_image(tmp_path: Path, photometric: str) -> None:
    pixels = (np.arange(100).reshape(10, 10) + 1000).astype(np.uint16)
    pixels[:, 8:] = 4095
    pixels[:, :1] = 0
    path = write(
        tmp_path / "a.dcm",
        pixels,
        bits=12,
        PhotometricInterpretation=photometric,
        PixelPaddingValue=4095,
    )
    image = read_image(path)
    assert (image[:, 8:] == 0).all()
    shown = pixels[:, :8] / pixels[:, :8].max()
    same(image[:, :8], 1 - shown if photometric == "MONOCHROME1" else shown)


@pytest.mark.parametrize("ends", [(-2000, -1990), (-1990, -2000)])
def test_a_range_of_signed_padding_is_black_with_both_its_ends(tmp_path: Path, ends: tuple[int, int]) -> None:
    pixels = np.full((4, 4), 100, np.int16)
    pixels[0] = -2000, -1995, -1990, -1989
    pixels[1, 0] = 2000
    path = write(
        tmp_path / "a.dcm", pixels, bits=12, PixelPaddingValue=ends[0], PixelPaddingRangeLimit=ends[1]
    )
    same(read_image(path), oracle(pixels, lambda x: 0 if x <= -1990 else (x + 1989) / 3989))


def test_padding_beyond_the_stored_bits_is_not_taken_for_white(tmp_path: Path) -> None:
    pixels = np.array([[0, 4095], [65535, 65535]], np.uint16)
    path = write(tmp_path / "a.dcm", pixels, bits=12, PixelPaddingValue=65535)
    same(read_image(path), np.array([[0, 1], [0, 0]]))


def test_an_overlay_in_the_unused_bits_is_not_seen(tmp_path: Path) -> None:
    pixels = picture()
    marked = pixels | (np.random.default_rng(1).integers(0, 16, pixels.shape) << 12).astype(np.uint16)
    same(read_image(write(tmp_path / "a.dcm", marked, bits=12)), pixels / 4095)


@pytest.mark.parametrize("voi", ["window", "none"])
def test_a_constant_image_is_black(tmp_path: Path, voi: Literal["window", "none"]) -> None:
    path = write(tmp_path / "a.dcm", np.zeros((4, 4), np.uint16), bits=12)
    same(read_image(path, voi=voi), np.zeros((4, 4)))


def test_the_header_is_read_without_the_pixels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", picture(12, signed=True), bits=12)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 100])
    header = read_header(path)
    assert (header.rows, header.columns, header.bits_allocated, header.bits_stored) == (45, 33, 16, 12)
    assert (header.photometric, header.samples, header.frames, header.signed) == ("MONOCHROME2", 1, 1, True)
    assert header.transfer_syntax == ExplicitVRLittleEndian


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}, "not_grey"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "not_grey"),
        ({"NumberOfFrames": 2}, "multi_frame"),
        ({"Rows": 65535, "Columns": 65535}, "too_large"),
        ({"Rows": 7000, "Columns": 7000}, "wrong_length"),
        ({"Rows": 44}, "wrong_length"),
        ({"Rows": 0}, "no_image"),
        ({"Rows": None}, "no_image"),
        ({"BitsAllocated": 32, "BitsStored": 32}, "bad_bits"),
        ({"BitsStored": 17}, "bad_bits"),
        ({"WindowCenter": 5, "WindowWidth": 0}, "bad_window"),
        ({"WindowCenter": 5}, "bad_window"),
        ({"WindowCenter": 5, "WindowWidth": 9, "VOILUTFunction": "CUBIC"}, "bad_window"),
        ({"RescaleSlope": "1e400", "RescaleIntercept": 0}, "bad_rescale"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "bad_rescale"),
        ({"VOILUTSequence": lut([1, 2, 3], 0, 40)}, "bad_lut"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_shown_is_refused_with_its_reason(
    tmp_path: Path, elements: Elements, reason: str
) -> None:
    assert refused(write(tmp_path / "a.dcm", picture(), bits=12, **elements)) == reason


def incomplete(*elements: str, items: int = 1) -> list[Dataset]:
    """Items of a sequence of look-up tables that lack all elements but these."""
    item = lut([0, 4095], 0, 12)[0]
    for keyword in ("LUTDescriptor", "LUTData"):
        if keyword not in elements:
            delattr(item, keyword)
    return [item] * items


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        (
            {"VOILUTSequence": incomplete(items=130_000)},
            "VOILUTSequence has more than 1,000 items",
        ),
        ({"VOILUTSequence": incomplete()}, "first item .* VOILUTSequence holds no look-up table"),
        ({"VOILUTSequence": incomplete("LUTDescriptor")}, "VOILUTSequence holds no look-up table"),
        ({"VOILUTSequence": incomplete("LUTData")}, "VOILUTSequence holds no look-up table"),
        ({"ModalityLUTSequence": incomplete()}, "ModalityLUTSequence holds no look-up table"),
        ({"Rows": [45, 45]}, "Rows is not one whole number"),
        ({"BitsStored": [12, 12]}, "BitsStored is not one whole number"),
        ({"PixelPaddingValue": [1, 2]}, r"elements that describe the greys cannot be used \(TypeError\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_with_odd_elements_is_refused_in_words(
    tmp_path: Path, elements: Elements, message: str
) -> None:
    path = write(tmp_path / "a.dcm", picture(), bits=12, **elements)
    with pytest.raises(DicomError, match=message) as caught:
        read_image(path)
    assert not re.search(r": \w*(Error|Exception)\b", str(caught.value))


@pytest.mark.parametrize(
    "broken", [AttributeError("secret"), ValueError(), RecursionError(), KeyError("secret")]
)
def test_an_error_of_a_library_is_told_in_words_and_without_its_message(broken: Exception) -> None:
    match = r"broken: the file is damaged, or not .* \(\w+Error\)"
    with pytest.raises(DicomError, match=match) as caught, errors_only():
        raise broken
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "deflated", "rle", "jpeg2000"])
def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path: Path, syntax: str) -> None:
    path = write(tmp_path / "a.dcm", picture(shape=(40, 40)), bits=12, syntax=SYNTAXES[syntax])
    content = path.read_bytes()
    for share in np.linspace(0, 0.9, 25):
        path.write_bytes(content[: int(share * len(content))])
        refused(path)


def test_what_is_no_file_or_no_dicom_is_refused(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.dcm", tmp_path / "text.dcm"
    empty.touch()
    text.write_text("a radiograph " * 100)
    assert [refused(path) for path in (empty, text, tmp_path / "none.dcm")] == [
        "empty",
        "not_dicom",
        "not_a_file",
    ]
    with pytest.raises(DicomError, match="not_a_file"):
        read_image(tmp_path)


def test_a_jpeg_2000_stream_larger_than_its_header_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radgaze.dicom.read.pixel_array", lambda *_, **__: pytest.fail("it was decoded"))
    path = write(tmp_path / "a.dcm", picture(shape=(64, 64)), bits=12, syntax=JPEG2000Lossless, Rows=32)
    assert refused(path) == "wrong_length"


def test_a_deflated_bomb_is_found_before_it_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", picture(), bits=12, syntax=DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    deflater = zlib.compressobj(9, wbits=-15)
    path.write_bytes(
        content[:start]
        + deflater.compress(zlib.decompress(content[start:], -15) + bytes(200 << 20))
        + deflater.flush()
    )
    assert path.stat().st_size < 1 << 20
    assert refused(path) == "too_large"


def test_a_limit_of_pixels_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", picture(), bits=12)
    assert read_image(path, max_pixels=45 * 33).shape == (45, 33)
    assert refused(path, max_pixels=45 * 33 - 1) == "too_large"


@pytest.mark.filterwarnings("ignore")
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    syntax=st.sampled_from(sorted(SYNTAXES)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
)
@example(syntax="explicit", changes=[(0.5, 255)])
def test_changed_bytes_give_an_image_or_a_dicom_error(
    tmp_path: Path, syntax: str, changes: list[tuple[float, int]]
) -> None:
    path = write(
        tmp_path / "a.dcm",
        picture(),
        bits=12,
        syntax=SYNTAXES[syntax],
        WindowCenter=2000,
        WindowWidth=900,
        PixelPaddingValue=7,
    )
    content = bytearray(path.read_bytes())
    for share, byte in changes:
        content[128 + int(share * (len(content) - 129))] = byte
    path.write_bytes(content)
    try:
        image = read_image(path, max_pixels=10_000)
    except DicomError:
        return
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert 0 <= image.min() <= image.max() <= 1
