"""Read images as inputs of a run's model: files, arrays, and cases of the run's store."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze import models
from radgaze.console import note
from radgaze.dicom.error import DicomError
from radgaze.dicom.isolate import isolated
from radgaze.errors import UserError
from radgaze.predicting.finding import Requested
from radgaze.runs import origin
from radgaze.runs.data import gaze_maps
from radgaze.runs.run import Run
from radgaze.store.batch import collate
from radgaze.store.dataset import GazeDataset
from radgaze.store.pixels import Fitted, fit, read_and_fit
from radgaze.store.placement import Fit, Frame
from radgaze.store.store import Store

Voi = Literal["window", "none"]

SIZE = 512
"""Side in pixels of the square images where the store is missing: the default of `prepare`."""

WAITING = 256 * 2**20
"""Bytes of images that may wait for one before them, which takes longer to read."""


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be read.

    Attributes:
        requested: The image.
        reason: Reason, in words.
    """

    requested: Requested
    reason: str


@dataclass(frozen=True)
class Subject:
    """One image as input of the model.

    Attributes:
        name: Name of the image in the output, see `Requested`.
        image: Grey image of shape (1, S, S), in [0, 1].
        other_inputs: Further inputs of the model after the image, each of shape (1, ...).
        gaze: Gaze map of shape (S, S); None for a file or a case without gaze.
        truth: Names of the true classes; None for a file.
        case_id: Id of the case; None for a file.
        frame: Position of the original image in the stored square.
        fit: Placement of the square in the model's input, "stretch" or "pad".
    """

    name: str
    image: Tensor
    other_inputs: tuple[Tensor, ...]
    gaze: NDArray[np.float32] | None
    truth: tuple[str, ...] | None
    case_id: str | None
    frame: Frame
    fit: Fit


@dataclass(frozen=True)
class Preparation:
    """The way from an image's greys to the input of a run's model, which is that of the run's stored images.

    Attributes:
        side: Side of the stored square, in pixels.
        voi: Grey values of a DICOM file, see `PrepareOptions`.
        fit: Placement of the square in the model's input, "stretch" or "pad".
        size: Side of the model's input, in pixels.
    """

    side: int
    voi: Voi
    fit: Fit
    size: int

    @classmethod
    def of(cls, run: Run) -> Preparation:
        """Return the preparation of a run's images, or the default of `prepare` where it is not recorded."""
        return cls(*_stored_as(run), run.config.input.fit, run.config.input.size)

    def subject(self, name: str, square: NDArray[np.uint8], rows: int, columns: int) -> Subject:
        """Make the input of an image of rows × columns pixels from its stored square."""
        frame = Frame(rows, columns, self.side)
        pixels = frame.resized(square, self.fit, self.size)
        image = torch.from_numpy(pixels).unsqueeze(0).float() / 255
        return Subject(name, image, (), None, None, None, frame, self.fit)

    def subject_of(self, name: str, greys: NDArray[np.float32]) -> Subject:
        """Make the input of an image given as greys (H, W) in [0, 1]."""
        return self.subject(name, fit(greys, self.side), *greys.shape)

    def ready(self, name: str, greys: NDArray[np.float32]) -> Subject:
        """Take greys (S, S) of the size of the model's input as they are."""
        image = torch.from_numpy(greys.copy()).unsqueeze(0)
        frame = Frame(self.size, self.size, self.size)
        return Subject(name, image, (), None, None, None, frame, self.fit)


@dataclass(frozen=True)
class StoredCases:
    """The cases of a store as inputs of a run's model.

    Attributes:
        store: The store.
        model: Model of the run.
        dataset: All cases of the store, with the run's settings.
        shapes: Rows and columns of the original image of each case.
        places: Number of each case in the data set.
    """

    store: Store
    model: nn.Module
    dataset: GazeDataset
    shapes: Mapping[str, tuple[int, int]]
    places: Mapping[str, int]

    @classmethod
    def of(cls, run: Run, model: nn.Module, store: Store) -> StoredCases:
        """Return the cases of a store, which need not be that of the run."""
        dataset = GazeDataset(
            store,
            None,
            size=run.config.input.size,
            fit=run.config.input.fit,
            gaze=replace(gaze_maps(run.config.gaze), per="case"),
        )
        table = store.cases.select("case_id", "rows", "columns")
        shapes = {case_id: (rows, columns) for case_id, rows, columns in table.iter_rows()}
        return cls(store, model, dataset, shapes, {name: i for i, name in enumerate(dataset.case_ids)})

    def subject(self, name: str, case_id: str) -> Subject:
        """Return a case as input of the model.

        Args:
            name: Name of the image in the output.
            case_id: Id of the case.

        Raises:
            UserError: There is no such case.
        """
        if case_id not in self.places:
            raise UserError(f"no such case here: {case_id}")
        batch = collate([self.dataset[self.places[case_id]]])
        image, *other_inputs = models.inputs(self.model, batch)
        labels = batch.label[0].tolist()
        return Subject(
            name,
            image[0],
            tuple(other_inputs),
            batch.gaze_maps()[0, 0].numpy() if bool(batch.has_gaze[0]) else None,
            tuple(each for each, label in zip(self.store.classes, labels, strict=True) if label),
            case_id,
            Frame(*self.shapes[case_id], self.store.size),
            self.dataset.fit,
        )


