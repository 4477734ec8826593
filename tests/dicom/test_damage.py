"""Codestreams that are not the image that their header says: right pixels or a reason, for every codec."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path
from typing import TypedDict

import imagecodecs
import numpy as np
import pytest
from benchmarks.codestream_faults import DICOM, run
from PIL import Image
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, get_frame
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from radgaze.dicom import jpeg, scan
from radgaze.dicom.error import DicomError
from radgaze.dicom.image import read_any, size_of
from radgaze.dicom.isolate import isolated
from radgaze.dicom.read import read_image
from tests.dicom.files import lut, write
from tests.dicom.jpeg import write_jpeg
from tests.dicom.lossless import encode

RAMP = np.linspace(0, 4095, 40 * 60).astype(np.uint16).reshape(40, 60)


class Sides(TypedDict, total=False):
    Rows: int
    Columns: int


def refusal(path: Path) -> str:
    with pytest.raises(DicomError) as told:
        read_any(path)
    return told.value.reason


@pytest.mark.parametrize(
    ("syntax", "bits", "high"),
    [
        *((ExplicitVRLittleEndian, *pair) for pair in [(12, 15), (12, 13), (8, 11), (12, 11)]),
        *((RLELossless, *pair) for pair in [(12, 15), (12, 13), (12, 11)]),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_the_bits_are_those_that_high_bit_names(
    tmp_path: Path, syntax: str, bits: int, high: int, signed: bool
) -> None:
    values = np.random.default_rng(0).integers(0, 2**bits, (9, 8))
    values[0, :2] = 0, 2**bits - 1
    cells = (values << (high + 1 - bits)).astype(np.uint16)
    cells |= np.uint16((1 << (high + 1 - bits)) - 1)  # overlays below
    path = write(
        tmp_path / "a.dcm", cells, bits=bits, syntax=syntax, HighBit=high, PixelRepresentation=int(signed)
    )
    shown = np.where(values >= 2 ** (bits - 1), values - 2**bits, values) if signed else values
    expected = (shown - shown.min()) / (shown.max() - shown.min())
    np.testing.assert_allclose(read_image(path), expected, atol=1e-6)


@pytest.mark.parametrize("high", [5, 16])
def test_a_high_bit_that_cannot_be_is_refused(tmp_path: Path, high: int) -> None:
    assert refusal(write(tmp_path / "a.dcm", RAMP, bits=12, HighBit=high)) == "bad_bits"


@pytest.mark.parametrize("kind", ["lossless", "jpegls", "jpeg2000"])
def test_a_high_bit_that_a_codestream_contradicts_is_refused(tmp_path: Path, kind: str) -> None:
    assert refusal(write_jpeg(tmp_path / "a.dcm", RAMP, kind, bits=12, HighBit=15)) == "bad_bits"


def test_padding_of_left_aligned_pixels_is_black(tmp_path: Path) -> None:
    values = np.array([[100, 200], [300, 4095]])
    for padding in (4095, 4095 << 4):
        path = write(
            tmp_path / "a.dcm",
            (values << 4).astype(np.uint16),
            bits=12,
            HighBit=15,
            PixelPaddingValue=padding,
        )
        np.testing.assert_allclose(read_image(path), [[0.0, 0.5], [1.0, 0.0]], atol=1e-6)


@pytest.mark.parametrize(("said", "held"), [(16, 12), (16, 10), (12, 16)])
def test_a_voi_lut_is_scaled_by_the_bits_that_its_entries_have(tmp_path: Path, said: int, held: int) -> None:
    table = [i * (2**held - 1) // 4095 for i in range(4096)]
    path = write(tmp_path / "a.dcm", RAMP, bits=12, VOILUTSequence=lut(table, 0, said))
    np.testing.assert_allclose(read_image(path), RAMP / 4095, atol=2 / 2**held)


def test_an_inverse_presentation_lut_shape_inverts_monochrome2(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", RAMP, bits=12, PresentationLUTShape="INVERSE")
    np.testing.assert_allclose(read_image(path), 1 - RAMP / 4095, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_missing_and_foreign_numbers_are_read_or_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", RAMP, bits=12)
    dataset = dcmread(path)
    del dataset.PixelRepresentation
    del dataset.HighBit
    dataset.save_as(path)
    np.testing.assert_allclose(read_image(path), RAMP / 4095, atol=1e-6)
    path = write(tmp_path / "b.dcm", RAMP, bits=12, WindowCenter="2048.5", WindowWidth="4096")
    comma = path.read_bytes().replace(b"2048.5", b"2048,5")
    whole = read_image(path)
    path.write_bytes(comma)
    np.testing.assert_array_equal(read_image(path), whole)
    path.write_bytes(comma.replace(b"2048,5", b"middle"))
    assert refusal(path) == "bad_number"


@pytest.mark.filterwarnings("ignore")
def test_compressed_pixels_without_an_end_are_called_cut(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "a.dcm", RAMP, "jpegls", bits=12)
    path.write_bytes(path.read_bytes().removesuffix(b"\xfe\xff\xdd\xe0\0\0\0\0"))
    assert refusal(path) == "truncated"


@pytest.mark.parametrize("bits", [8, 12])
@pytest.mark.parametrize("changed", [{"Rows": 30}, {"Rows": 50}, {"Columns": 50}, {"Columns": 70}])
def test_rle_of_another_size_is_refused(tmp_path: Path, bits: int, changed: Sides) -> None:
    pixels = RAMP if bits == 12 else (RAMP >> 4).astype(np.uint8)
    path = write(tmp_path / "a.dcm", pixels, bits=bits, syntax=RLELossless, **changed)
    assert refusal(path) == "wrong_length"


def tiled(tmp_path: Path) -> tuple[Path, bytes]:
    """A JPEG 2000 file of 2×2 tiles: OpenJPEG's encoder is reached by Pillow."""
    file = io.BytesIO()
    Image.fromarray((RAMP >> 4).astype(np.uint8)).save(file, "JPEG2000", tile_size=(32, 32), no_jp2=True)
    path = write(tmp_path / "a.dcm", (RAMP >> 4).astype(np.uint8), bits=8)
    return path, file.getvalue()


