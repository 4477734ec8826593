"""A prepared store on disk: tables in Parquet, images in memory-mapped shards, and a manifest."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import index
from pathlib import Path
from typing import Literal, SupportsIndex

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.errors import UserError, call, close_to, shortened
from radgaze.files import as_path
from radgaze.sources.contents import NO_MENTIONS, NO_TWINS
from radgaze.sources.split import fold_split, stratified_split
from radgaze.store import summary
from radgaze.store.intact import TEXT, WHOLE, check_columns, check_shards, read_shard, read_table, scan_table
from radgaze.store.manifest import Manifest
from radgaze.store.opening import open_manifest
from radgaze.store.regions import Regions
from radgaze.tables import read_csv

TABLES = ("cases", "readings", "fixations", "boxes")
REJECTIONS = "rejections.csv"
MENTIONS = "mentions.parquet"
TWINS = "twins.parquet"
PLACES = ("rows", "columns", "shard", "index", "scale", "pad_x", "pad_y", "sha256")
"""Columns of the size, the place and the geometry of an image."""
SHARD = 512  # images in one file: 128 MiB at 512×512


@dataclass(frozen=True)
class Store:
    """A prepared store; open one with `Store.open`.

    Attributes:
        path: Folder of the store.
        manifest: Source, classes, parameters, counts, geometry, software version and file hashes.
        splits: Split of each row of `cases`, in place of that on disk; None for that on disk.
        reading_ids: Ids of the readings that are used; None for all.
    """

    path: Path
    manifest: Manifest = field(repr=False)
    splits: pl.Series | None = field(default=None, repr=False)
    reading_ids: pl.Series | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open a store.

        Raises:
            UserError: The folder is missing, is not a store, or holds an unfinished store, one of another
                format or one that lacks files.
        """
        path = as_path(path, "path")
        return cls(path, open_manifest(path))

    def __len__(self) -> int:
        """Return the number of cases."""
        return self.manifest["counts"]["cases"]

    def __repr__(self) -> str:
        """Show cases, readings and rejections at the prompt."""
        return summary.text(self)

    def _repr_html_(self) -> str:
        """Show them in a notebook."""
        return summary.html(self)

    @property
    def is_restricted(self) -> bool:
        """Whether some of the readings are left out, see `of_readings`."""
        return self.reading_ids is not None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        return tuple(self.manifest["classes"])

    @property
    def exclusive(self) -> bool:
        """Whether each case has exactly one of the classes, rather than any number of them."""
        return self.manifest.get("exclusive", True)

    @property
    def size(self) -> int:
        """Side of the square images, in pixels."""
        size = self.manifest["parameters"]["size"]
        assert isinstance(size, int)  # as `read_manifest` checks
        return size

    @property
    def voi(self) -> Literal["window", "none"]:
        """Grey values of the images, see `PrepareOptions`."""
        return "none" if self.manifest["parameters"].get("voi") == "none" else "window"

    @cached_property
    def cases(self) -> pl.DataFrame:
        """Table of cases: case_id, patient, split, label_<class>…, rows and columns (of the original image),
        shard, index (in the shard), scale, pad_x and pad_y (x_store = x·scale + pad_x, in pixels), and sha256
        (of the image file).
        """
        cases = read_table(self.path, "cases", {f"label_{name}": WHOLE for name in self.classes})
        return cases if self.splits is None else cases.with_columns(self.splits.alias("split"))

    @cached_property
    def twins(self) -> pl.DataFrame:
        """Table of twins: case_id, twin_of, confounder, shows and original_shows, see `Cohort.twins`, and the
        columns of `cases` from rows on. Twins are no cases; `twins.as_cases` makes a store of them.
        """
        if not (self.path / TWINS).is_file():
            return (
                self.cases.select(*PLACES)
                .clear()
                .select(
                    *(pl.lit(None, pl.String).alias(name) for name in NO_TWINS if name != "image"), *PLACES
                )
            )
        twins = read_table(self.path, "twins")
        check_columns(self.path / TWINS, twins.schema, dict.fromkeys(NO_TWINS.keys() - {"image"}, TEXT))
        return twins

    @cached_property
    def readings(self) -> pl.DataFrame:
        """Table of readings: reading_id, case_id, reader, recorded (number of fixations, off-image ones
        included) and duration (s).
        """
        return self._selected(read_table(self.path, "readings"))

    @cached_property
    def fixations(self) -> pl.DataFrame:
        """Table of the fixations on the image: reading_id, index (among the recorded ones), x and y (pixels
        of the original image), onset and duration (s), and `cohort.VIEWS` where they were recorded.
        """
        return self._selected(read_table(self.path, "fixations"))

    def scan_fixations(self) -> pl.LazyFrame:
        """Open the table of the fixations of all readings lazily, to be read in parts."""
        return scan_table(self.path, "fixations")

    @cached_property
    def boxes(self) -> pl.DataFrame:
        """Table of boxes: case_id, label, x1, y1, x2, y2 (pixels of the original image), and in some stores
        shape ("box" or "ellipse").
        """
        return read_table(self.path, "boxes")

    @cached_property
    def mentions(self) -> pl.DataFrame:
        """reading_id, index, label, share (of the duration): the fixations that belong to each class that a
        report mentions; none in stores whose gaze was not aligned with reports.
        """
        if not (self.path / MENTIONS).is_file():
            return pl.DataFrame(schema=NO_MENTIONS)
        return self._selected(read_table(self.path, "mentions"))

    @cached_property
    def regions(self) -> Regions:
        """Masks: parts of images that are marked pixel by pixel; empty for most stores."""
        return Regions(self.path, self.size)

    @cached_property
    def rejections(self) -> pl.DataFrame:
        """Table of rejected items of the source: reason, case_id, reading_id and detail.

        Raises:
            UserError: The file is damaged.
        """
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
        """Whether the split on disk is the published one, drawn from the archive's list of patients."""
        return self.manifest["parameters"].get("split") == "published"

    def classes_without_cases(self) -> dict[str, list[str]]:
        """Find the classes that no case of a split has, by split; splits with all classes are left out."""
        empty = {}
        for split in ("train", "validate", "test"):
            cases = self.cases.filter(pl.col("split") == split)
            names = [name for name in self.classes if not cases[f"label_{name}"].sum()]
            if names:
                empty[split] = names
        return empty

    def resplit(self, kind: str, *, seed: int = 42, folds: int = 5, fold: int = 0) -> Store:
        """Return the store with its patients split in another way; nothing is written.

        Args:
            kind: "store" (as on disk), "published", "stratified" or "folds", see `sources.split`. The
                published split was drawn from the archive's list of patients, and depends neither on the seed
                nor on the patients in the store; only a store that was prepared with it has it.
            seed: Random seed of the split.
            folds: Number of folds.
            fold: Index of the test fold, from 0.

        Raises:
            UserError: There is no such kind or fold, there are too few patients for it, or the store does not
                have the published split.
        """
        if kind == "published" and not self.knows_published:
            raise UserError(
                f"{self.path} does not know the published split, which is of the archive's own list "
                "of patients: prepare it with the option split=published, or give `split.kind` store or "
                "stratified"
            )
        if kind in ("store", "published"):
            return replace(self, splits=None)
        patients, labels, seed = self.cases["patient"].to_list(), self._labels(), index(seed)  # also NumPy's
        draws = {
            "stratified": lambda: stratified_split(patients, labels, seed),
            "folds": lambda: fold_split(patients, labels, seed, folds=folds, fold=fold),
        }
        if kind not in draws:
            raise UserError(
                f"there is no split of the kind {kind!r}; there are store, published, stratified, folds"
            )
        try:
            split_of = draws[kind]()
        except ValueError as error:
            raise UserError(str(error)) from error
        return replace(self, splits=pl.Series("split", [split_of[patient] for patient in patients]))

    def _labels(self) -> list[Hashable]:
        """Labels of each case, as one value for stratification."""
        rows = self.cases.select(f"label_{name}" for name in self.classes).rows()
        if self.exclusive:
            return list(rows)
        return [frozenset(name for name, has in zip(self.classes, row, strict=True) if has) for row in rows]

    def of_readings(self, ids: pl.Series) -> Store:
        """Return the store restricted to the readings of these ids and their fixations."""
        return replace(self, reading_ids=ids)

    @cached_property
    def images(self) -> Images:
        """The images, in the order of `cases`.

        Raises:
            UserError: A file is damaged.
        """
        shard, index = (self.cases[name].to_numpy() for name in ("shard", "index"))
        names = {int(number): shard_name(int(number)) for number in np.unique(shard)}
        check_shards(self.path, names, shard, index, (self.size, self.size))
        return Images(self.path, shard, index)

    def image(self, case: SupportsIndex | str) -> NDArray[np.uint8]:
        """Return the image of a case, (size, size) uint8, as a read-only view of the file.

        Args:
            case: Row of `cases`, or id of the case.

        Raises:
            UserError: There is no such case, or the file is damaged.
        """
        return self.images[self._row(case)]

    def _row(self, case: object) -> int:
        """The row of a case."""
        if isinstance(case, str):
            if case not in self._rows:
                ids = list(self._rows)
                raise UserError(f"{self.path} has no case {shortened(case, 80)!r}{close_to(case, ids)}")
            return self._rows[case]
        if not isinstance(case, SupportsIndex) or not -len(self) <= index(case) < len(self):
            raise UserError(
                f"`case` must be the id of a case or its row in `cases`, from 0 to {len(self) - 1}, "
                f"got {shortened(repr(case), 80)}"
            )
        return index(case)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {case_id: i for i, case_id in enumerate(self.cases["case_id"])}

    def _selected(self, table: pl.DataFrame) -> pl.DataFrame:
        if self.reading_ids is None:
            return table
        return table.filter(pl.col("reading_id").is_in(self.reading_ids.implode()))


class Images:
    """The images of a store, as a sequence of (size, size) uint8. Each process opens the files itself."""

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

    def close(self) -> None:
        """Close the files, which open again when they are read.

        Until then, what was read of them counts as memory of the process.
        """
        self._open.clear()

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_open": {}}


def shard_name(shard: int) -> str:
    """Return the path of a shard of images in the folder of a store."""
    return f"images/shard-{shard:05d}.npy"


def _advice(path: Path) -> str:
    return f"{call('verify', path)} lists what else is damaged"
