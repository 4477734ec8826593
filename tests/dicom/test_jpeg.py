"""Every kind of JPEG gives the pixels that were encoded."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array

from radgaze.dicom import jpeg
from radgaze.dicom.error import DicomError
from radgaze.dicom.isolate import isolated
from radgaze.dicom.read import read_image
from tests.dicom.jpeg import KINDS, write_jpeg
from tests.dicom.lossless import encode

CASES = [(kind, bits) for kind, (_, _, depths, _) in KINDS.items() for bits in depths]


def smooth(bits: int) -> np.ndarray:
    """Smooth image, as JPEG is designed for, over the whole range of values."""
    y, x = np.mgrid[:48, :40]
    wave = (np.sin(x / 9) * np.cos(y / 7) + 1) / 2
    wave = (wave - wave.min()) / (wave.max() - wave.min())
    pixels: np.ndarray = np.round(wave * (2**bits - 1))
    return pixels.astype(np.uint8 if bits == 8 else np.uint16)


@pytest.mark.parametrize(("kind", "bits"), CASES)
def test_the_pixels_are_those_that_were_encoded(tmp_path: Path, kind: str, bits: int) -> None:
    pixels, tolerance = smooth(bits), KINDS[kind][3]
    top = 2**bits - 1
    path = write_jpeg(
        tmp_path / "a.dcm", pixels, kind, bits=bits, WindowCenter=(top + 1) / 2, WindowWidth=top + 1
    )
    np.testing.assert_allclose(read_image(path), pixels / top, atol=tolerance + 1e-6)


@pytest.mark.parametrize(("kind", "bits"), CASES)
def test_another_decoder_finds_the_same(tmp_path: Path, kind: str, bits: int) -> None:
    """libjpeg of Thomas Richter is another program than libjpeg-turbo; lossy ones may round otherwise."""
    pytest.importorskip("libjpeg")
    if kind.startswith("jpeg2000"):
        pytest.skip("no kind of it")
    path = write_jpeg(tmp_path / "a.dcm", smooth(bits), kind, bits=bits, WindowCenter=None, WindowWidth=None)
    dataset = dcmread(path)
    theirs = pixel_array(dataset, raw=True, decoding_plugin="pylibjpeg").astype(int)
    ours = jpeg.decode(get_frame(dataset.PixelData, 0, number_of_frames=1), 48, 40, ls="ls" in kind)
    assert np.abs(ours - theirs).max() <= (1 if kind in ("baseline", "extended") else 0)


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.parametrize("predictor", range(1, 8))
def test_lossless_jpeg_is_what_the_standard_says(bits: int, predictor: int) -> None:
    """By an encoder that shares nothing with the decoder; noise has differences of every size."""
    pixels = np.random.default_rng(predictor).integers(0, 2**bits, (11, 7))
    pixels[0, :2] = 0, 2**bits - 1
    for shift, restart in ((0, 0), (0, 3), (1, 0), (1, 3)):
        stream = encode(pixels, bits=bits, predictor=predictor, shift=shift, restart=restart)
        np.testing.assert_array_equal(jpeg.decode(stream, 11, 7, ls=False), pixels >> shift << shift)


def test_lossy_white_is_not_rounded_to_black(tmp_path: Path) -> None:
    """Extended JPEG has 8 bits or 12, so what it makes of 10 stored ones may be more than 1023."""
    pixels = np.random.default_rng(0).choice(np.array([900, 1023], np.uint16), (48, 40))
    path = write_jpeg(
        tmp_path / "a.dcm",
        pixels,
        "extended",
        bits=12,
        BitsStored=10,
        HighBit=9,
        WindowCenter=512,
        WindowWidth=1024,
    )
    codestream = get_frame(dcmread(path).PixelData, 0, number_of_frames=1)
    assert jpeg.decode(codestream, 48, 40, ls=False).max() > 1023
    np.testing.assert_allclose(read_image(path), pixels / 1023, atol=0.05)


@pytest.mark.parametrize("kind", ["extended", "lossless", "jpegls", "jpeg2000"])
def test_more_bits_than_are_allocated_are_refused(tmp_path: Path, kind: str) -> None:
    path = write_jpeg(tmp_path / "a.dcm", smooth(12), kind, bits=12, BitsAllocated=8, BitsStored=8, HighBit=7)
    with pytest.raises(DicomError) as told:
        read_image(path)
    assert told.value.reason == "bad_bits"


def test_a_decoder_that_dies_costs_its_file_alone(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "a.dcm", smooth(12), "extended", bits=12)
    read = f"__import__('radgaze.dicom.read', fromlist=['read']).read_image({str(path)!r})"
    die = "setattr(__import__('imagecodecs'), 'jpeg8_decode', lambda data: __import__('ctypes').string_at(0))"
    results = dict(isolated(eval, [read, f"{die} or {read}", read], workers=1))
    assert isinstance(results[1], DicomError)
    assert results[1].reason == "crashed"
    for whole in (results[0], results[2]):
        assert isinstance(whole, np.ndarray)
        assert whole.shape == (48, 40)


@pytest.mark.parametrize("kind", ["lossless", "jpegls"])
def test_signed_pixels_keep_their_sign(tmp_path: Path, kind: str) -> None:
    """As 12 bits of two's complement, so that the codestream's numbers are not the pixels'."""
    values = smooth(12).astype(int) - 2048
    path = write_jpeg(
        tmp_path / "a.dcm",
        (values & 0xFFF).astype(np.uint16),
        kind,
        bits=12,
        PixelRepresentation=1,
        WindowCenter=0,
        WindowWidth=4096,
    )
    np.testing.assert_allclose(read_image(path), (values + 2048) / 4095, atol=1e-6)


