"""The manifest of a store: its entries, its own hash, and validated reading."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NotRequired, TypeAlias, TypedDict, TypeGuard

from radgaze.errors import UserError

LARGEST = 256 * 2**20
"""Maximum size of a manifest, in bytes."""

LARGEST_SIDE = 16_384
"""Maximum side of an image, in pixels."""

SEAL = "manifest_sha256"
"""Key of the hash of all other entries."""

LONGEST = 1000
"""Most characters of the name of a class."""

MARKS = ("format", "source", "classes", "counts")
"""The first entries of a manifest of any format."""

SHA256 = re.compile(r"[0-9a-f]{64}")

Parameters: TypeAlias = dict[str, object]
"""Parameters of a preparation: those of its source, and the `size` and `voi` of its images."""


class Counts(TypedDict):
    """Numbers of rows, and of rejections by their reason."""

    cases: int
    readings: NotRequired[int]
    fixations: NotRequired[int]
    regions: NotRequired[int]
    mentions: NotRequired[int]
    twins: NotRequired[int]
    rejections: NotRequired[dict[str, int]]


class Manifest(TypedDict):
    """The content of `manifest.json` without its own hash, which covers all entries, unknown ones too.

    Attributes:
        format: Version of the store's layout.
        source: Name of the source.
        classes: Names of the classes, in the order of the labels.
        exclusive: Whether each case has exactly one class; true where it is missing.
        counts: Numbers of rows and rejections.
        parameters: Parameters of the preparation.
        geometry: Explanation of the coordinates.
        software: Version of radgaze that wrote the store.
        identity: Digests of the cohort, and of the sizes of its files.
        burned_in_annotation: Ids of cases whose files state that text is burnt into the image.
        pseudo: Run and settings that made the masks of a store that `radgaze pseudo` wrote.
        pasted: Hashes of the markers and settings of a store that `radgaze paste` wrote.
        hashes: SHA-256 of each file, by its path in the store.
    """

    format: int
    source: str
    classes: list[str]
    exclusive: NotRequired[bool]
    counts: Counts
    parameters: Parameters
    geometry: NotRequired[dict[str, str]]
    software: NotRequired[str]
    identity: NotRequired[dict[str, str]]
    burned_in_annotation: NotRequired[list[str]]
    pseudo: NotRequired[dict[str, object]]
    pasted: NotRequired[dict[str, object]]
    hashes: dict[str, str]


def seal(manifest: Mapping[str, object]) -> dict[str, object]:
    """Return a manifest with its own hash, as the entry `SEAL`."""
    rest = {name: value for name, value in manifest.items() if name != SEAL}
    return {**rest, SEAL: _digest(rest)}


def is_sealed(manifest: Mapping[str, object]) -> bool:
    """Return whether a manifest matches its own hash; also true for a manifest without one."""
    rest = {name: value for name, value in manifest.items() if name != SEAL}
    return SEAL not in manifest or manifest[SEAL] == _digest(rest)


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of a store, and check the types of its entries.

    Raises:
        UserError: The file is truncated, or is not the manifest of a store.
    """
    fault = f"{path} is not a store's manifest"
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{fault}: it has more than {LARGEST:,} bytes")
        manifest: object = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{fault}: it is no JSON, or cut; prepare the store again") from error
    if _is_valid(manifest):
        return manifest
    raise UserError(f"{fault}: {_wrong(manifest)}; prepare the store again")


def is_manifest(path: Path) -> bool:
    """Return whether a file is the manifest of a store of any format, or appears to be a damaged one."""
    with path.open("rb") as file:
        text = file.read(LARGEST).decode("utf-8", "replace")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return all(f'"{name}"' in text for name in MARKS)
    return isinstance(content, dict) and content.keys() >= set(MARKS)


def _digest(rest: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _is_valid(manifest: object) -> TypeGuard[Manifest]:
    return _wrong(manifest) is None


def _wrong(manifest: object) -> str | None:
    """Describe the first fault of a manifest; None where it has none."""
    if not isinstance(manifest, dict):
        return "it is no object"
    kinds: dict[str, type] = {"format": int, "source": str, "classes": list, "hashes": dict, "counts": dict}
    kinds |= {"parameters": dict}
    for name, kind in kinds.items():
        if not isinstance(manifest.get(name), kind):
            return f"its {name!r} is missing or of another kind"
    for name, kind in (
        ("exclusive", bool),
        ("identity", dict),
        ("burned_in_annotation", list),
        ("pseudo", dict),
        ("pasted", dict),
    ):
        if not isinstance(manifest.get(name, kind()), kind):
            return f"its {name!r} is of another kind"
    classes, size = manifest["classes"], manifest["parameters"].get("size")
    if not classes or not all(isinstance(c, str) and 0 < len(c) <= LONGEST for c in classes):
        return "its 'classes' are no names"
    if len(set(classes)) < len(classes):
        return "two of its 'classes' have one name"
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= LARGEST_SIDE:
        return f"its size is not a number of pixels up to {LARGEST_SIDE}"
    if not all(isinstance(case, str) for case in manifest.get("burned_in_annotation", [])):
        return "its 'burned_in_annotation' is of another kind"
    rejections = manifest["counts"].get("rejections", {})
    if not isinstance(rejections, dict):
        return "its counts of rejections are of another kind"
    numbers = [*(v for k, v in manifest["counts"].items() if k != "rejections"), *rejections.values()]
    if not all(isinstance(n, int) and n >= 0 for n in numbers) or "cases" not in manifest["counts"]:
        return "its 'counts' are no numbers"
    for name, digest in manifest["hashes"].items():
        if not isinstance(digest, str) or not SHA256.fullmatch(digest):
            return "one of its 'hashes' is no SHA-256"
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
            return "one of its files lies outside of the store"
    return None
