"""Pictures: the right greys out of each kind, and a reason for each that is refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from radgaze.dicom.error import DicomError
from radgaze.dicom.image import may_be_image, read_any, size_of
from radgaze.dicom.isolate import isolated
from radgaze.dicom.picture import picture_size, read_picture

GREY = np.linspace(10, 240, 24 * 31).reshape(24, 31).astype(np.uint8)
DEEP = np.linspace(100, 4000, 24 * 31).reshape(24, 31).astype(np.uint16)


def saved(folder: Path, name: str, array: Image.Image | NDArray[Any], **options: Any) -> Path:
    path = folder / name
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.dcm"])
def test_eight_bits_are_taken_as_shown_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, name, GREY, format="TIFF" if name.endswith("tif") else "PNG")
    np.testing.assert_allclose(read_picture(path), GREY / 255, atol=1e-6)
    np.testing.assert_allclose(read_any(path, voi="none").pixels, GREY / 240, atol=1e-6)
    assert picture_size(path) == size_of(path) == (24, 31)


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bits_are_stretched(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, name, DEEP)
    np.testing.assert_allclose(read_picture(path), (DEEP - 100.0) / 3900, atol=1e-6)
    np.testing.assert_allclose(read_picture(path, voi="none"), DEEP / 4000, atol=1e-6)


def test_jpeg_is_read_and_its_rounding_is_no_colour(tmp_path: Path) -> None:
    smooth = np.repeat(np.repeat(GREY[::4, ::4], 4, 0), 4, 1)
    path = saved(tmp_path, "a.jpg", np.repeat(smooth[..., None], 3, 2), quality=92)
    assert np.abs(read_picture(path) - smooth / 255).max() < 0.05


def test_rgb_alpha_and_palettes_that_are_grey_are_grey(tmp_path: Path) -> None:
    rgb = np.repeat(GREY[..., None], 3, 2)
    for name, picture in (
        ("rgb.png", rgb),
        ("rgba.png", np.dstack([rgb, np.full_like(GREY, 255)])),
        ("la.png", Image.fromarray(GREY).convert("LA")),
        ("p.png", Image.fromarray(GREY).convert("P")),
        ("rgb.tif", rgb),
    ):
        np.testing.assert_allclose(read_picture(saved(tmp_path, name, picture)), GREY / 255, atol=1e-6)


def test_white_is_zero_is_turned_around(tmp_path: Path) -> None:
    for name, pixels, oracle in (
        ("8.tif", GREY, None),
        ("16.tif", DEEP, 1 - (DEEP - 100.0) / 3900),
    ):
        path = saved(tmp_path, name, pixels)
        data = bytearray(path.read_bytes())
        at = data.index(struct.pack("<HHI", 262, 3, 1)) + 8
        data[at : at + 2] = struct.pack("<H", 0)
        path.write_bytes(data)
        expected = 1 - GREY / 255 if oracle is None else oracle
        np.testing.assert_allclose(read_picture(path), expected, atol=1e-6)


def test_a_flat_picture_is_no_error(tmp_path: Path) -> None:
    assert not read_picture(saved(tmp_path, "a.png", np.full((4, 5), 700, np.uint16))).any()


def test_numbers_near_the_greatest_are_shares_of_their_range_and_never_nan(tmp_path: Path) -> None:
    most = float(np.finfo(np.float32).max)
    values = np.array([[-most, 0, most]], np.float32)
    assert read_picture(saved(tmp_path, "huge.tif", values)) == pytest.approx(np.array([[0, 0.5, 1]]))


def _apng(folder: Path) -> Path:
    frames = [Image.fromarray(GREY), Image.fromarray(GREY[::-1])]
    return saved(folder, "two.png", frames[0], save_all=True, append_images=frames[1:])


def _tiff_of_two(folder: Path) -> Path:
    return saved(
        folder, "two.tif", Image.fromarray(GREY), save_all=True, append_images=[Image.fromarray(GREY)]
    )


def _turned(folder: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(folder, "turned.jpg", GREY, exif=exif)


def _cut(folder: Path) -> Path:
    path = saved(folder, "cut.png", np.random.default_rng(0).integers(0, 255, (99, 99), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:3000])
    return path


def _bomb(folder: Path) -> Path:
    """A header that claims 60,000 × 60,000 pixels."""
    path = saved(folder, "bomb.png", GREY)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(data)
    return path


def _text(folder: Path) -> Path:
    path = folder / "text.png"
    path.write_text("no picture")
    return path


def _coloured(folder: Path) -> Path:
    rgb = np.repeat(GREY[..., None], 3, 2)
    rgb[3, 4] = (255, 0, 0)
    return saved(folder, "coloured.png", rgb)


def _transparent(folder: Path) -> Path:
    alpha = np.full_like(GREY, 255)
    alpha[0, 0] = 0
    return saved(folder, "transparent.png", np.dstack([np.repeat(GREY[..., None], 3, 2), alpha]))


def _numbers(folder: Path) -> Path:
    broken = GREY.astype(np.float32)
    broken[2, 2] = np.nan
    return saved(folder, "nan.tif", broken)


@pytest.mark.parametrize(
    ("make", "reasons"),
    [
        (_apng, {"multi_frame"}),
        (_tiff_of_two, {"multi_frame"}),
        (_turned, {"orientation"}),
        (_cut, {"truncated", "broken"}),
        (_bomb, {"too_large", "not_a_picture"}),
        (_text, {"not_a_picture"}),
        (_coloured, {"not_grey"}),
        (_transparent, {"not_grey"}),
        (_numbers, {"not_finite"}),
        (lambda folder: folder / "none.png", {"not_a_file"}),
        (lambda folder: folder, {"not_a_file"}),
    ],
)
def test_what_is_refused_is_refused_with_its_reason(
    tmp_path: Path, make: Callable[[Path], Path], reasons: set[str]
) -> None:
    path = make(tmp_path)
    with pytest.raises(DicomError) as error:
        read_picture(path)
    assert error.value.reason in reasons
    assert str(tmp_path) not in str(error.value)


def test_a_broken_picture_costs_itself_alone(tmp_path: Path) -> None:
    paths = [str(saved(tmp_path, "a.png", GREY)), str(_cut(tmp_path)), str(saved(tmp_path, "b.png", GREY))]
    found = dict(isolated(read_any, paths, workers=1))
    assert isinstance(found[1], DicomError)
    assert not isinstance(found[2], DicomError)
    np.testing.assert_allclose(found[2].pixels, GREY / 255, atol=1e-6)


def _png16(path: Path, samples: NDArray[np.uint16]) -> Path:
    """A PNG of 16 bits by hand: its colour type follows from the number of samples."""
    rows, columns, count = samples.shape
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 16, {1: 0, 2: 4, 3: 2, 4: 6}[count], 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples))),
        (b"IEND", b""),
    )
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )
    return path


@pytest.mark.parametrize("voi", ["window", "none"])
def test_sixteen_bits_are_kept_whatever_the_number_of_samples(
    tmp_path: Path, voi: Literal["window", "none"]
) -> None:
    grey = _png16(tmp_path / "grey.png", DEEP[..., None])
    opaque = np.full_like(DEEP, 65535)
    for name, samples in (
        ("la.png", [DEEP, opaque]),
        ("rgb.png", [DEEP] * 3),
        ("rgba.png", [DEEP] * 3 + [opaque]),
    ):
        path = _png16(tmp_path / name, np.stack(samples, -1))
        np.testing.assert_allclose(read_picture(path, voi=voi), read_picture(grey, voi=voi), atol=1e-6)
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "rgb.tif", np.stack([DEEP] * 3, -1), photometric="rgb")
    np.testing.assert_allclose(
        read_picture(tmp_path / "rgb.tif", voi=voi), read_picture(grey, voi=voi), atol=1e-6
    )


def test_colours_and_transparence_of_sixteen_bits_are_refused(tmp_path: Path) -> None:
    coloured = np.stack([DEEP, DEEP, DEEP + 9000], -1)
    for samples in (coloured, np.stack([DEEP, np.full_like(DEEP, 65000)], -1)):
        with pytest.raises(DicomError, match="not_grey"):
            read_picture(_png16(tmp_path / "a.png", samples))


@pytest.mark.parametrize("kind", ["u4", "i4", "i1", "i2"])
def test_whole_numbers_of_a_tiff_do_not_wrap_around(tmp_path: Path, kind: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    info = np.iinfo(kind)
    values = np.linspace(info.min, info.max, 24 * 31).astype(np.float64).reshape(24, 31)
    values = values.clip(info.min, info.max - 256 if kind.endswith("4") else info.max).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    exact = values.astype(np.float64)
    expected = (exact - exact.min()) / np.ptp(exact)
    if kind == "i1":  # eight bits are taken as shown, and negative ones are not shown
        expected = None
    found = read_picture(tmp_path / "a.tif", voi="none")
    np.testing.assert_allclose(found, (exact - exact.min()) / np.ptp(exact), atol=1e-6)
    if expected is not None:
        np.testing.assert_allclose(read_picture(tmp_path / "a.tif"), expected, atol=1e-6)


def test_an_orientation_that_is_undefined_is_none(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 0
    path = saved(tmp_path, "a.jpg", GREY, exif=exif, quality=100)
    np.testing.assert_allclose(read_picture(path), GREY / 255, atol=0.02)


@pytest.mark.parametrize("name", ["BMP", "GIF", "WebP"])
def test_another_format_is_named(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, "a.png", GREY, format=name)
    for read in (read_any, size_of):
        with pytest.raises(DicomError) as told:
            read(path)
        assert told.value.reason == "unsupported_format"
        assert name in told.value.detail


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("a.png", "not_a_picture", "named as PNG, but does not begin as PNG does"),
        ("a.JPG", "not_a_picture", "named as JPEG, but does not begin as JPEG does"),
        ("a.tiff", "not_a_picture", "named as TIFF, but does not begin as TIFF does"),
        ("a.dcm", "not_dicom", "named as DICOM, but does not begin as DICOM does"),
        ("a", "not_dicom", "neither a DICOM file nor a PNG, JPEG or TIFF picture"),
    ],
)
@pytest.mark.parametrize(
    "content", [b"no image", b"\0PNG" + bytes(300), b"BMI,sex\n23,f\n", b"RIFF but sound"]
)
def test_a_file_that_is_no_image_is_called_by_its_name_s_format(
    content: bytes, name: str, reason: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (read_any, size_of):
        with pytest.raises(DicomError) as told:
            read(tmp_path / name)
        assert told.value.reason == reason
        assert words in told.value.detail
        assert str(tmp_path) not in str(told.value)


def test_what_may_be_an_image_is_found_by_content_and_name(tmp_path: Path) -> None:
    saved(tmp_path, "picture", GREY, format="PNG")
    saved(tmp_path, "other", GREY, format="BMP")
    (tmp_path / "dicom").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "empty.png").touch()
    for name in ("text.txt", "BMI.csv", "README", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"BMI,sex" * 40 if name == "BMI.csv" else name.encode() * 30)
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    seen = {path.name for path in tmp_path.iterdir() if may_be_image(path)}
    assert seen == {"picture", "other", "dicom", "empty.png"}


def test_a_png_whose_checksum_is_wrong_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.png", np.random.default_rng(0).integers(0, 255, (99, 99), dtype=np.uint8))
    content = bytearray(path.read_bytes())
    at = content.index(b"IDAT") + 2000
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(DicomError, match="broken"):
        read_picture(path)
