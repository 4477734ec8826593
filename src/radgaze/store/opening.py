"""The opening of a store, up to its manifest. Does not import polars: a wrong folder is told at once."""

from __future__ import annotations

import os
from pathlib import Path

from radgaze.errors import UserError
from radgaze.store.manifest import Manifest, read_manifest
from radgaze.version import __version__

FORMAT = 1
MANIFEST = "manifest.json"


def open_manifest(path: Path) -> Manifest:
    """Read the manifest of a store, and check that the files it names exist.

    Raises:
        UserError: The folder is missing, is not a store, or holds an unfinished store, one of another format
            or one that lacks files.
    """
    if not (path / MANIFEST).is_file():
        raise UserError(_why_not(path))
    manifest = read_manifest(path / MANIFEST)
    made_with, files = manifest["format"], manifest["hashes"]
    if made_with > FORMAT:
        raise UserError(
            f"{path} is a store of format {made_with}, of a newer radgaze than this {__version__}, "
            f"which reads {FORMAT}: update radgaze"
        )
    if made_with != FORMAT:
        raise UserError(
            f"{path} is a store of format {made_with}, this software reads {FORMAT}: prepare it "
            "again, into another folder or with `prepare(..., overwrite=True)`"
        )
    missing = [name for name in files if not (path / name).is_file()]
    if missing:
        raise UserError(
            f"{path} is damaged: {', '.join(missing[:3])} is missing ({len(missing)} of {len(files)} "
            "files); prepare it again with `prepare(..., overwrite=True)`"
        )
    return manifest


def partial_path(path: Path) -> Path:
    """Return the folder in which a store is written before it is complete."""
    path = Path(os.path.abspath(path))  # noqa: PTH100  `.` has no name, and resolve() would follow a link
    return path.with_name(path.name + ".partial")


def _why_not(path: Path) -> str:
    if partial_path(path).exists():
        return (
            f"{path} is not finished: its images so far are in {partial_path(path)}; "
            "the `radgaze prepare` that began it continues from there"
        )
    if not path.exists():
        return f"{path}: no such folder; a store is a folder that `radgaze prepare` wrote"
    return f"{path} is not a store: it has no {MANIFEST}; a store is a folder that `radgaze prepare` wrote"
