"""RUN/store.json: hashes of the store that a run was trained on, to detect changes, and its image format."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from radgaze import records
from radgaze.errors import UserError
from radgaze.records import Record, optional
from radgaze.store.store import Store
from radgaze.words import listed

FILE = "store.json"

PARTS = {
    "classes": "the classes",
    "cases": "the cases",
    "patients": "whose cases they are",
    "splits": "who trains, validates and tests",
    "labels": "the labels",
    "images": "the images",
    "gaze": "the gaze",
    "boxes": "the boxes and masks",
    "twins": "the twins",
}
"""The parts of a store that are compared, and their names in messages."""

RECORDED_LATER = frozenset({"twins"})
"""Parts that the records of earlier runs lack, and that are not compared there."""

GONE = (
    "The store of this run is gone or cannot be read, so that it could not be compared with the one that the "
    "run was trained on."
)
UNKNOWN = (
    "This run does not keep what its store held when it was trained, so that only the predicted cases and "
    "their labels could be compared with the store."
)


class StoreChangedError(UserError):
    """A store is not the one on which a run was trained; the message states what differs."""


@dataclass(frozen=True)
class StoredImages:
    """The way in which the images of a store were read, which images to be predicted must be, too.

    Attributes:
        size: Side of the square images, in pixels.
        voi: Grey values, see `PrepareOptions`.
    """

    size: Annotated[int, Field(ge=1, le=16384)]
    voi: Literal["window", "none"]


@dataclass(frozen=True)
class Origin(Record):
    """The store of a run.

    Attributes:
        contents: Hash of each of `PARTS`.
        drawn: Hash of the run's split; None in runs from before it was recorded.
        images: The way in which its images were read; None in runs from before it was recorded.
        exclusive: Whether each of its cases has exactly one class; None in runs from before it was recorded.
    """

    contents: dict[str, str]
    drawn: str | None = optional()
    images: StoredImages | None = optional()
    exclusive: bool | None = optional()


def contents(store: Store) -> dict[str, str]:
    """Compute a hash of each of `PARTS`, for the store as it is on disk, regardless of the run's split."""
    cases = replace(store, splits=None).cases.sort("case_id")
    labels = cases.select("case_id", *sorted(f"label_{name}" for name in store.classes))
    files = store.manifest["hashes"]

    def of_files(*starts: str) -> str:
        return _hash(f"{name} {files[name]}" for name in sorted(files) if name.startswith(starts))

    return {
        "classes": _hash(store.classes),
        "cases": _hash(cases["case_id"]),
        "patients": _rows(cases.select("case_id", "patient")),
        "splits": _rows(cases.select("case_id", "split")),
        "labels": _rows(labels),
        "images": of_files("images/"),
        "gaze": of_files("readings.", "fixations.", "mentions."),
        "boxes": of_files("boxes.", "regions"),
        "twins": of_files("twins."),
    }


def write(store: Store, run: Path) -> None:
    """Record in a run's folder the hashes of its store and split, and how its images were read."""
    images = StoredImages(store.size, store.voi)
    records.write(Origin(contents(store), drawn(store), images, store.exclusive), run / FILE)


def drawn(store: Store) -> str:
    """Compute a hash of the split of a store that was opened for a run."""
    return _rows(store.cases.select("case_id", "split").sort("case_id"))


def read(run: Path) -> Origin | None:
    """Read the origin of a run; None where it was not recorded.

    Raises:
        UserError: The file is damaged.
    """
    path = run / FILE
    if not path.is_file():
        return None
    advice = "remove it, and this run and its store are no longer compared"
    origin = records.read(Origin, path, advice)
    if origin.contents.keys() | RECORDED_LATER != PARTS.keys():
        raise UserError(f"{path} does not hold what it should; {advice}")
    return origin


def check(store: Store, run: Path, advice: str) -> None:
    """Compare a store with the one that a run was trained on.

    Args:
        store: Store, opened with the run's split.
        run: Folder of the run.
        advice: Advice for the end of the message, where they differ.

    Raises:
        StoreChangedError: The stores or their splits differ.
        UserError: The file is damaged.
    """
    before = read(run)
    if before is None:
        return
    changed = differences(before.contents, contents(store))
    if changed:
        raise StoreChangedError(
            f"the store {store.path} is not the one that {run} was trained on, {changed}; {advice}"
        )
    if before.drawn is not None and before.drawn != drawn(store):
        raise StoreChangedError(other_split(run))


def other_split(run: Path) -> str:
    """Return the message for a run whose split is not the recorded one."""
    return (
        f"this version of radgaze draws the split of {run} otherwise, or its configuration is another: "
        "cases that it trained on would be tested; use the version that it was trained with, or train again"
    )


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """State in words which parts of two stores differ; empty where none does.

    Args:
        before: Hashes of `PARTS` of one store, see `contents`.
        now: Hashes of the other.
    """
    changed = [
        words
        for part, words in PARTS.items()
        if before.get(part) != now.get(part) and (part in before or part not in RECORDED_LATER)
    ]
    return f"{listed(changed)} differ" if changed else ""


def _rows(table: pl.DataFrame) -> str:
    return _hash(repr(row) for row in table.iter_rows())


def _hash(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()