@pytest.mark.parametrize(("kind", "bits"), [(kind, depths[-1]) for kind, (_, _, depths, _) in KINDS.items()])
def test_one_that_is_cut_is_refused(tmp_path: Path, kind: str, bits: int) -> None:
    """Decoders fill in what is missing, with a word on standard error at most."""
    path = write_jpeg(tmp_path / "a.dcm", smooth(bits), kind, bits=bits)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 150])
    if kind.startswith("jpeg2000"):  # OpenJPEG makes do with what is there
        try:
            assert read_image(path).shape == (48, 40)
        except DicomError:
            return
        return
    with pytest.raises(DicomError):
        read_image(path)


@pytest.mark.parametrize("ls", [False, True])
def test_what_is_another_image_or_none_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch, ls: bool
) -> None:
    pixels = smooth(8)
    encode_ = imagecodecs.jpegls_encode if ls else imagecodecs.jpeg8_encode
    whole = bytes(encode_(pixels))
    colour = np.stack([pixels] * 3, -1)
    coloured = bytes(encode_(colour))
    np.testing.assert_allclose(jpeg.decode(whole, 48, 40, ls=ls).astype(int), pixels, atol=8)
    commented = whole[:2] + b"\xff\xff\xfe\x00\x06\xff\xd9xx" + whole[2:]
    np.testing.assert_array_equal(jpeg.decode(commented, 48, 40, ls=ls), jpeg.decode(whole, 48, 40, ls=ls))

    def decoded(data: bytes) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(imagecodecs, "jpegls_decode" if ls else "jpeg8_decode", decoded)
    frame = whole.index(b"\xff\xf7" if ls else b"\xff\xc0")
    for data, reason in (
        (b"", "broken"),
        (b"no codestream at all", "broken"),
        (whole[:3], "broken"),
        (whole[: frame + 9], "broken"),
        (whole[:2] + whole[-2:], "broken"),
        (coloured, "wrong_length"),
        (whole[:-2], "truncated"),
    ):
        with pytest.raises(DicomError) as told:
            jpeg.decode(data, 48, 40, ls=ls)
        assert told.value.reason == reason
    with pytest.raises(DicomError, match="not the size that the header says"):
        jpeg.decode(whole, 40, 48, ls=ls)
