"""A prepared store on disk: tables in Parquet, images in memory-mapped shards, and a manifest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.errors import UserError
from radgaze.sources.split import fold_split, stratified_split
from radgaze.store.intact import WHOLE, check_shards, read_manifest, read_shard, read_table, scan_table
from radgaze.store.regions import Regions
from radgaze.tables import read_csv

FORMAT = 1
MANIFEST = "manifest.json"
TABLES = ("cases", "readings", "fixations", "boxes")
REJECTIONS = "rejections.csv"
SHARD = 512  # images in one file: 128 MiB at 512×512


@dataclass(frozen=True)
class Store:
    """A prepared store; open one with `Store.open`.

    Attributes:
        path: Its folder.
        manifest: Source, classes, parameters, counts, geometry, software version and file hashes.
        splits: The split of each row of `cases`, where another than that on disk was asked for.
        kept: The ids of the readings that count, where not all do.
    """

    path: Path
    manifest: dict[str, Any] = field(repr=False)
    splits: pl.Series | None = field(default=None, repr=False)
    kept: pl.Series | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open a store.

        Raises:
            UserError: It is not there, not a store, unfinished, of another format, or lacks files.
        """
        path = Path(path)
        if not (path / MANIFEST).is_file():
            raise UserError(_why_not(path))
        manifest = read_manifest(path / MANIFEST)
        made_with, files = manifest["format"], manifest["hashes"]
        if made_with != FORMAT:
            raise UserError(
                f"{path} is a store of format {made_with}, this software reads {FORMAT}: prepare it anew, "
                "into another folder or with --overwrite"
            )
        missing = [name for name in files if not (path / name).is_file()]
        if missing:
            raise UserError(
                f"{path} is damaged: {', '.join(missing[:3])} is missing ({len(missing)} of {len(files)} "
                "files); prepare it anew with --overwrite"
            )
        return cls(path, manifest)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.manifest["classes"])

    @property
    def exclusive(self) -> bool:
        """Whether each case has exactly one of the classes; else any number of them, or none."""
        return bool(self.manifest.get("exclusive", True))

    @property
    def size(self) -> int:
        """Side of the square images, in pixels."""
        return int(self.manifest["parameters"]["size"])

    @cached_property
    def cases(self) -> pl.DataFrame:
        """One row per case: case_id, patient, split, label_<class>…, rows, columns (original pixels), shard,
        index, scale, pad_x, pad_y (x_store = x·scale + pad_x), sha256 (of the image file).
        """
        cases = read_table(self.path, "cases", {f"label_{name}": WHOLE for name in self.classes})
        return cases if self.splits is None else cases.with_columns(self.splits.alias("split"))

    @cached_property
    def readings(self) -> pl.DataFrame:
        """reading_id, case_id, reader, recorded (fixations, off-image ones included), duration (s)."""
        return self._of_kept(read_table(self.path, "readings"))

    @cached_property
    def fixations(self) -> pl.DataFrame:
        """reading_id, index, x, y (original image pixels), onset, duration (s); those on the image only."""
        return self._of_kept(read_table(self.path, "fixations"))

    def scan_fixations(self) -> pl.LazyFrame:
        """The table of fixations as it is on disk, of all readings, to be read in parts."""
        return scan_table(self.path, "fixations")

    @cached_property
    def boxes(self) -> pl.DataFrame:
        """case_id, label, x1, y1, x2, y2 (original image pixels)."""
        return read_table(self.path, "boxes")

    @cached_property
    def regions(self) -> Regions:
        """Parts of images that are marked pixel by pixel; none in most stores."""
        return Regions(self.path, self.size)

    @cached_property
    def rejections(self) -> pl.DataFrame:
        """reason, case_id, reading_id, detail; one row for each thing of the source that is not here."""
        try:
            table = read_csv(self.path / REJECTIONS)
        except pl.exceptions.PolarsError as error:
            raise UserError(f"{self.path / REJECTIONS} is damaged: {_advice(self.path)}") from error
        missing = {"reason", "case_id", "reading_id", "detail"} - set(table.columns)
        if missing:
            raise UserError(f"{self.path / REJECTIONS} lacks {min(missing)}: {_advice(self.path)}")
        return table

    @property
    def knows_published(self) -> bool:
        """Whether the split on disk is the published one, drawn over the archive's own list of patients."""
        published: bool = self.manifest["parameters"].get("split") == "published"
        return published

    def classes_without_cases(self) -> dict[str, list[str]]:
        """The classes that no case of a split has, by split; splits that have all of them are left out."""
        found = {}
        for split in ("train", "validate", "test"):
            own = self.cases.filter(pl.col("split") == split)
            lacking = [name for name in self.classes if not own[f"label_{name}"].sum()]
            if lacking:
                found[split] = lacking
        return found

    def resplit(self, kind: str, *, seed: int = 42, folds: int = 5, fold: int = 0) -> Store:
        """The same store with its patients split anew, or as they are on disk; nothing is written.

        Args:
            kind: "store" (as it is on disk), "published", "stratified" or "folds", see `sources.split`. The
                published split is that of the archive's own list of patients, whatever the seed and however
                many of them are here; only a store that was prepared with it knows it.
            seed: Of the draw.
            folds: How many folds.
            fold: Which of them tests.

        Raises:
            UserError: No such kind or fold, or a published split that the store does not know.
        """
        if kind == "published" and not self.knows_published:
            raise UserError(
                f"{self.path} does not know the published split, which is of the archive's own list "
                "of patients: prepare it with --split published, or give --split.kind store or stratified"
            )
        if kind in ("store", "published"):
            return replace(self, splits=None)
        patients = self.cases["patient"].to_list()
        labels: list[Any] = self.cases.select(f"label_{name}" for name in self.classes).rows()
        if not self.exclusive:
            labels = [
                frozenset(name for name, has in zip(self.classes, row, strict=True) if has) for row in labels
            ]
        try:
            found = {
                "stratified": lambda: stratified_split(patients, labels, seed),
                "folds": lambda: fold_split(patients, labels, seed, folds=folds, fold=fold),
            }[kind]()
        except KeyError as error:
            raise UserError(
                f"there is no split of the kind {kind!r}; there are store, published, stratified, folds"
            ) from error
        except ValueError as error:
            raise UserError(str(error)) from error
        return replace(self, splits=pl.Series("split", [found[patient] for patient in patients]))

    def of_readings(self, ids: pl.Series) -> Store:
        """The same store with some of its readings alone, and the fixations of these."""
        return replace(self, kept=ids)

    @cached_property
    def images(self) -> Images:
        """The images, by row of `cases`."""
        shard, index = (self.cases[name].to_numpy() for name in ("shard", "index"))
        names = {int(number): shard_name(int(number)) for number in np.unique(shard)}
        check_shards(self.path, names, shard, index, (self.size, self.size))
        return Images(self.path, shard, index)

    def image(self, i: int) -> NDArray[np.uint8]:
        """The image of row i of `cases`: (size, size) uint8, read-only, straight from the disk's cache."""
        return self.images[i]

    def _of_kept(self, table: pl.DataFrame) -> pl.DataFrame:
        return table if self.kept is None else table.filter(pl.col("reading_id").is_in(self.kept.implode()))


