"""What is known of the images that lie in their places in a store that is being written."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Done:
    """An image that lies in its place, and its regions in theirs.

    Attributes:
        rows, columns: Of the original image.
        sha256: Of its file.
        burned_in: Whether that says that words are burnt into it.
        unread: Of each region why its mask could not be read, "" for those that could.
        areas: Of each region the pixels of the square that are inside.
    """

    rows: int
    columns: int
    sha256: str
    burned_in: bool = False
    unread: tuple[str, ...] = ()
    areas: tuple[int, ...] = ()


class DoneImages(MutableMapping[int, Done]):
    """Those that are done, by place and in their order; a tenth of what a dictionary of objects takes.

    Args:
        images: How many there are to be done.
    """

    def __init__(self, images: int) -> None:
        self._known = np.zeros(
            images, [("there", "?"), ("rows", "i4"), ("columns", "i4"), ("sha256", "S64"), ("burned_in", "?")]
        )
        self._regions: dict[int, tuple[tuple[str, ...], tuple[int, ...]]] = {}

    def __getitem__(self, i: int) -> Done:
        there, rows, columns, sha256, burned_in = self._known[i].item()
        if not there:
            raise KeyError(i)
        return Done(rows, columns, sha256.decode(), burned_in, *self._regions.get(i, ((), ())))

    def __setitem__(self, i: int, done: Done) -> None:
        self._known[i] = True, done.rows, done.columns, done.sha256, done.burned_in
        self._regions.pop(i, None)
        if done.unread or done.areas:
            self._regions[i] = done.unread, done.areas

    def __delitem__(self, i: int) -> None:
        self._known[i] = np.zeros((), self._known.dtype)
        self._regions.pop(i, None)

    def __iter__(self) -> Iterator[int]:
        return map(int, np.flatnonzero(self._known["there"]))

    def __len__(self) -> int:
        return int(np.count_nonzero(self._known["there"]))

    def __contains__(self, i: object) -> bool:
        return isinstance(i, int) and bool(self._known["there"][i])

    def left(self) -> list[int]:
        """The places of those that are not done."""
        return [int(i) for i in np.flatnonzero(~self._known["there"])]
