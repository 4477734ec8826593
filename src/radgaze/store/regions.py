"""Regions: parts of images that are marked pixel by pixel, stored as one bit per pixel of the square."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.store.intact import check_shards, read_shard, read_table
from radgaze.store.masks import packed_shape, unpacked

SHARD = 4096  # regions in one file: 128 MiB at 512×512
TABLE = "regions.parquet"


def shard_name(shard: int) -> str:
    """Return the path of a shard of regions in the folder of a store."""
    return f"regions/shard-{shard:05d}.npy"


class Regions:
    """The regions of a store, as a sequence in the order of its table. Each process opens the files itself.

    Args:
        path: Folder of the store.
        size: Side of its squares, in pixels.
        table: Table of regions, in place of that of the folder.

    Attributes:
        table: Table of case_id, label, shard, index (in the shard) and area (in pixels of the square).

    Raises:
        UserError: A file is damaged.
    """

    def __init__(self, path: Path, size: int, table: pl.DataFrame | None = None) -> None:
        self.path, self.size = path, size
        if table is None:
            has_table = (path / TABLE).is_file()
            table = read_table(path, "regions") if has_table else pl.DataFrame(schema=SCHEMA)
        self.table = table
        self._shard, self._index = (self.table[name].to_numpy() for name in ("shard", "index"))
        names = {int(number): shard_name(int(number)) for number in np.unique(self._shard)}
        check_shards(path, names, self._shard, self._index, packed_shape(size))
        self._open: dict[int, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self._shard)

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> NDArray[np.bool_]:
        """Return which pixels of the square are inside a region, (size, size)."""
        return unpacked(self.bits(i), self.size)

    def union(self, rows: Iterable[int]) -> NDArray[np.bool_]:
        """Return which pixels of the square are inside one of several regions, (size, size)."""
        bits = np.zeros(packed_shape(self.size), np.uint8)
        for row in rows:
            bits |= self.bits(row)
        return unpacked(bits, self.size)

    def close(self) -> None:
        """Close the files, which open again when they are read, see `Images.close`."""
        self._open.clear()

    def bits(self, i: int) -> NDArray[np.uint8]:
        """Return the stored bits (size, ⌈size/8⌉) of a region."""
        shard = int(self._shard[i])
        if shard not in self._open:
            self._open[shard] = read_shard(self.path / shard_name(shard))
        packed: NDArray[np.uint8] = self._open[shard][self._index[i]]
        return packed

    def __getstate__(self) -> dict[str, object]:
        # Without the table, since workers must not call polars, see `GazeDataset`.
        return self.__dict__ | {"_open": {}, "table": None}


SCHEMA = {"case_id": pl.String, "label": pl.String, "shard": pl.Int32, "index": pl.Int32, "area": pl.Int32}
