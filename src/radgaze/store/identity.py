"""The identity of a preparation, and whether a finished store is its result."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeGuard

import polars as pl

from radgaze.console import progress
from radgaze.errors import UserError, shortened
from radgaze.sources.cohort import Cohort
from radgaze.sources.external_sort import slices
from radgaze.store.digest import file_digest
from radgaze.store.manifest import Parameters, is_manifest
from radgaze.store.opening import FORMAT, MANIFEST
from radgaze.store.store import REJECTIONS, TABLES, Store
from radgaze.words import listed

STORE_FILES = re.compile(
    rf"{re.escape(MANIFEST)}|{re.escape(REJECTIONS)}|({'|'.join(TABLES)}|regions|mentions|twins)\.parquet"
    r"|(images|regions)(/shard-\d{5,}\.npy)?|(.*/)?\.[^/]*\.part|(.*/)?(\.DS_Store|Thumbs\.db)"
)
"""Names of files that the folder of a store may hold, including those that operating systems add."""


@dataclass(frozen=True)
class Identity:
    """Identity of a preparation, by which it is recognised.

    Attributes:
        content: Digest of the cohort's tables and of the parameters.
        file_sizes: Digest of the sizes of the image and mask files.
        file_times: Digest of the paths and modification times of these files, on which the content of the
            store does not depend.
    """

    content: str
    file_sizes: str
    file_times: str

    def recorded(self) -> dict[str, str]:
        """Return the part that the manifest records, which does not depend on the location of the source."""
        return {"content": self.content, "file_sizes": self.file_sizes}


def identity_of(cohort: Cohort, parameters: Parameters) -> Identity:
    """Compute the identity of a preparation; of image files it uses the sizes and times, not the content."""
    head: list[object] = [FORMAT, cohort.source, list(cohort.classes), parameters]
    head += [] if cohort.exclusive else ["several classes"]
    names = [*TABLES, "rejections"]
    names += [name for name in ("regions", "mentions", "twins") if len(getattr(cohort, name))]
    content = _Digest()
    content.add(_json(head))
    for name in names:
        content.add_text(_csv(getattr(cohort, name).lazy().drop("image", "file", strict=False)))
    sizes, times = _Digest(), _Digest()
    for path in chain(cohort.images, cohort.regions["file"]):
        size, time = _stat(path)
        sizes.add(_json(size))
        times.add(_json([path, time]))
    return Identity(content.hexdigest(), sizes.hexdigest(), times.hexdigest())


class _Digest:
    """SHA-256 of a list as JSON, updated item by item, since the list may be long."""

    def __init__(self) -> None:
        self._sha, self._before = hashlib.sha256(b"["), b""

    def add(self, item: str) -> None:
        """Add an item, as JSON."""
        self._sha.update(self._before + item.encode())
        self._before = b", "

    def add_text(self, pieces: Iterable[str]) -> None:
        """Add a text as one item, given in pieces."""
        self._sha.update(self._before + b'"')
        for piece in pieces:
            self._sha.update(_json(piece)[1:-1].encode())
        self._sha.update(b'"')
        self._before = b", "

    def hexdigest(self) -> str:
        self._sha.update(b"]")
        return self._sha.hexdigest()


def _csv(table: pl.LazyFrame) -> Iterator[str]:
    for k, part in enumerate(slices(table)):
        yield part.write_csv(include_header=k == 0)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def finished(
    out: Path, cohort: Cohort, identity: Identity, parameters: Parameters, *, overwrite: bool
) -> Store | None:
    """Find the finished result of a preparation.

    An image file that was modified after the store was written is read and compared; one of the same size
    that is older counts as unchanged. A mask that was modified after the store counts as changed.

    Args:
        out: Folder of the store.
        cohort: Cohort of the preparation.
        identity: Identity of the preparation.
        parameters: Parameters of the preparation.
        overwrite: Whether the store in the folder is to be replaced.

    Returns:
        The store; None if the folder is empty or missing, or is to be replaced.

    Raises:
        UserError: The folder holds another store or other files.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / MANIFEST).is_file():
        raise UserError(f"{out} exists and is not a store; choose another `out`")
    if overwrite:
        _check_replaceable(out)
        return None
    store = Store.open(out)
    if store.manifest.get("identity") == identity.recorded() and not _changed_since(store, cohort):
        return store
    differ = differing(store.manifest["parameters"], parameters)
    raise UserError(
        f"{out} holds another store ({', '.join(differ) or 'its source has changed since'}); "
        "add `overwrite=True` to replace it, or choose another `out`"
    )


def differing(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    """Describe the parameters of a preparation that differ from those of an earlier one."""
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return [_difference(key, old.get(key), new.get(key)) for key in keys]


def _difference(key: str, old: object, new: object) -> str:
    if not (_are_records(old) and _are_records(new)):
        return f"{key} {old}, not {new}"
    if any(one.keys() - then.keys() for one in new for then in old):
        return f"{key} whose files it does not record, as one of an earlier version of radgaze"
    changed = [str(one.get("name")) for one in new if one not in old]
    return f"{key} of which {listed(changed)} is new or has changed since" if changed else f"other {key}"


def _are_records(value: object) -> TypeGuard[list[dict[str, object]]]:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _check_replaceable(out: Path) -> None:
    """Raise UserError unless a folder holds nothing but a store, which may be damaged."""
    if not is_manifest(out / MANIFEST):
        raise UserError(
            f"{out / MANIFEST} is not a store's, so `overwrite=True` does not replace {out}; choose another "
            "`out`, or remove the folder yourself if it is a damaged store"
        )
    foreign = sorted(
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if not STORE_FILES.fullmatch(path.relative_to(out).as_posix())
    )
    if foreign:
        raise UserError(
            f"{out} holds {shortened(foreign[0], 60)}, which is no part of a store, so `overwrite=True` does "
            "not replace it; move that file, or choose another `out`"
        )


def _changed_since(store: Store, cohort: Cohort) -> bool:
    """Whether a file that was modified after the store differs from the one from which the store was made."""
    made = (store.path / MANIFEST).stat().st_mtime_ns
    if any(_stat(path)[1] > made for path in cohort.regions["file"]):
        return True
    ids = pl.concat([cohort.cases["case_id"], cohort.twins["case_id"]])
    newer = [(case, path) for case, path in zip(ids, cohort.images, strict=True) if _stat(path)[1] > made]
    if not newer:
        return False
    digests = dict(
        row for table in (store.cases, store.twins) for row in table.select("case_id", "sha256").iter_rows()
    )
    with progress("Looking whether images have changed", total=len(newer)) as bar:
        for case_id, path in newer:
            # A case that is not in the store could not be read; it may be readable now.
            if case_id not in digests or file_digest(path) != digests[case_id]:
                return True
            bar.advance()
    return False


def _stat(path: str) -> tuple[int, int]:
    """Size in bytes and time of last modification in ns; (−1, 0) for a missing file."""
    try:
        stat = Path(path).stat()
    except OSError:
        return -1, 0
    return stat.st_size, stat.st_mtime_ns
