"""The completed images of a store that is being written."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Done:
    """An image that is completely written, with its regions.

    Attributes:
        rows, columns: Size of the original image, in pixels.
        sha256: SHA-256 of the image file.
        burned_in: Whether the file states that text is burnt into the image.
        unread: For each region the reason why its mask cannot be read, "" for one that was read.
        areas: Area of each region, in pixels of the square.
    """

    rows: int
    columns: int
    sha256: str
    burned_in: bool = False
    unread: tuple[str, ...] = ()
    areas: tuple[int, ...] = ()


class DoneImages(MutableMapping[int, Done]):
    """Completed images by index, in order; takes a tenth of the memory of a dictionary.

    Args:
        images: Number of all images.
    """

    def __init__(self, images: int) -> None:
        self._records = np.zeros(
            images, [("done", "?"), ("rows", "i4"), ("columns", "i4"), ("sha256", "S64"), ("burned_in", "?")]
        )
        self._regions: dict[int, tuple[tuple[str, ...], tuple[int, ...]]] = {}

    def __getitem__(self, i: int) -> Done:
        is_done, rows, columns, sha256, burned_in = self._records[i].item()
        if not is_done:
            raise KeyError(i)
        return Done(rows, columns, sha256.decode(), burned_in, *self._regions.get(i, ((), ())))

    def __setitem__(self, i: int, done: Done) -> None:
        self._records[i] = True, done.rows, done.columns, done.sha256, done.burned_in
        self._regions.pop(i, None)
        if done.unread or done.areas:
            self._regions[i] = done.unread, done.areas

    def __delitem__(self, i: int) -> None:
        self._records[i] = np.zeros((), self._records.dtype)
        self._regions.pop(i, None)

    def __iter__(self) -> Iterator[int]:
        return map(int, np.flatnonzero(self._records["done"]))

    def __len__(self) -> int:
        return int(np.count_nonzero(self._records["done"]))

    def __contains__(self, i: object) -> bool:
        return isinstance(i, int) and bool(self._records["done"][i])

    def left(self) -> list[int]:
        """Return the indices of the images that are not completed."""
        return [int(i) for i in np.flatnonzero(~self._records["done"])]
