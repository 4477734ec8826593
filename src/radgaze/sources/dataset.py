"""A data set of the user in Python, of images, labels and maps, as a cohort."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.options import FieldError, Options, option
from radgaze.sources.cohort import Cohort
from radgaze.sources.contents import NO_BOXES, NO_FIXATIONS, NO_READINGS, NO_REGIONS, NO_REJECTIONS
from radgaze.sources.dataset_item import Item, read_item
from radgaze.sources.dataset_labels import labels_of
from radgaze.sources.pictures import write_mask, write_picture
from radgaze.sources.split import stratified_split

LARGEST = 512
"""Largest side of the images of the store in pixels, unless another `size` is given."""


class Items(Protocol):
    """A data set with a length and items by number, such as a list or a `torch.utils.data.Dataset`."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> object: ...


@dataclass(frozen=True)
class DatasetOptions(Options):
    """How a data set in Python is read.

    Attributes:
        classes: Names of the classes, in the order of the labels.
        exclusive: Whether each item has exactly one of the classes; None if all items of the data set do.
        points: Number of fixations that a gaze map becomes.
        seed: Seed of the split, where the items have none.
    """

    classes: Sequence[str]
    exclusive: bool | None = None
    points: int = option(256, at_least=1, at_most=65536)
    seed: int = option(42, at_least=0, at_most=2**32 - 1)

    def __post_init__(self) -> None:
        if isinstance(self.classes, int):
            example = "as in `classes=('normal', 'pneumonia')`"
            raise FieldError("classes", f"must be the names of the classes, {example}, got {self.classes}")
        super().__post_init__()
        names: list[object] = list(self.classes)
        proper = all(isinstance(each, str) and each for each in names)
        if not names or not proper or len(set(names)) < len(names):
            raise FieldError("classes", f"must be names, each once, got {names}")


@dataclass(frozen=True)
class Made:
    """A data set as a cohort.

    Attributes:
        cohort: The cohort, whose images and masks are files of the given folder.
        side: Longest side of the images in pixels, at most `LARGEST`.
    """

    cohort: Cohort
    side: int


def cohort_of(items: Items, options: DatasetOptions, folder: Path) -> Made:
    """Read a data set; its images and masks are written to a folder, as PNG.

    Args:
        items: The data set; docs/own_models.md lists what an item is.
        options: Classes and settings.
        folder: Folder for the pictures.

    Raises:
        UserError: The data set has no items, an item is not as documented, or items contradict each other.
    """
    read, digest = _read(items, options, folder)
    labels, exclusive = labels_of([item.label for item in read], tuple(options.classes), options.exclusive)
    cases = _cases(read, options, labels, exclusive=exclusive)
    readings, fixations, off = _gaze(read, cases["case_id"].to_list())
    return Made(
        Cohort(
            source="dataset",
            classes=tuple(options.classes),
            cases=cases,
            readings=readings,
            fixations=fixations.lazy(),
            boxes=_boxes(read, cases["case_id"].to_list()),
            regions=_regions(read, cases["case_id"].to_list()),
            rejections=off,
            exclusive=exclusive,
            parameters={
                "split": "given" if read[0].split else "stratified",
                "seed": None if read[0].split else options.seed,
                "points": options.points,
                "pictures": digest,
            },
        ),
        side=min(LARGEST, max(max(item.shape) for item in read)),
    )


def _read(items: Items, options: DatasetOptions, folder: Path) -> tuple[list[Item], str]:
    """Read all items, and a digest of their pictures, which are in files of a folder and not in memory."""
    count = _length(items)
    read, digest = [], hashlib.sha256()
    with progress("Reading the data set", total=count, of="items") as bar:
        for i in range(count):
            try:
                item = read_item(items[i], points=options.points)
            except UserError as error:
                raise UserError(f"item {i} of the data set: {error}") from error
            image = folder / f"{i:06d}.png"
            write_picture(item.pixels, image)
            digest.update(image.read_bytes())
            masks = {}
            for k, (name, inside) in enumerate(item.masks.items()):
                masks[name] = folder / f"{i:06d}-{k}.png"
                write_mask(inside, masks[name])
                digest.update(masks[name].read_bytes())
            read.append(item.stored(image, masks))
            bar.advance()
    for name in ("patient", "split", "id"):
        given = [getattr(item, name) is not None for item in read]
        if any(given) and not all(given):
            raise UserError(f"item {given.index(False)} of the data set has no `{name}`, and others have one")
    return read, digest.hexdigest()


