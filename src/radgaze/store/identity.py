"""What makes two preparations the same, and whether a finished store is the one that is wanted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from radgaze.console import progress
from radgaze.errors import UserError, shortened
from radgaze.sources.cohort import Cohort
from radgaze.sources.external_sort import slices
from radgaze.store.digest import file_digest
from radgaze.store.intact import is_manifest
from radgaze.store.store import FORMAT, MANIFEST, REJECTIONS, TABLES, Store

OWN = re.compile(
    rf"{re.escape(MANIFEST)}|{re.escape(REJECTIONS)}|({'|'.join(TABLES)}|regions)\.parquet"
    r"|(images|regions)(/shard-\d{5,}\.npy)?|(.*/)?\.[^/]*\.part|(.*/)?(\.DS_Store|Thumbs\.db)"
)
"""All that a store's folder may hold, and what systems leave in any folder."""


@dataclass(frozen=True)
class Identity:
    """A preparation's identity.

    Attributes:
        content: Digest of the cohort's tables and of the parameters.
        file_sizes: Digest of the files' sizes, images and masks.
        file_times: Digest of the files' paths and times, which the store depends on no more than it
            keeps them.
    """

    content: str
    file_sizes: str
    file_times: str

    def kept(self) -> dict[str, str]:
        """The part that the manifest keeps: the same wherever the source lies."""
        return {"content": self.content, "file_sizes": self.file_sizes}


def identity_of(cohort: Cohort, parameters: dict[str, Any]) -> Identity:
    """The identity of preparing a cohort with these parameters; image files are looked at, not read."""
    head = [FORMAT, cohort.source, list(cohort.classes), parameters]
    head += [] if cohort.exclusive else ["several classes"]
    names = [*TABLES, "rejections", *(["regions"] if len(cohort.regions) else [])]
    content = _Digest()
    content.add(_json(head))
    for name in names:
        content.add_text(_csv(getattr(cohort, name).lazy().drop("image", "file", strict=False)))
    sizes, times = _Digest(), _Digest()
    for path in chain(cohort.cases["image"], cohort.regions["file"]):
        size, time = _stat(path)
        sizes.add(_json(size))
        times.add(_json([path, time]))
    return Identity(content.taken(), sizes.taken(), times.taken())


class _Digest:
    """SHA-256 of a list as JSON, taken item by item, as it may be long."""

    def __init__(self) -> None:
        self._sha, self._before = hashlib.sha256(b"["), b""

    def add(self, item: str) -> None:
        """One more item, as JSON."""
        self._sha.update(self._before + item.encode())
        self._before = b", "

    def add_text(self, pieces: Iterable[str]) -> None:
        """One more item: a text, in pieces."""
        self._sha.update(self._before + b'"')
        for piece in pieces:
            self._sha.update(_json(piece)[1:-1].encode())
        self._sha.update(b'"')
        self._before = b", "

    def taken(self) -> str:
        self._sha.update(b"]")
        return self._sha.hexdigest()


def _csv(table: pl.LazyFrame) -> Iterator[str]:
    for k, part in enumerate(slices(table)):
        yield part.write_csv(include_header=k == 0)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def finished(
    out: Path, cohort: Cohort, identity: Identity, parameters: dict[str, Any], *, overwrite: bool
) -> Store | None:
    """The store at `out` if it is the one wanted; None if there is nothing, or what may be overwritten.

    An image file that was written after the store is read to see whether it is the same still; one of the
    same size that claims to be older is taken for it. A mask that was written after is taken for another.

    Raises:
        UserError: Something else is there.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / MANIFEST).is_file():
        raise UserError(f"{out} is there and is not a store; choose another --out")
    if overwrite:
        _check_replaceable(out)
        return None
    store = Store.open(out)
    if store.manifest.get("identity") == identity.kept() and not _changed_since(store, cohort):
        return store
    old = store.manifest["parameters"]
    differ = [f"{key} {old.get(key)}, not {new}" for key, new in parameters.items() if old.get(key) != new]
    raise UserError(
        f"{out} holds another store ({', '.join(differ) or 'its source has changed since'}); "
        "add --overwrite to replace it, or choose another --out"
    )


def _check_replaceable(out: Path) -> None:
    """Raise UserError where a folder is not a store and nothing else, whole or damaged."""
    if not is_manifest(out / MANIFEST):
        raise UserError(
            f"{out / MANIFEST} is not a store's, so --overwrite leaves {out} alone; choose another --out, or "
            "remove the folder yourself if it is a damaged store"
        )
    foreign = sorted(
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if not OWN.fullmatch(path.relative_to(out).as_posix())
    )
    if foreign:
        raise UserError(
            f"{out} holds {shortened(foreign[0], 60)}, which is no part of a store, so --overwrite leaves it "
            "alone; move that away, or choose another --out"
        )


def _changed_since(store: Store, cohort: Cohort) -> bool:
    """Whether a file written after the store is not the one that the store was made from."""
    made = (store.path / MANIFEST).stat().st_mtime_ns
    if any(_stat(path)[1] > made for path in cohort.regions["file"]):
        return True
    newer = [
        (case, path)
        for case, path in cohort.cases.select("case_id", "image").iter_rows()
        if _stat(path)[1] > made
    ]
    if not newer:
        return False
    known = dict(store.cases.select("case_id", "sha256").iter_rows())
    with progress("Looking whether images have changed", total=len(newer)) as bar:
        for case_id, path in newer:
            # A case that is not in the store could not be read: whether it can be now, only reading it tells.
            if case_id not in known or file_digest(path) != known[case_id]:
                return True
            bar.advance()
    return False


def _stat(path: str) -> tuple[int, int]:
    """Size and time of last change (ns); (−1, 0) for a file that is gone."""
    try:
        stat = Path(path).stat()
    except OSError:
        return -1, 0
    return stat.st_size, stat.st_mtime_ns