def with_codestream(path: Path, codestream: bytes) -> Path:
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = encapsulate([codestream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return path


def test_jpeg_2000_that_lacks_a_tile_is_refused(tmp_path: Path) -> None:
    path, codestream = tiled(tmp_path)
    whole = read_image(with_codestream(path, codestream))
    np.testing.assert_allclose(whole, (RAMP >> 4) / 255, atol=1e-6)
    starts = []
    at = codestream.index(b"\xff\x90")
    while codestream[at : at + 2] == b"\xff\x90":
        starts.append(at)
        at += int.from_bytes(codestream[at + 6 : at + 10], "big")
    assert len(starts) == 4
    assert codestream[at:] == b"\xff\xd9"
    for k, start in enumerate(starts):
        end = [*starts, at][k + 1]
        assert refusal(with_codestream(path, codestream[:start] + codestream[end:])) == "truncated"
        assert refusal(with_codestream(path, codestream[: end - 3])) == "truncated"
    assert refusal(with_codestream(path, codestream[:-2])) in ("broken", "truncated")


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["baseline", "extended", "lossless", "jpegls"])
def test_jpeg_that_is_cut_and_ended_anew_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    bits = 8 if kind == "baseline" else 12
    pixels = np.random.default_rng(0).integers(0, 2**bits, (40, 60)).astype("u1" if bits == 8 else "u2")
    path = write_jpeg(tmp_path / "a.dcm", pixels, kind, bits=bits)
    read_image(path)
    codestream = get_frame(dcmread(path).PixelData, 0, number_of_frames=1).rstrip(b"\0")
    with pytest.raises((DicomError, RuntimeError)):
        jpeg.decode(codestream[: int(share * len(codestream))] + b"\xff\xd9", 40, 60, ls=kind == "jpegls")


@pytest.mark.parametrize("restart", [0, 7, 14])
@pytest.mark.parametrize("predictor", range(1, 8))
def test_lossless_jpeg_with_too_many_or_too_few_bytes_is_refused(predictor: int, restart: int) -> None:
    pixels = np.random.default_rng(predictor).integers(0, 4096, (11, 7))
    stream = encode(pixels, bits=12, predictor=predictor, shift=0, restart=restart)
    np.testing.assert_array_equal(jpeg.decode(stream, 11, 7, ls=False), pixels)
    for damaged in (stream[:-3] + stream[-2:], stream[:-2] + b"\x55" + stream[-2:]):
        with pytest.raises(DicomError):
            jpeg.decode(damaged, 11, 7, ls=False)


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (40, 37), (33, 40, 3)])
def test_whole_jpeg_of_any_settings_passes_the_check(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    for pixels in (random.integers(0, 256, shape, dtype=np.uint8), np.full(shape, 255, np.uint8)):
        for quality in (1, 75, 100):
            for options in ({}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 3}):
                for subsampling in (0, 1, 2):
                    file = io.BytesIO()
                    Image.fromarray(pixels).save(
                        file, "JPEG", quality=quality, subsampling=subsampling, **options
                    )
                    jpeg.check(file.getvalue() + b"what follows the end")
                    if "progressive" not in options:
                        scan.check_sequential(scan.parse(file.getvalue()))
    if len(shape) == 2:
        for deep in (random.integers(0, 4096, shape), np.full(shape, 4095), np.zeros(shape)):
            jpeg.check(bytes(imagecodecs.jpeg8_encode(deep.astype(np.uint16), level=100, bitspersample=12)))