def _length(items: object) -> int:
    """Count the items of a data set.

    Raises:
        UserError: It has no items by number, no length, or no items at all.
    """
    kind = type(items).__name__
    if isinstance(items, Mapping) or not hasattr(items, "__getitem__"):
        is_loader = hasattr(items, "dataset")  # a `torch.utils.data.DataLoader`, which makes batches
        hint = "give its data set itself, `loader.dataset`" if is_loader else "give a list of its items"
        raise UserError(f"a data set needs items by number, `dataset[0]`; {kind} has none: {hint}")
    if not isinstance(items, Sized):
        raise UserError(f"a data set needs a length; {kind} has none")
    count = len(items)
    if not count:
        raise UserError("the data set has no items")
    return count


def _cases(
    read: Sequence[Item], options: DatasetOptions, labels: Sequence[frozenset[str]], *, exclusive: bool
) -> pl.DataFrame:
    """`Cohort.cases`."""
    ids = [f"case-{i + 1:06d}" if item.id is None else item.id for i, item in enumerate(read)]
    often, count = Counter(ids).most_common(1)[0]
    if count > 1:
        raise UserError(f"{count} items of the data set have the id {often!r}")
    names = [str(i) if item.patient is None else item.patient for i, item in enumerate(read)]
    keys = {name: key for key, name in enumerate(dict.fromkeys(names))}
    patients = [keys[name] for name in names]
    splits = [item.split for item in read]
    if read[0].split is None:
        kinds = [next(iter(each)) if exclusive else each for each in labels]
        split_of = stratified_split(patients, kinds, options.seed)
        splits = [split_of[patient] for patient in patients]
    first: dict[int, str | None] = {}
    for i, (patient, split) in enumerate(zip(patients, splits, strict=True)):
        if first.setdefault(patient, split) != split:
            raise UserError(
                f"item {i} of the data set has the split {split}, and another one of its patient has "
                f"{first[patient]}"
            )
    return pl.DataFrame(
        {
            "case_id": ids,
            "patient": pl.Series(patients, dtype=pl.Int32),
            "split": splits,
            "image": [str(item.image) for item in read],
            **{
                f"label_{name}": pl.Series([int(name in each) for each in labels], dtype=pl.Int8)
                for name in options.classes
            },
        }
    )


def _gaze(read: Sequence[Item], ids: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """`Cohort.readings`, the fixations on the images, and the rejections of the others."""
    readings, fixations, off = [], [pl.DataFrame(schema=NO_FIXATIONS)], [pl.DataFrame(schema=NO_REJECTIONS)]
    for item, case_id in zip(read, ids, strict=True):
        if not len(item.fixations):
            continue
        reading_id, (rows, columns) = f"{case_id}/0", item.shape
        x, y, duration = item.fixations.T
        readings.append((reading_id, case_id, None, len(x), float(duration.sum())))
        table = pl.DataFrame(
            {"x": x, "y": y, "duration": duration, "onset": duration.cumsum() - duration}
        ).with_columns(reading_id=pl.lit(reading_id), index=pl.int_range(pl.len(), dtype=pl.Int32))
        on = pl.col("x").is_between(0, columns) & pl.col("y").is_between(0, rows)
        fixations.append(table.filter(on).select(*NO_FIXATIONS))
        off.append(
            table.filter(~on).select(
                reason=pl.lit("off_image_fixation"),
                case_id=pl.lit(case_id),
                reading_id=pl.col("reading_id"),
                detail=pl.format("index {}", "index"),
            )
        )
    return pl.DataFrame(readings, schema=NO_READINGS, orient="row"), pl.concat(fixations), pl.concat(off)


def _boxes(read: Sequence[Item], ids: Sequence[str]) -> pl.DataFrame:
    """`Cohort.boxes`, clipped to the images."""
    rows = [
        (case_id, name, *(float(value) for value in box))
        for item, case_id in zip(read, ids, strict=True)
        for name, boxes in item.boxes.items()
        for box in boxes
    ]
    return pl.DataFrame(rows, schema=NO_BOXES, orient="row")


def _regions(read: Sequence[Item], ids: Sequence[str]) -> pl.DataFrame:
    """`Cohort.regions`."""
    rows = [
        (case_id, name, str(file))
        for item, case_id in zip(read, ids, strict=True)
        for name, file in item.files.items()
    ]
    return pl.DataFrame(rows, schema=NO_REGIONS, orient="row")
