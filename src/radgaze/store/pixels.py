"""Reading of the files of one case as squares of pixels, in a worker process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radgaze.dicom.error import DicomError
from radgaze.dicom.image import read_any
from radgaze.store.digest import file_digest
from radgaze.store.letterboxing import letterbox
from radgaze.store.masks import read_region


@dataclass(frozen=True)
class Files:
    """Paths of the image and mask files of one case, or `reference`s to images and masks of a store."""

    image: str
    masks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fitted:
    """The square of an image file, and of its masks.

    Attributes:
        pixels: Square of the image, of shape (size, size).
        rows, columns: Original size of the upright image, in pixels.
        sha256: SHA-256 of the file.
        turned: Whether the image was rotated to be upright, so that coordinates in pixels of the file do not
            apply to it.
        burned_in: Whether the file states that text is burnt into the image.
        regions: Bits of each mask, see `store.regions`, or the reason why it cannot be read.
    """

    pixels: NDArray[np.uint8]
    rows: int
    columns: int
    sha256: str
    turned: bool = False
    burned_in: bool = False
    regions: tuple[NDArray[np.uint8] | DicomError, ...] = ()


def read_and_fit(path: str | Path, *, size: int, voi: Literal["window", "none"]) -> Fitted:
    """Read one image file and letterbox it.

    Args:
        path: Path of the file.
        size: Side of the square, in pixels.
        voi: Grey values of a DICOM file, see `PrepareOptions`.

    Raises:
        DicomError: The file cannot be read.
    """
    image = read_any(path, voi=voi)
    rows, columns = image.pixels.shape
    square = fit(image.pixels, size)
    return Fitted(square, rows, columns, file_digest(path), image.turned, image.burned_in)


def read_case(files: Files, *, size: int, voi: Literal["window", "none"]) -> Fitted:
    """Read the files of one case; a mask that cannot be read is recorded in the result.

    Args:
        files: The files.
        size, voi: Arguments of `read_and_fit`.

    Raises:
        DicomError: The image cannot be read.
    """
    fitted = read_and_fit(files.image, size=size, voi=voi)
    read = partial(read_region, rows=fitted.rows, columns=fitted.columns, size=size)
    return replace(fitted, regions=tuple(_or_why_not(read, path) for path in files.masks))


def reference(
    shard: Path, index: int, rows: int, columns: int, sha256: str, *, burned_in: bool = False
) -> str:
    """Describe an image of a store, for use in place of the path of an image file.

    Args:
        shard: Path of the shard that holds the image.
        index: Index of the image in the shard.
        rows, columns: Size of the original image, in pixels.
        sha256: SHA-256 of the original file.
        burned_in: Whether the file states that text is burnt into the image.
    """
    return "\n".join([str(shard.absolute()), *map(str, (index, rows, columns, sha256, int(burned_in)))])


def region_reference(shard: Path, index: int) -> str:
    """Describe a region of a store by its shard and index, for use in place of the path of a mask."""
    return f"{shard.absolute()}\n{index}"


def read_fitted(files: Files) -> Fitted:
    """Read the image and masks that the `reference`s of a case describe.

    Raises:
        DicomError: The image is no longer in the store.
    """
    shard, index, rows, columns, sha256, burned_in = files.image.split("\n")
    regions = tuple(_or_why_not(_referred, region) for region in files.masks)
    return Fitted(
        _of_shard(shard, index), int(rows), int(columns), sha256, burned_in=burned_in == "1", regions=regions
    )


def _referred(region: str) -> NDArray[np.uint8]:
    return _of_shard(*region.split("\n"))


def _of_shard(shard: str, index: str) -> NDArray[np.uint8]:
    try:
        return np.array(np.load(shard, mmap_mode="r")[int(index)])
    except (OSError, ValueError, EOFError, IndexError) as error:
        raise DicomError("gone", "the store that it was in has changed") from error


def _or_why_not(read: Callable[[str], NDArray[np.uint8]], path: str) -> NDArray[np.uint8] | DicomError:
    try:
        return read(path)
    except DicomError as error:
        return error


def fit(image: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """Letterbox an image (rows, columns) in [0, 1] to (size, size) uint8, bicubic with antialiasing."""
    rows, columns = image.shape
    box = letterbox(rows, columns, size)
    seen = (0.0, 0.0, min(box.width / box.scale, columns), min(box.height / box.scale, rows))
    small = Image.fromarray(image).resize((box.width, box.height), Image.Resampling.BICUBIC, box=seen)
    square = np.zeros((size, size), np.uint8)
    levels = np.rint(np.clip(np.asarray(small), 0, 1) * 255).astype(np.uint8)
    square[box.pad_y : box.pad_y + box.height, box.pad_x : box.pad_x + box.width] = levels
    return square