def test_a_thumbnail_is_not_taken_for_the_image(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)
    small, large = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels[:16, :16]).save(small, "JPEG")
    Image.fromarray(pixels).save(large, "JPEG")
    within = b"\xff\xe2" + struct.pack(">H", len(small.getvalue()) + 2) + small.getvalue()
    jpeg.check(large.getvalue()[:2] + within + large.getvalue()[2:])


def test_of_changed_codestreams_as_many_are_refused_as_the_formats_let_one_see() -> None:
    """The whole set is benchmarks/codestream_faults.py."""
    found = {row["codec"]: row for row in run(each=12).rows}
    assert set(DICOM) < set(found)
    for codec, least in {
        "PNG": 12,
        "JPEG-LS": 11,
        "JPEG lossless": 8,
        "JPEG extended": 6,
        "JPEG baseline": 6,
        "JPEG file": 8,
    }.items():
        assert int(found[codec]["radgaze: refused"]) >= least, codec


def elements(count: int) -> bytes:
    """Very many empty elements of private groups, ascending."""
    return b"".join(struct.pack("<HH2sH", 9 + 2 * (k >> 15), k & 0x7FFF, b"LO", 0) for k in range(count))


def test_a_deflated_file_of_very_many_elements_is_refused_in_seconds(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", RAMP, bits=12, syntax=DeflatedExplicitVRLittleEndian)
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    deflater = zlib.compressobj(1, wbits=-15)
    packed = deflater.compress(elements(200_000)) + deflater.flush()
    path.write_bytes(content[:start] + packed)
    begin = time.monotonic()
    assert refusal(path) == "too_large"
    assert time.monotonic() - begin < 10


def test_compressed_pixels_in_very_many_pieces_are_refused(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "a.dcm", RAMP, "jpegls", bits=12)
    dataset = dcmread(path)
    dataset.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0\x02\0\0\0ab" * 20_000
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    assert refusal(path) == "too_large"


def test_an_element_that_is_used_is_not_parsed_where_it_is_very_long(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", RAMP, bits=12)
    dataset = dcmread(path)
    dataset.add_new("VOILUTFunction", "UT", "1\\" * 600_000)
    dataset.save_as(path)
    assert refusal(path) == "too_large"


@pytest.mark.parametrize(
    "keyword", ["NumberOfFrames", "Rows", "PhotometricInterpretation", "SpecificCharacterSet"]
)
def test_an_element_of_the_header_is_not_parsed_where_it_is_long(tmp_path: Path, keyword: str) -> None:
    path = write(tmp_path / "a.dcm", RAMP, bits=12)
    dataset = dcmread(path)
    dataset[keyword] = RawDataElement(Tag(keyword), "UT", 2000, b"1\\" * 1000, 0, False, True)
    with warnings.catch_warnings(action="ignore"):
        dataset.save_as(path)
    assert refusal(path) == "too_large"
    with pytest.raises(DicomError, match=f"too_large: the file's {keyword} is larger than 1 KiB"):
        size_of(path)


SCRIPT = """
import operator
from radgaze.dicom.isolate import isolated
print(sorted(isolated(operator.neg, [1, 2, 3], workers=1)))
"""


@pytest.mark.parametrize("how", ["a script without a guard", "standard input"])
def test_workers_need_nothing_of_the_caller_s_script(tmp_path: Path, how: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    told = subprocess.run(
        [sys.executable, "-" if how == "standard input" else str(script)],
        input=SCRIPT if how == "standard input" else "",
        capture_output=True,
        text=True,
        timeout=100,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert told.stdout.strip() == "[(0, -1), (1, -2), (2, -3)]"
    assert told.stderr == ""


def test_a_function_of_the_caller_s_own_script_is_found(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from radgaze.dicom.isolate import isolated\n"
        "def half(x):\n    return x / 2\n"
        "if __name__ == '__main__':\n    print(list(isolated(half, [4], workers=1)))\n"
    )
    told = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=100, check=True
    )
    assert told.stdout.strip() == "[(0, 2.0)]"


def test_isolated_errors_keep_their_reasons(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", RAMP, bits=12, syntax=RLELossless, Rows=30)
    (found,) = dict(isolated(read_image, [str(path)], workers=1)).values()
    assert isinstance(found, DicomError)
    assert found.reason == "wrong_length"
