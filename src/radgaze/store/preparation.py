"""Preparation of a store on disk from a cohort."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import overload

import polars as pl

from radgaze.console import progress, say
from radgaze.dicom.isolate import isolated
from radgaze.dicom.read import DicomError
from radgaze.errors import UserError
from radgaze.execution.cluster import load
from radgaze.sources.cohort import Cohort
from radgaze.store.distributed import read_by_cluster
from radgaze.store.finishing import finish, without
from radgaze.store.identity import differing, finished, identity_of
from radgaze.store.journal import DoneImages
from radgaze.store.options import PrepareOptions
from radgaze.store.partial import Partial, Plan, partial_of
from radgaze.store.pixels import Files, Fitted, read_case, read_fitted
from radgaze.store.store import Store

Reader = Callable[[Sequence[Files]], Iterator[tuple[int, Fitted | DicomError]]]
"""Function of the files of cases that yields the index of each case with its image, or the reason why it
cannot be read, in any order."""


def prepare(cohort: Cohort, options: PrepareOptions) -> Store:
    """Read the images and masks of a cohort, and write them with its tables to a store.

    The store is written to OUT.partial, and renamed when it is complete. An interrupted preparation
    continues when it is called again with the same cohort and parameters; with others it starts again. A
    finished store of the same content is left unchanged. The bytes do not depend on the number of workers,
    the engine, interruptions or the location of the source. The store holds no path, name, date or accession
    number.

    Args:
        cohort: Cohort of a source.
        options: Options of the preparation.

    Raises:
        UserError: There is nothing to prepare or to continue, no image can be read, image files changed
            during the preparation, the disk is full, or OUT holds something else.
        KeyboardInterrupt: The preparation was interrupted; the message states what has been stored.
    """
    if options.engine == "ray":
        load()  # before anything is written
    out, size = Path(os.path.abspath(options.out)), options.size  # noqa: PTH100  OUT may be a link
    if cohort.cases.is_empty():
        raise UserError(
            f"no case is left to prepare; rejected: {_tally(cohort.rejections['reason'].to_list())}"
        )
    parameters = {**cohort.parameters, "size": size, "voi": options.voi}
    identity = identity_of(cohort, parameters)
    aside = partial_of(out, len(cohort.images), size, _places(cohort))
    if (store := finished(out, cohort, identity, parameters, overwrite=options.overwrite)) is not None:
        say(f"{out} was prepared before, from the same source with the same parameters: left as it is")
        return store
    # In the form in which it is read again, with lists in place of tuples.
    plan = json.loads(json.dumps({**asdict(identity), "parameters": parameters}))
    if options.resume:
        _check_begun(aside, plan)
    with aside.locked(), _faults_told(aside):
        done = _begin_or_go_on(aside, plan)
        try:
            read = read_fitted if options.fitted else partial(read_case, size=size, voi=options.voi)
            reader: Reader = partial(isolated, read, workers=options.workers)
            if options.engine == "ray":
                reader = partial(read_by_cluster, read, address=options.ray_address)
            unreadable = _read_images(cohort, aside, done, reader)
            if not any(i < len(cohort.cases) for i in done):
                aside.remove()
                raise UserError(
                    f"none of the {aside.images} images can be read: {_tally(list(unreadable.values()))}"
                )
            if identity_of(cohort, parameters) != identity:
                raise UserError(
                    f"image files changed while they were read, so that no store was made at {out}; the same "
                    "command begins again"
                )
            readable = without(cohort, unreadable)
            _clear_lost_twins(cohort, readable, aside, done)
            finish(readable, done, aside, parameters, identity)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{len(done)} of {aside.images} images are kept in {aside.folder}, and the same command "
                "goes on from there"
            ) from None
        aside.become(out)
    return Store.open(out)


@contextmanager
def _faults_told(aside: Partial) -> Iterator[None]:
    """Convert an error of the disk to a `UserError`; completed images are kept."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or aside.folder}: {error.strerror or error}; what is done is kept in "
            f"{aside.folder}, and the same command goes on when that is put right"
        ) from error