class Images:
    """The images of a store, as a sequence; each process opens the files for itself, when first needed."""

    def __init__(self, path: Path, shard: NDArray[np.integer], index: NDArray[np.integer]) -> None:
        self._path, self._shard, self._index = path, shard, index
        self._open: dict[int, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self._shard)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> NDArray[np.uint8]:
        shard = int(self._shard[i])
        if shard not in self._open:
            self._open[shard] = read_shard(self._path / shard_name(shard))
        image: NDArray[np.uint8] = self._open[shard][self._index[i]]
        return image

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}


def shard_name(shard: int) -> str:
    """The shard's file, from the store's folder."""
    return f"images/shard-{shard:05d}.npy"


def partial_path(path: Path) -> Path:
    """Where a store is written before it is whole."""
    path = Path(os.path.abspath(path))  # noqa: PTH100  `.` has no name, and resolve() would follow a link
    return path.with_name(path.name + ".partial")


def _advice(path: Path) -> str:
    return f"`radgaze verify {path}` tells what else is damaged"


def _why_not(path: Path) -> str:
    if partial_path(path).exists():
        return (
            f"{path} is not finished: what there is lies in {partial_path(path)}; "
            "the `radgaze prepare` that began it goes on from there"
        )
    if not path.exists():
        return f"{path}: no such folder; a store is what `radgaze prepare … --out STORE` writes"
    return (
        f"{path} is not a store: it has no {MANIFEST}; a store is what `radgaze prepare … --out STORE` writes"
    )