def read(
    requested: Sequence[Requested], run: Run, model: nn.Module
) -> Generator[Subject | Unreadable, None, None]:
    """Read images, files in separate processes, so that a damaged file does not end this one.

    Few images are in memory at a time, whatever their number.

    Args:
        requested: The images.
        run: The run.
        model: Model of the run, which determines the inputs.

    Yields:
        Each image as input of the model, or the reason why it cannot be read, in the given order.

    Raises:
        UserError: The model cannot be used without gaze, and an image is a file.
    """
    files = [each for each in requested if each.path is not None]
    if files:
        check_without_gaze(run, "files")
    from_files = _read_files(files, run)
    from_store = _read_cases([each for each in requested if each.case_id is not None], run, model)
    for each in requested:
        yield next(from_files if each.path is not None else from_store)


def check_without_gaze(run: Run, images: str) -> None:
    """Check that the model of a run can be used for images without gaze, and say how it is.

    Args:
        run: The run.
        images: Kind of the images, in the plural.

    Raises:
        UserError: It cannot.
    """
    if run.config.model.needs_gaze:
        raise UserError(
            f"the model of {run.path} reads gaze along with the radiograph, and {images} have none: name "
            f"cases of its store, {run.config.data}"
        )
    if run.config.model.reads_gaze:
        note(f"{images} have no gaze: the model gets an empty gaze map with them")


def batched(subjects: Iterator[Subject | Unreadable], size: int) -> Iterator[list[Subject | Unreadable]]:
    """Collect images to batches; one with further inputs is a batch of its own, since these differ in length.

    Args:
        subjects: The images.
        size: Largest number of images in a batch.
    """
    batch: list[Subject | Unreadable] = []
    for subject in subjects:
        alone = isinstance(subject, Subject) and bool(subject.other_inputs)
        if batch and (alone or len(batch) == size):
            yield batch
            batch = []
        batch.append(subject)
        if alone:
            yield batch
            batch = []
    if batch:
        yield batch


def _read_files(files: Sequence[Requested], run: Run) -> Iterator[Subject | Unreadable]:
    if not files:
        return
    preparation = Preparation.of(run)
    # Of a part of the files at a time: else all that follow a slow one would wait for it in memory.
    most = max(1, WAITING // preparation.side**2)
    for start in range(0, len(files), most):
        yield from _read_some(files[start : start + most], preparation)


def _read_some(files: Sequence[Requested], preparation: Preparation) -> Iterator[Subject | Unreadable]:
    paths = [str(each.path) for each in files]
    waiting: dict[int, Fitted | DicomError] = {}
    ready = isolated(partial(read_and_fit, size=preparation.side, voi=preparation.voi), paths)
    try:
        for k, requested in enumerate(files):
            while k not in waiting:
                place, result = next(ready)
                waiting[place] = result
            fitted = waiting.pop(k)
            if isinstance(fitted, DicomError):
                yield Unreadable(requested, str(fitted))
                continue
            yield preparation.subject(requested.name, fitted.pixels, fitted.rows, fitted.columns)
    finally:
        ready.close()


def _read_cases(cases: Sequence[Requested], run: Run, model: nn.Module) -> Iterator[Subject]:
    if cases:
        stored = StoredCases.of(run, model, run.store)
        yield from (stored.subject(requested.name, str(requested.case_id)) for requested in cases)


def _stored_as(run: Run) -> tuple[int, Voi]:
    """Side in pixels and grey values of the images that the run was trained on."""
    recorded = origin.read(run.path)
    if recorded is not None and recorded.images is not None:
        return recorded.images.size, recorded.images.voi
    path = Path(run.config.data)
    try:
        # Also where it has changed: its size is a better guess than the default.
        store = Store.open(path)
    except UserError:
        note(
            f"The store of {run.path} is missing: images are read with the defaults of `prepare`, "
            f"a square of {SIZE} pixels and the window of the file"
        )
        return SIZE, "window"
    return store.size, store.voi
