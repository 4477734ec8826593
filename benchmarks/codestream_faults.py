"""How many codestreams with changed bytes are read as other pixels, by the decoder alone and by radgaze."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from benchmarks.results import Cell, Result
from radgaze.dicom.error import DicomError
from radgaze.dicom.image import read_any

Pixels = NDArray[Any]

DICOM = {
    "RLE": (RLELossless, 12),
    "deflated": (DeflatedExplicitVRLittleEndian, 12),
    "JPEG baseline": (JPEGBaseline8Bit, 8),
    "JPEG extended": (JPEGExtended12Bit, 12),
    "JPEG lossless": (JPEGLosslessSV1, 12),
    "JPEG-LS": (JPEGLSLossless, 12),
    "JPEG 2000": (JPEG2000Lossless, 12),
}
PICTURES = {"PNG": "PNG", "JPEG file": "JPEG", "TIFF, deflate": "TIFF"}


def run(*, each: int = 35, most: int = 3, seed: int = 0) -> Result:
    """Change bytes of codestreams and read them.

    Args:
        each: Damaged files of each kind.
        most: Bytes that are changed at most; at least one.
        seed: Random seed of the changes.
    """
    rows: list[dict[str, Cell]] = []
    with TemporaryDirectory() as folder:
        for k, kind in enumerate([*DICOM, *PICTURES]):
            rows.append(_row(kind, Path(folder) / "file", each, most, np.random.default_rng([seed, k])))
    total: dict[str, Cell] = {"codec": "all"}
    for column in list(rows[0])[1:-1]:
        total[column] = sum(int(row[column]) for row in rows)
    total["ms, whole file"] = float(np.mean([float(row["ms, whole file"]) for row in rows]))
    return Result(
        "Damaged codestreams",
        "Radiographs of 256×214 px, made and encoded, of which some bytes of the codestream are changed (for "
        "deflated files, anywhere after the file's meta header; for pictures, anywhere after the signature). "
        "`Decoder alone` is libjpeg-turbo, CharLS, OpenJPEG, pydicom or Pillow without radgaze's checks.",
        [*rows, total],
        {"each": each, "most": most, "seed": seed},
        [
            "What is still read as other pixels is a valid codestream of another image: the formats have no "
            "checksum, except for PNG, and deflate in PNG and TIFF.",
        ],
    )


def _row(kind: str, path: Path, each: int, most: int, random: np.random.Generator) -> dict[str, Cell]:
    start, end = write(path, kind)
    content = path.read_bytes()
    whole, alone = read_any(path).pixels, _alone(path)
    begin = perf_counter()
    read_any(path)
    took = perf_counter() - begin
    ours: Counter[str] = Counter()
    theirs: Counter[str] = Counter()
    for _ in range(each):
        damaged = bytearray(content)
        for _ in range(int(random.integers(1, most + 1))):
            damaged[int(random.integers(start, end))] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        ours[_outcome(lambda: read_any(path).pixels, whole)] += 1
        theirs[_outcome(lambda: _alone(path), alone)] += 1
    return {
        "codec": kind,
        "damaged": each,
        "decoder alone: refused": theirs["refused"],
        "other pixels": theirs["other"],
        "radgaze: refused": ours["refused"],
        "the same pixels": ours["same"],
        "other pixels (radgaze)": ours["other"],
        "ms, whole file": 1000 * took,
    }


def _outcome(read: Callable[[], Pixels], whole: Pixels) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pixels = read()
        except DicomError:
            return "refused"
        except Exception:  # a foreign decoder's
            return "refused"
    return "same" if np.array_equal(pixels, whole) else "other"


def picture(bits: int) -> Pixels:
    """A smooth image with noise, (214, 256)."""
    y, x = np.mgrid[:214, :256]
    wave = (np.sin(x / 40) * np.cos(y / 31) + 1) * 0.45
    noise = np.random.default_rng(0).normal(0.05, 0.005, wave.shape)
    return np.rint(np.clip(wave + noise, 0, 1) * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def write(path: Path, kind: str) -> tuple[int, int]:
    """Write a file of a kind; return where its codestream begins and ends."""
    import imagecodecs

    if kind in PICTURES:
        options: dict[str, Any] = {"compression": "tiff_adobe_deflate"} if kind.startswith("TIFF") else {}
        Image.fromarray(picture(8)).save(path, format=PICTURES[kind], **options)
        return 8, path.stat().st_size
    syntax, bits = DICOM[kind]
    pixels = picture(bits)
    file = _dataset(pixels, bits)
    encode: dict[str, Callable[[], bytes]] = {
        "JPEG baseline": lambda: imagecodecs.jpeg8_encode(pixels, level=95),
        "JPEG extended": lambda: imagecodecs.jpeg8_encode(pixels, level=95, bitspersample=12),
        "JPEG lossless": lambda: imagecodecs.ljpeg_encode(pixels, bitspersample=12),
        "JPEG-LS": lambda: imagecodecs.jpegls_encode(pixels),
        "JPEG 2000": lambda: imagecodecs.jpeg2k_encode(
            pixels, codecformat="j2k", bitspersample=12, reversible=True
        ),
    }
    if kind == "RLE":
        file.compress(syntax, generate_instance_uid=False)
    elif kind in encode:
        file.PixelData = encapsulate([encode[kind]()])
        file["PixelData"].VR = "OB"
        file["PixelData"].is_undefined_length = True
    file.file_meta.TransferSyntaxUID = UID(syntax)
    file.save_as(path, enforce_file_format=True, implicit_vr=False, little_endian=True)
    content = path.read_bytes()
    if kind == "deflated":
        return 144 + int.from_bytes(content[140:144], "little"), len(content)
    codestream = get_frame(dcmread(path).PixelData, 0, number_of_frames=1)
    start = content.index(codestream)
    return start, start + len(codestream)


def _dataset(pixels: Pixels, bits: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["radgaze benchmark"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.Rows, file.Columns = pixels.shape
    file.BitsAllocated, file.BitsStored, file.HighBit = 8 * pixels.itemsize, bits, bits - 1
    file.WindowCenter, file.WindowWidth = 2 ** (bits - 1), 2**bits
    file.PixelData = pixels.tobytes()
    file["PixelData"].VR = "OW"
    file.set_original_encoding(False, True)
    return file


def _alone(path: Path) -> Pixels:
    """The pixels by the decoder that is used for them, with nothing checked."""
    import imagecodecs

    content = path.read_bytes()
    if content[128:132] != b"DICM":
        return np.asarray(Image.open(io.BytesIO(content)))
    file = dcmread(path)
    syntax = file.file_meta.TransferSyntaxUID
    if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSLossless):
        decode = imagecodecs.jpegls_decode if syntax == JPEGLSLossless else imagecodecs.jpeg8_decode
        return np.asarray(decode(get_frame(file.PixelData, 0, number_of_frames=1)))
    return np.asarray(file.pixel_array)
