"""Predict images with a run: arrays, files, or cases of its store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from os import PathLike
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.evaluation.metrics.multilabel import THRESHOLD
from radgaze.evaluation.referral.selective import Decision
from radgaze.predicting.arrays import Array, greys, planes
from radgaze.predicting.finding import find
from radgaze.predicting.inputs import Preparation, Subject, Unreadable, batched, check_without_gaze, read
from radgaze.predicting.options import NamedBy, PredictOptions
from radgaze.predicting.prediction import Prediction, joined
from radgaze.predicting.predictor import Predictor
from radgaze.runs.run import Run

Image: TypeAlias = str | PathLike[str] | Array
"""Path of a file or folder, id of a case, or an array of images."""


def predict(
    run: Run | Predictor,
    images: Image | Iterable[Image],
    options: PredictOptions = PredictOptions(),  # noqa: B008 - frozen
    *,
    masks: bool = True,
    prepared: bool = False,
) -> Prediction:
    """Predict images; each goes the way that the run's stored images went.

    Args:
        run: The run; or its `Predictor`, so that several calls load its model once.
        images: Images, or an iterable of them, which may be lazy: paths of files and folders, ids of cases of
            the run's store, and arrays or tensors of shape (H, W), (B, H, W) or (B, 1, H, W), see
            `arrays.greys`.
        options: The options.
        masks: Whether masks are made, where the model has any; (N, S, S) takes much memory for many images.
        prepared: Whether arrays are inputs of the model, of its size and in [0, 1], as in `Batch.image`, and
            are not resized.

    Returns:
        The predictions, in the given order. An image that cannot be read has an error.

    Raises:
        UserError: A path or case does not exist, an array has no greys, or there is no image.
    """
    parts = stream(run, images, options, masks=masks, prepared=prepared)
    done = list(islice(parts, 2))
    if len(done) == 2:  # a bar is of use for more than one batch
        with progress("Predicting", of="images") as bar:
            bar.advance(sum(map(len, done)))
            for part in parts:
                done.append(part)
                bar.advance(len(part))
    if not done:
        raise UserError("`images` must not be empty")
    return joined(done)


def stream(
    run: Run | Predictor,
    images: Image | Iterable[Image],
    options: PredictOptions = PredictOptions(),  # noqa: B008 - frozen
    *,
    masks: bool = True,
    prepared: bool = False,
) -> Iterator[Prediction]:
    """Predict images a batch at a time, with few of them in memory; see `predict`."""
    predictor = run if isinstance(run, Predictor) else Predictor.of(run, options.device, masks=masks)
    subjects = subjects_of(predictor, images, options.named_by, prepared=prepared)
    yield from predict_subjects(predictor, subjects, options.batch_size, masks=masks)


def predict_subjects(
    predictor: Predictor, subjects: Iterator[Subject | Unreadable], batch_size: int, *, masks: bool = False
) -> Iterator[Prediction]:
    """Predict images that were read, a batch at a time."""
    one_class = predictor.run.exclusive
    for batch in batched(subjects, batch_size):
        yield _of_batch(predictor, batch, one_class=one_class, masks=masks)


def _of_batch(
    predictor: Predictor, batch: Sequence[Subject | Unreadable], *, one_class: bool, masks: bool
) -> Prediction:
    """The predictions of a batch; the places of unreadable images stay empty."""
    classes = predictor.run.classes
    errors = [each.reason if isinstance(each, Unreadable) else None for each in batch]
    probabilities = np.full((len(batch), len(classes)), np.nan)
    decisions: list[Decision | None] = [None] * len(batch)
    mask: NDArray[np.float32] | None = None
    places = [i for i, each in enumerate(batch) if isinstance(each, Subject)]
    if places:
        predicted = predictor([each for each in batch if isinstance(each, Subject)])
        probabilities[places] = predicted.probabilities
        for i, decision in zip(places, predicted.decisions or (), strict=predicted.decisions is not None):
            decisions[i] = decision
        if masks:
            made = predictor.masks(predicted.outputs, torch.from_numpy(predicted.probabilities.argmax(1)))
            if made is not None:
                mask = np.full((len(batch), *made.shape[1:]), np.nan, np.float32)
                mask[places] = made
    for i in places:
        if not np.isfinite(probabilities[i]).all():
            errors[i], decisions[i] = "not_finite: the model's probabilities are no finite numbers", None
    return Prediction(
        classes,
        tuple(each.name if isinstance(each, Subject) else each.requested.name for each in batch),
        probabilities,
        tuple(
            () if error else predicted_classes(classes, row, one_class=one_class)
            for row, error in zip(probabilities, errors, strict=True)
        ),
        mask,
        None if predictor.referral is None else tuple(decisions),
        tuple(errors),
    )


def predicted_classes(
    classes: Sequence[str], row: NDArray[np.float64], *, one_class: bool
) -> tuple[str, ...]:
    """Return the predicted classes of an image: the most probable one, or all from `THRESHOLD` on.

    Args:
        classes: The classes.
        row: Their probabilities, (C,).
        one_class: Whether each case has exactly one class.
    """
    if one_class:
        return (classes[int(row.argmax())],)
    return tuple(name for name, p in zip(classes, row, strict=True) if p >= THRESHOLD)


def subjects_of(
    predictor: Predictor, images: Image | Iterable[Image], named_by: NamedBy, *, prepared: bool = False
) -> Iterator[Subject | Unreadable]:
    """Read images, few at a time, as inputs of a run's model; see `predict`.

    Args:
        predictor: The run with its models.
        images: The images.
        named_by: Names of files.
        prepared: Whether arrays are inputs of the model already.

    Raises:
        UserError: A path or case does not exist, or an array has no greys.
    """
    one = isinstance(images, str | PathLike | np.ndarray | Tensor)
    if not one and not isinstance(images, Iterable):
        raise UserError(
            "`images` must be a path, a case id, an array, or several of these, got a "
            f"{type(images).__name__}"
        )
    several: Iterable[Image] = [images] if one else images  # type: ignore[list-item,assignment]
    run, number = predictor.run, 1
    preparation: Preparation | None = None
    for by_name, group in groupby(several, key=lambda image: isinstance(image, str | PathLike)):
        if by_name:
            words = [str(image) for image in group]
            requested = find(words, run, named_by=named_by, first=number)
            number += sum(each.path is not None for each in requested)
            yield from read(requested, run, predictor.models[0])
            continue
        if preparation is None:
            check_without_gaze(run, "arrays")
            preparation = Preparation.of(run)
        for array in group:
            for plane in planes(array):  # type: ignore[arg-type]  # of those in `Image`, no path
                yield _subject(f"image-{number:03d}", plane, preparation, prepared=prepared)
                number += 1


def _subject(name: str, plane: NDArray[np.generic], preparation: Preparation, *, prepared: bool) -> Subject:
    if not prepared:
        return preparation.subject_of(name, greys(plane, preparation.voi))
    size = preparation.size
    if plane.shape != (size, size) or not np.issubdtype(plane.dtype, np.floating):
        raise UserError(
            f"`images` that are prepared must be floats of {size} × {size} pixels, got {plane.dtype} of "
            f"{plane.shape[0]} × {plane.shape[1]}"
        )
    return preparation.ready(name, greys(plane, preparation.voi))
