"""A store that is being written, so that an interrupted preparation can continue."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypedDict, TypeGuard

import numpy as np
from numpy.typing import NDArray

from radgaze import locks
from radgaze.dicom.error import DicomError
from radgaze.errors import UserError
from radgaze.files import is_leftover, read_json, write_text
from radgaze.store import regions
from radgaze.store.journal import Done, DoneImages
from radgaze.store.manifest import Parameters
from radgaze.store.masks import packed_shape
from radgaze.store.opening import partial_path
from radgaze.store.pixels import Fitted
from radgaze.store.store import SHARD, shard_name

PLAN, JOURNAL, LOCK, WHOLE, OLD = "plan.json", "journal.jsonl", "lock", "store", "old"


class Plan(TypedDict):
    """The content of `plan.json`: the identity and the parameters of an unfinished preparation."""

    content: str
    file_sizes: str
    file_times: str
    parameters: Parameters


class Partial:
    """The folder STORE.partial, in which a store is written.

    It holds a plan (identity and parameters of the preparation), a journal (completed images), and the folder
    `store`, which becomes STORE when it is complete. The position of an image or a region in the files
    depends only on its row in the cohort, so that the bytes do not depend on the number of workers or on
    interruptions; an image that cannot be read is zeros.

    Args:
        folder: Path of STORE.partial.
        images: Number of images.
        size: Side of their squares, in pixels.
        places: Indices of the regions of each image, by index of the image; images without regions are left
            out.
    """

    def __init__(
        self, folder: Path, images: int, size: int, places: Mapping[int, Sequence[int]] = MappingProxyType({})
    ) -> None:
        self.folder, self.images, self.size, self.places = folder, images, size, places
        self.store = folder / WHOLE

    def begin(self, plan: Plan) -> None:
        """Remove an earlier preparation, allocate the files of the images, and write the plan.

        Raises:
            UserError: The disk has too little space.
        """
        for name in (PLAN, JOURNAL):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.store, ignore_errors=True)
        (self.store / "images").mkdir(parents=True)
        bits = packed_shape(self.size)
        count = sum(map(len, self.places.values()))
        files = [
            (shard_name(shard), (min(SHARD, self.images - first), self.size, self.size))
            for shard, first in enumerate(range(0, self.images, SHARD))
        ] + [
            (regions.shard_name(shard), (min(regions.SHARD, count - first), *bits))
            for shard, first in enumerate(range(0, count, regions.SHARD))
        ]
        for name, shape in files:
            path = self.store / name
            path.parent.mkdir(exist_ok=True)
            np.lib.format.open_memmap(path, "w+", np.uint8, shape).flush()
            if not _allocated(path):
                needed = sum(math.prod(shape) for _, shape in files) / 2**20
                raise UserError(
                    f"no room for {needed:,.0f} MiB of images in {self.folder.parent}; "
                    "free some, or choose another `out`"
                )
        write_text(json.dumps(plan), self.folder / PLAN)

    def plan(self) -> Plan | None:
        """Read the plan; None where there is none, or it is damaged."""
        try:
            content: object = read_json(self.folder / PLAN, lambda _: True, "it is begun again")
        except UserError:
            return None
        return content if _is_plan(content) else None

    def put(self, i: int, image: Fitted) -> Done:
        """Write image i and its regions, and then its line in the journal; return its record."""
        self._place(i, "r+")[...] = image.pixels
        unread, areas = list[str](), list[int]()
        for place, region in zip(self.places.get(i, ()), image.regions, strict=True):
            bits = self._region(place, "r+")
            if isinstance(region, DicomError):
                bits[...] = 0
            else:
                bits[...] = region
            unread.append(str(region) if isinstance(region, DicomError) else "")
            areas.append(int(np.bitwise_count(bits).sum()))
        done = Done(image.rows, image.columns, image.sha256, image.burned_in, tuple(unread), tuple(areas))
        line = {"image": i, "pixels": self._digest(i), **asdict(done)}
        with (self.folder / JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(line) + "\n")
        return done

    def journaled(self) -> int:
        """Count the images in the journal."""
        return sum(1 for _ in self._journal())

    def done(self, *, advance: Callable[[], None] = lambda: None) -> DoneImages:
        """Read from the journal the images whose pixels on the disk match its hash.

        A power failure can lose pixels or part of a line; such images are left out.

        Args:
            advance: Function that is called for each line of the journal before it is checked.
        """
        images = DoneImages(self.images)
        for line in self._journal():
            advance()
            try:
                entry = json.loads(line)
                i, pixels = range(self.images)[entry.pop("image")], entry.pop("pixels")
                entry |= {name: tuple(entry[name]) for name in ("unread", "areas")}
                done = Done(**entry)
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                continue
            if self._digest(i) == pixels:
                images[i] = done
        journal = self.folder / JOURNAL
        if journal.exists():
            with journal.open("a", encoding="utf-8") as file:
                file.write("\n")  # the last line may be truncated: the next one must not be appended to it
        return images

    def _journal(self) -> Iterator[str]:
        """Read the lines of the journal, one for each image; the last may be truncated."""
        journal = self.folder / JOURNAL
        if journal.exists():
            with journal.open(encoding="utf-8") as file:
                yield from (line for line in file if line.strip())

    def clear(self, i: int) -> None:
        """Set image i and its regions to zeros."""
        self._place(i, "r+")[...] = 0
        for place in self.places.get(i, ()):
            self._region(place, "r+")[...] = 0

    def become(self, out: Path) -> None:
        """Move the complete store to `out`, replacing an existing one, and remove this folder."""
        if out.exists():
            shutil.rmtree(self.folder / OLD, ignore_errors=True)
            out.rename(self.folder / OLD)
        self.store.rename(out)
        self.remove()

    def remove(self) -> None:
        """Remove this folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a lock that prevents a second preparation of the same store.

        Raises:
            UserError: Another preparation holds the lock, or the folder cannot be written to.
        """
        message = f"another preparation is writing {self.folder}; wait for it, or stop it"
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locks.exclusive(self.folder / LOCK, message))
            except OSError as error:
                raise UserError(
                    f"{self.folder} cannot be written to: {error.strerror or error}; choose another `out`"
                ) from error
            yield

    def _place(self, i: int, mode: Literal["r", "r+"]) -> NDArray[np.uint8]:
        shard, index = divmod(i, SHARD)
        place: NDArray[np.uint8] = np.load(self.store / shard_name(shard), mmap_mode=mode)[index]
        return place

    def _region(self, place: int, mode: Literal["r", "r+"]) -> NDArray[np.uint8]:
        shard, index = divmod(place, regions.SHARD)
        region: NDArray[np.uint8] = np.load(self.store / regions.shard_name(shard), mmap_mode=mode)[index]
        return region

    def _digest(self, i: int) -> str:
        """Hash of the pixels of image i and its regions."""
        digest = hashlib.sha256(np.ascontiguousarray(self._place(i, "r")).data)
        for place in self.places.get(i, ()):
            digest.update(np.ascontiguousarray(self._region(place, "r")).data)
        return digest.hexdigest()


def partial_of(
    out: Path, images: int, size: int, places: Mapping[int, Sequence[int]] = MappingProxyType({})
) -> Partial:
    """Open the unfinished store beside `out`; its folder need not exist.

    Raises:
        UserError: The path of its folder is in use for something else.
    """
    folder = partial_path(out)
    names = {PLAN, JOURNAL, LOCK, WHOLE, OLD}
    if folder.exists() and (
        not folder.is_dir()
        or {entry.name for entry in folder.iterdir() if not is_leftover(entry, PLAN)} - names
    ):
        raise UserError(
            f"{folder} is in the way and is no unfinished store; move it, or choose another `out`"
        )
    return Partial(folder, images, size, places)


@contextmanager
def new_store(out: Path, images: int, size: int) -> Iterator[Path]:
    """Give the folder of a store that is written at once: `out`, as soon as the block ends without an error.

    Else nothing of it is kept.

    Args:
        out: Folder of the store, new or empty.
        images: Number of images.
        size: Side of their squares, in pixels.

    Raises:
        UserError: Another process writes the same store, a preparation of it is unfinished, or the folder
            cannot be written to.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100  resolve() would follow a link
    aside = partial_of(out, images, size)
    with aside.locked():
        if aside.plan() is not None:
            raise UserError(
                f"{aside.folder} holds an unfinished preparation of {out}; let the `radgaze prepare` of it "
                "finish, remove it, or choose another `out`"
            )
        shutil.rmtree(aside.store, ignore_errors=True)
        aside.store.mkdir(parents=True)
        try:
            yield aside.store
        except BaseException:
            aside.remove()
            raise
        aside.become(out)


def _is_plan(content: object) -> TypeGuard[Plan]:
    """Whether a plan can be compared; one that lacks an entry differs from every other one."""
    return isinstance(content, dict) and isinstance(content.get("parameters"), dict)


def _allocated(path: Path) -> bool:
    """Reserve a file's space on the disk and return whether there is enough: writing to a memory map on a
    full disk would end the process."""
    if not hasattr(os, "posix_fallocate"):
        return shutil.disk_usage(path).free > path.stat().st_size
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                return False
            raise
    return True
