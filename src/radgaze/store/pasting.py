"""A copy of a store with markers pasted into its images, and twins of the test images that differ in them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.store.finishing import write_manifest
from radgaze.store.manifest import Manifest
from radgaze.store.partial import new_store
from radgaze.store.pasting_options import PasteOptions
from radgaze.store.placement import Frame
from radgaze.store.stamp import Stamp, stamp_of
from radgaze.store.store import PLACES, SHARD, TWINS, Store, shard_name
from radgaze.tables import write_parquet
from radgaze.version import __version__

KIND = "pasted"
"""Value of the column `confounder` of pasted twins."""

OUTER, JITTER = 0.02, 0.05
"""Least distance of a marker from the edges of the image, and what is added to it at random, as shares of its
sides."""

Pixels = NDArray[np.uint8]


def paste(options: PasteOptions) -> Store:
    """Write a copy of a store with markers, and with twins of its test cases.

    Each test case has a twin with the marker of each class in `overlay`; all twins of a case have it at the
    same place. The split is that on disk. The markers are pasted into the stored squares.

    Args:
        options: The options.

    Raises:
        UserError: A class does not exist, a picture cannot be read, the store has twins or no test case, or
            the folder of the copy is not empty.
    """
    store = Store.open(options.path)
    stamps = _stamps(store, options)
    if store.twins.height:
        raise UserError(f"{store.path} has twins already; paste into a store without")
    if not (store.cases["split"] == "test").any():
        raise UserError(f"{store.path} has no test case, of which twins could be made")
    out = Path(options.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; choose another `out`")
    with new_store(out, store.cases.height, store.size) as folder:
        _write(store, stamps, options, folder)
    return Store.open(out)


def _stamps(store: Store, options: PasteOptions) -> dict[str, Stamp]:
    """The marker of each class in `overlay`."""
    stamps: dict[str, Stamp] = {}
    for word in options.overlay:
        name, equals, content = word.partition("=")
        if name not in store.classes or not equals or not content:
            raise UserError(
                f"`overlay={word}` must be CLASS=FILE or CLASS=TEXT, the class one of "
                f"{', '.join(store.classes)}"
            )
        if name in stamps:
            raise UserError(f"`overlay={word}`: the class {name} has a marker already")
        stamps[name] = stamp_of(content)
    return stamps


def _write(store: Store, stamps: Mapping[str, Stamp], options: PasteOptions, folder: Path) -> None:
    for name in store.manifest["hashes"]:
        if not name.startswith("images/"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(store.path / name, folder / name)
    shown = _shown(store, stamps, options)
    tested = store.cases.with_row_index("row").filter(split="test").select("row", "case_id").rows()
    twins = [(row, case_id, name) for row, case_id in tested for name in stamps]
    shards = _Shards(folder)
    with progress("Pasting markers", total=len(shown) + len(twins)) as bar:
        for row, marker in enumerate(shown):
            unchanged = np.array(store.images[row])
            shards.add(unchanged if marker is None else _pasted(store, row, stamps[marker], options))
            bar.advance()
        for row, _, name in twins:
            shards.add(_pasted(store, row, stamps[name], options))
            bar.advance()
    places = shards.close()
    _write_cases(store, shown, places[: len(shown)], folder)
    _write_twins(store, twins, places[len(shown) :], folder)
    write_manifest(_manifest(store, stamps, options, twins), folder)


def _write_cases(store: Store, shown: Sequence[str | None], places: pl.DataFrame, folder: Path) -> None:
    """Write the table of cases; one with a marker has the hash of its pixels in place of its file's."""
    is_pasted = pl.Series([name is not None for name in shown], dtype=pl.Boolean)
    cases = store.cases.with_columns(
        places["shard"],
        places["index"],
        sha256=pl.when(is_pasted).then(places["sha256"]).otherwise("sha256"),
    )
    write_parquet(cases, folder / "cases.parquet")


