"""DICOM files with bytes changed anywhere, or only where no pixel is told of."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
)

from radgaze.dicom.error import DicomError
from radgaze.dicom.read import KEYWORDS, USED, read_radiograph
from tests.dicom.files import write
from tests.dicom.jpeg import KINDS as CODECS
from tests.dicom.jpeg import write_jpeg
from tests.fuzz.mutate import exchange, spoil
from tests.fuzz.runner import Fault

TEXT = "Comments of no meaning, as long as needed. " * 4
OF_PIXELS = (*KEYWORDS, *USED, "NumberOfFrames", "PixelData")


def setup(folder: Path) -> None:
    """A radiograph of noise on a gradient, in each encoding."""
    draw = np.random.default_rng(0)
    pixels = np.linspace(0, 4000, 48 * 40).reshape(48, 40) + draw.integers(0, 90, (48, 40))
    deep, flat = pixels.astype(np.uint16), (pixels / 16).astype(np.uint8)
    notes = {"ImageComments": TEXT, "StudyDescription": TEXT[:60], "InstitutionName": TEXT[:60]}
    for syntax in (
        *(
            ExplicitVRLittleEndian,
            ImplicitVRLittleEndian,
            ExplicitVRBigEndian,
            DeflatedExplicitVRLittleEndian,
        ),
        *(RLELossless, JPEG2000Lossless),
    ):
        name = "native" if syntax == ExplicitVRLittleEndian else syntax.replace(".", "_")
        path = folder / f"{name}.dcm"
        write(path, deep, bits=12, syntax=syntax, WindowCenter=2000, WindowWidth=4000, **notes)
    write(folder / "eight.dcm", flat, bits=8, **notes)
    for kind in CODECS:
        eight = "12" not in kind and "baseline" in kind
        write_jpeg(folder / f"{kind}.dcm", flat if eight else deep, kind, bits=8 if eight else 12, **notes)


def attempt(folder: Path, draw: random.Random) -> str:
    """Read a changed file; if nothing that bears on the pixels has changed, they have not either."""
    original = draw.choice(sorted(folder.glob("*.dcm")))
    data = original.read_bytes()
    changed = folder / "input" / original.name
    at, kind = data.find(TEXT.encode()), draw.randrange(3)
    untouched = kind == 0 and at > 0
    if untouched:
        changed.write_bytes(exchange(data, draw, at, at + len(TEXT) - 1))
    else:  # of each second one only the header, which here is what stands before the last element
        header = max(data.rfind(b"\xe0\x7f\x10\x00"), data.rfind(b"\x7f\xe0\x00\x10"), 132)
        changed.write_bytes(spoil(data, draw, 128, header if kind == 1 else None))
    try:
        found = read_radiograph(changed).pixels
    except DicomError:
        return "refused"
    if not np.isfinite(found).all() or found.min() < 0 or found.max() > 1:
        raise Fault("pixels beyond 0 to 1")
    if untouched or (kind == 1 and told(changed) == told(original)):
        was = read_radiograph(original).pixels
        if was.shape != found.shape or not np.array_equal(was, found):
            raise Fault("other pixels, though only the header was touched")
    return "read"


def told(path: Path) -> object:
    """All that a file tells of its pixels, as pydicom reads it."""
    try:
        file = dcmread(path)
        return [str(file.file_meta.get("TransferSyntaxUID")), *(repr(file.get(word)) for word in OF_PIXELS)]
    except Exception:
        return None
