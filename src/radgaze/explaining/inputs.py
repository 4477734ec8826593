"""Read the images to explain: files and cases of a run's store, as inputs of its model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze import models
from radgaze.console import say
from radgaze.dicom.error import DicomError
from radgaze.dicom.isolate import isolated
from radgaze.errors import UserError
from radgaze.explaining.requested import Requested
from radgaze.runs.data import batches
from radgaze.runs.run import Run
from radgaze.store.dataset import GazeDataset
from radgaze.store.pixels import Fitted, read_and_fit
from radgaze.store.placement import Fit, Frame
from radgaze.store.store import Store

SIZE = 512
"""Side in pixels of the square images where the store is missing: the default of `prepare`."""


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
        name: Name of its folder, see `Requested`.
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


def read(requested: Sequence[Requested], run: Run, model: nn.Module) -> Iterator[Subject | Unreadable]:
    """Read images, files in separate processes, so that a damaged file does not end this one.

    Args:
        requested: The images.
        run: The run.
        model: Model of the run, which determines the inputs.

    Yields:
        Each image as input of the model, or the reason why it cannot be read; files first.

    Raises:
        UserError: The model cannot be used without gaze, and an image is a file.
    """
    files = [each for each in requested if each.path is not None]
    if files and run.config.model.needs_gaze:
        raise UserError(
            f"the model of {run.path} reads gaze along with the radiograph, and files have none: name "
            f"cases of its store, {run.config.data}"
        )
    if files and run.config.model.reads_gaze:
        say("files have no gaze: the model gets an empty gaze map with them")
    yield from _read_files(files, run)
    yield from _read_cases([each for each in requested if each.case_id is not None], run, model)


def _read_files(files: Sequence[Requested], run: Run) -> Iterator[Subject | Unreadable]:
    if not files:
        return
    side, voi = _preparation(run)
    paths = [str(each.path) for each in files]
    waiting: dict[int, Fitted | DicomError] = {}
    ready = isolated(partial(read_and_fit, size=side, voi=voi), paths)
    for k, requested in enumerate(files):
        while k not in waiting:
            place, result = next(ready)
            waiting[place] = result
        fitted = waiting.pop(k)
        if isinstance(fitted, DicomError):
            yield Unreadable(requested, str(fitted))
            continue
        frame = Frame(fitted.rows, fitted.columns, side)
        pixels = frame.resized(fitted.pixels, run.config.input.fit, run.config.input.size)
        image = torch.from_numpy(pixels).unsqueeze(0).float() / 255
        yield Subject(requested.name, image, (), None, None, None, frame, run.config.input.fit)


def _read_cases(cases: Sequence[Requested], run: Run, model: nn.Module) -> Iterator[Subject]:
    if not cases:
        return
    store = run.store
    ids = [str(each.case_id) for each in cases]
    table = store.cases.select("case_id", "rows", "columns")
    shapes = {case_id: (rows, columns) for case_id, rows, columns in table.iter_rows()}
    for requested, batch in zip(cases, batches(_all_cases(run, store), 1, ids), strict=True):
        image, *other_inputs = models.inputs(model, batch)
        labels = batch.label[0].tolist()
        rows, columns = shapes[requested.case_id]
        yield Subject(
            requested.name,
            image[0],
            tuple(other_inputs),
            batch.gaze_maps()[0, 0].numpy() if bool(batch.has_gaze[0]) else None,
            tuple(name for name, label in zip(store.classes, labels, strict=True) if label),
            requested.case_id,
            Frame(rows, columns, store.size),
            run.config.input.fit,
        )


def _all_cases(run: Run, store: Store) -> GazeDataset:
    test = run.dataset("test")
    return GazeDataset(store, None, size=test.size, fit=test.fit, gaze=test.gaze)


def _preparation(run: Run) -> tuple[int, Literal["window", "none"]]:
    """Side in pixels and window of the images of the run's store."""
    try:
        store = run.store
    except UserError:
        say(
            f"The store of {run.path} is missing: images are read with the defaults of `prepare`, "
            f"a square of {SIZE} pixels and the window of the file"
        )
        return SIZE, "window"
    return store.size, store.voi