def _write_twins(
    store: Store, twins: Sequence[tuple[int, str, str]], places: pl.DataFrame, folder: Path
) -> None:
    """Write the table of twins, each given as row and id of its original and the class of its marker."""
    table = pl.DataFrame(
        [(f"{case_id}+{name}", case_id, KIND, name, None) for _, case_id, name in twins],
        schema=dict.fromkeys(("case_id", "twin_of", "confounder", "shows", "original_shows"), pl.String),
        orient="row",
    )
    geometry = store.cases.select(PLACES)[[row for row, _, _ in twins]].drop(places.columns)
    located = pl.concat([table, geometry, places], how="horizontal")
    write_parquet(located.select(*table.columns, *PLACES), folder / TWINS)


def _shown(store: Store, stamps: Mapping[str, Stamp], options: PasteOptions) -> list[str | None]:
    """The class whose marker each case has; None for none."""
    shown: list[str | None] = []
    names = [f"label_{name}" for name in stamps]
    for row, (split, *labels) in enumerate(store.cases.select("split", *names).iter_rows()):
        classes = [name for name, label in zip(stamps, labels, strict=True) if label]
        rng = np.random.default_rng((options.seed, 0, row))
        follows = split != "test" and bool(classes) and rng.random() < options.strength
        shown.append(classes[int(rng.integers(len(classes)))] if follows else None)
    return shown


class _Shards:
    """Images that are written to the shards of a store, one after the other."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._waiting, self._digests = folder, list[Pixels](), list[str]()
        (folder / "images").mkdir()

    def add(self, square: Pixels) -> None:
        """Add a square."""
        self._waiting.append(square)
        self._digests.append(hashlib.sha256(np.ascontiguousarray(square).data).hexdigest())
        if len(self._waiting) == SHARD:
            self._write()

    def close(self) -> pl.DataFrame:
        """Write what is left; return shard, index and sha256 of each square."""
        if self._waiting:
            self._write()
        shard, index = np.divmod(np.arange(len(self._digests)), SHARD)
        columns = {"shard": shard, "index": index, "sha256": self._digests}
        return pl.DataFrame(columns, schema_overrides={"shard": pl.Int32, "index": pl.Int32})

    def _write(self) -> None:
        shard = (len(self._digests) - 1) // SHARD
        np.save(self._folder / shard_name(shard), np.stack(self._waiting))
        self._waiting.clear()


def _pasted(store: Store, row: int, stamp: Stamp, options: PasteOptions) -> Pixels:
    """The square of a case with a marker in a corner of the image, at a place drawn for the case."""
    rows, columns = store.cases.select("rows", "columns").row(row)
    box = Frame(rows, columns, store.size).box
    rng = np.random.default_rng((options.seed, 1, row))
    right, below = rng.random(2) < 0.5
    share_x, share_y = OUTER + JITTER * rng.random(2)
    ink, cover = stamp.at_height(max(4, round(options.height * box.height)), most=box.width // 3)
    tall, wide = ink.shape
    x, y = round(share_x * box.width), round(share_y * box.height)
    left = box.pad_x + (box.width - wide - x if right else x)
    top = box.pad_y + (box.height - tall - y if below else y)
    square: Pixels = np.array(store.images[row])
    cut = np.s_[top : top + tall, left : left + wide]
    square[cut] = np.rint(square[cut] * (1 - cover) + 255 * ink * cover).astype(np.uint8)
    return square


def _manifest(
    store: Store, stamps: Mapping[str, Stamp], options: PasteOptions, twins: Sequence[tuple[int, str, str]]
) -> Manifest:
    """The manifest of the copy, without hashes."""
    provenance: dict[str, object] = {
        "overlay": {name: stamp.sha256 for name, stamp in stamps.items()},
        "strength": options.strength,
        "height": options.height,
        "seed": options.seed,
    }
    manifest = store.manifest.copy()
    parts = [manifest.get("identity"), manifest["hashes"], provenance]
    content = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    counts = manifest["counts"].copy()
    counts["twins"] = len(twins)
    manifest["counts"] = counts
    manifest["software"] = __version__
    manifest["identity"] = {**manifest.get("identity", {}), "content": content}
    manifest["pasted"] = provenance
    if burned := manifest.get("burned_in_annotation"):
        of_twins = [f"{case_id}+{name}" for _, case_id, name in twins if case_id in set(burned)]
        manifest["burned_in_annotation"] = [*burned, *of_twins]
    return manifest
