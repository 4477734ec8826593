"""RUN/store.json: which store a run was trained on, so that no other one is taken for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from radgaze.errors import UserError
from radgaze.files import read_json, write_text
from radgaze.store.store import Store

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
}
"""What is compared, in the user's words."""


GONE = (
    "The store of this run is gone or cannot be read, so that it could not be compared with the one that the "
    "run was trained on."
)
UNKNOWN = (
    "This run does not keep what its store held when it was trained, so that only the predicted cases and "
    "their labels could be compared with the store."
)


class StoreChangedError(UserError):
    """A store is not the one that a run was trained on; the message says what differs."""


def contents(store: Store) -> dict[str, str]:
    """A hash of each of `PARTS`, of the store as it is on disk, without another split."""
    cases = replace(store, splits=None).cases.sort("case_id")
    labels = cases.select("case_id", *sorted(f"label_{name}" for name in store.classes))
    files: Mapping[str, str] = store.manifest["hashes"]

    def of_files(*starts: str) -> str:
        return _hash(f"{name} {files[name]}" for name in sorted(files) if name.startswith(starts))

    return {
        "classes": _hash(store.classes),
        "cases": _hash(cases["case_id"]),
        "patients": _rows(cases.select("case_id", "patient")),
        "splits": _rows(cases.select("case_id", "split")),
        "labels": _rows(labels),
        "images": of_files("images/"),
        "gaze": of_files("readings.", "fixations."),
        "boxes": of_files("boxes.", "regions"),
    }


def write(store: Store, run: Path) -> None:
    """Keep in a run's folder what its store holds, and who trains, validates and tests in this run."""
    kept = {"contents": contents(store), "drawn": drawn(store)}
    write_text(json.dumps(kept, indent=2) + "\n", run / FILE)


def drawn(store: Store) -> str:
    """A hash of who trains, validates and tests, by the run's own split."""
    return _rows(store.cases.select("case_id", "split").sort("case_id"))


def read(run: Path) -> dict[str, str] | None:
    """What the store of a run held when it was trained; None where that was not kept.

    Raises:
        UserError: The file is damaged.
    """
    found = _read(run)
    return None if found is None else dict(found["contents"])


def _read(run: Path) -> dict[str, Any] | None:
    path = run / FILE
    if not path.is_file():
        return None

    def fits(found: Any) -> bool:
        parts = found.get("contents") if isinstance(found, dict) else None
        return isinstance(parts, dict) and parts.keys() == PARTS.keys()

    advice = "remove it, and this run and its store are no longer compared"
    return dict(read_json(path, fits, advice))


def check(store: Store, run: Path, advice: str) -> None:
    """Compare a store with the one that a run was trained on.

    Args:
        store: The store.
        run: The run's folder.
        advice: What to do where they differ.

    Raises:
        StoreChangedError: They differ.
    """
    before = _read(run)
    if before is None:
        return
    changed = differences(before["contents"], contents(store))
    if changed:
        raise StoreChangedError(
            f"the store {store.path} is not the one that {run} was trained on, {changed}; {advice}"
        )
    if before.get("drawn", drawn(store)) != drawn(store):
        raise StoreChangedError(drawn_otherwise(run))


def drawn_otherwise(run: Path) -> str:
    """What to say where a run's split is not drawn again as it was."""
    return (
        f"the split of {run} is drawn otherwise by this version of radgaze, or its configuration is another: "
        "cases that it trained on would be tested; use the version that it was trained with, or train anew"
    )


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What of two stores differs, in words; nothing where they are alike."""
    changed = [words for part, words in PARTS.items() if before.get(part) != now.get(part)]
    if not changed:
        return ""
    return f"{' and '.join([', '.join(changed[:-1]), changed[-1]] if changed[1:] else changed)} differ"


def _rows(table: pl.DataFrame) -> str:
    return _hash(repr(row) for row in table.iter_rows())


def _hash(lines: Iterable[str]) -> str:
    made = hashlib.sha256()
    for line in lines:
        made.update(line.encode() + b"\n")
    return made.hexdigest()
