"""PNG, JPEG and TIFF with bytes changed anywhere, or only in their text."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from radgaze.dicom.error import DicomError
from radgaze.dicom.picture import picture_size, read_picture
from tests.fuzz.mutate import exchange, spoil
from tests.fuzz.runner import Fault

TEXT = "Words of no meaning to the picture. " * 4


def setup(folder: Path) -> None:
    """A gradient with noise in each format, mode and compression that is read."""
    draw = np.random.default_rng(0)
    pixels = np.linspace(0, 60000, 30 * 26).reshape(30, 26) + draw.integers(0, 5000, (30, 26))
    deep, flat = pixels.astype(np.uint16), (pixels / 256).astype(np.uint8)
    grey = Image.fromarray(flat)
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", TEXT)
    pngs = {
        "grey": grey,
        "deep": Image.fromarray(deep),
        "bits": grey.convert("1"),
        "rgb": grey.convert("RGB"),
    }
    pngs |= {"palette": grey.convert("P"), "alpha": grey.convert("LA")}
    for name, image in pngs.items():
        image.save(folder / f"{name}.png", pnginfo=notes)
    for name, image in {"grey": grey, "rgb": pngs["rgb"]}.items():
        image.save(folder / f"{name}.jpg", comment=TEXT, quality=90)
        image.save(folder / f"{name}-progressive.jpg", comment=TEXT, progressive=True)
    tiffs = {"grey": grey, "deep": pngs["deep"], "float": Image.fromarray(pixels.astype(np.float32))}
    for name, image in (tiffs | {"rgb": pngs["rgb"], "bits": pngs["bits"]}).items():
        for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate"):
            image.save(folder / f"{name}-{compression}.tif", compression=compression, description=TEXT)


def attempt(folder: Path, draw: random.Random) -> str:
    """Read a changed picture; where only its text was changed, it shows the same."""
    original = draw.choice(
        [path for path in sorted(folder.iterdir()) if path.suffix in (".png", ".jpg", ".tif")]
    )
    data = original.read_bytes()
    changed = folder / "input" / original.name
    at = data.find(TEXT.encode())
    untouched = draw.random() < 0.25
    if untouched:
        new = exchange(data, draw, at, at + len(TEXT) - 1)
        if original.suffix == ".png":  # a chunk has a checksum
            end = at + len(TEXT)
            new = new[:end] + struct.pack(">I", zlib.crc32(new[at - 12 : end])) + new[end + 4 :]
        changed.write_bytes(new)
    else:
        changed.write_bytes(spoil(data, draw))
    try:
        found = read_picture(changed)
        size = picture_size(changed)
    except DicomError as error:
        if untouched:
            raise Fault(f"refused, though only the text was touched: {error}") from error
        return "refused"
    if size != found.shape or not np.isfinite(found).all() or found.min() < 0 or found.max() > 1:
        raise Fault("pixels beyond 0 to 1, or another size than the header's")
    if untouched and not np.array_equal(found, read_picture(original)):
        raise Fault("other pixels, though only the text was touched")
    return "read"