def _check_begun(aside: Partial, wanted: Plan) -> None:
    """Raise UserError unless the same preparation was begun before."""
    plan = aside.plan()
    if plan is None:
        raise UserError(
            f"there is nothing to go on with: {aside.folder} holds no preparation that was begun; leave "
            "`resume` out to begin one"
        )
    differ = differing(plan.get("parameters", {}), wanted["parameters"])
    if not differ and plan.get("content") != wanted["content"]:
        differ.append("another source")
    for is_same, words in (
        (plan.get("file_sizes") == wanted["file_sizes"], "files of other sizes"),
        (plan.get("file_times") == wanted["file_times"], "files changed or moved since"),
    ):
        if not differ and not is_same:
            differ.append(words)
    if differ:
        raise UserError(
            f"{aside.folder} was begun otherwise: {', '.join(differ)}; give the same as then, or leave "
            "`resume` out to begin again"
        )


def _begin_or_go_on(aside: Partial, new: Plan) -> DoneImages:
    """Read the completed images of the same preparation; begin it where another one, or none, was begun."""
    plan = aside.plan()
    if plan == new:
        with progress("Checking earlier images", total=aside.journaled(), of="images") as bar:
            done = aside.done(advance=bar.advance)
        say(f"Going on with {aside.folder}: {len(done)} of {aside.images} images are done")
        return done
    if plan is not None:
        say(f"{aside.folder} was begun with another source or other parameters: starting again")
    aside.begin(new)
    return DoneImages(aside.images)


def _read_images(cohort: Cohort, aside: Partial, done: DoneImages, reader: Reader) -> dict[int, str]:
    """Read the images that are not in `done`, and add them; return the reasons for unreadable ones."""
    # Images that could not be read before are tried again, since a decoder may have been installed since.
    todo = done.left()
    marks = [table["case_id"].unique() for table in (cohort.readings, cohort.boxes, cohort.regions)]
    originals = pl.concat([cohort.cases["case_id"], cohort.twins["twin_of"]])
    placed = originals.is_in(pl.concat(marks).implode())
    unreadable: dict[int, str] = {}
    with progress("Reading images", total=len(todo), of="images") as bar:
        for k, result in reader(_Todo(cohort, aside.places, todo)):
            i = todo[k]
            if isinstance(result, DicomError):
                aside.clear(i)
                unreadable[i] = result.reason
            elif result.turned and placed[i]:
                # Gaze, boxes and masks are in the file's pixels, and would not fit the upright image.
                aside.clear(i)
                unreadable[i] = "orientation"
            else:
                done[i] = aside.put(i, result)
            bar.advance()
    return unreadable


def _clear_lost_twins(cohort: Cohort, readable: Cohort, aside: Partial, done: DoneImages) -> None:
    """Remove the images of twins whose original could not be read."""
    left = set(readable.twins["case_id"])
    for i, case_id in enumerate(cohort.twins["case_id"], start=len(cohort.cases)):
        if i in done and case_id not in left:
            aside.clear(i)
            del done[i]


class _Todo(Sequence[Files]):
    """The files of cases by row, made on access to save memory."""

    def __init__(self, cohort: Cohort, places: Mapping[int, Sequence[int]], rows: Sequence[int]) -> None:
        self._images, self._masks = cohort.images, cohort.regions["file"]
        self._places, self._rows = places, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, k: int) -> Files: ...
    @overload
    def __getitem__(self, k: slice) -> list[Files]: ...
    def __getitem__(self, k: int | slice) -> Files | list[Files]:
        if isinstance(k, slice):
            return [self[one] for one in range(*k.indices(len(self)))]
        i = self._rows[k]
        return Files(self._images[i], tuple(self._masks[place] for place in self._places.get(i, ())))


def _places(cohort: Cohort) -> dict[int, list[int]]:
    """The rows of the regions of each case, by the case's row."""
    row = {case_id: i for i, case_id in enumerate(cohort.cases["case_id"])} if len(cohort.regions) else {}
    places: dict[int, list[int]] = {}
    for place, case_id in enumerate(cohort.regions["case_id"]):
        places.setdefault(row[case_id], []).append(place)
    return places


def _tally(reasons: Sequence[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in Counter(reasons).most_common()) or "nothing"
