"""Where confounders lie in the audited cases, and how far each changes the predictions, from twins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze import models
from radgaze.console import Bar
from radgaze.evaluation import reliance
from radgaze.objectives.triangle import probabilities
from radgaze.runs.data import batches, dataset, uncached
from radgaze.runs.run import Run
from radgaze.store.batch import Batch
from radgaze.store.twins import as_cases

TOLERANCE = 2
"""Difference of grey levels, of 255, up to which a pixel counts as the same in both images.

The resizing of both images leaves differences of one or two levels around a confounder."""
WHOLE = 0.5
"""Mean share of the pixels above which a confounder changes the image as a whole, and has no place in it."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class TwinInputs:
    """Inputs of the model for a twin, on the device.

    Attributes:
        image: Image of shape (1, S, S).
        also: Further inputs of the model.
        predicted: Index of the most probable class, of shape ().
    """

    image: Tensor
    also: tuple[Tensor, ...]
    predicted: Tensor


@dataclass(frozen=True)
class View:
    """An image that shows a confounder.

    Attributes:
        case_id: Id of the case.
        place: Whether a pixel of the model's input belongs to the confounder, of shape (S, S).
        twin: The twin that the image is of; None for the case's own image.
    """

    case_id: str
    place: NDArray[np.bool_]
    twin: TwinInputs | None


@dataclass(frozen=True)
class Confounder:
    """A confounder of the audited cases.

    Attributes:
        name: Name.
        views: The images that show it. A case that shows it itself has one view, its own image; any other has
            a view of each of its twins that show it.
        effects: Its effect on the predictions, a row for each case, see `reliance.SCHEMA`.
    """

    name: str
    views: tuple[View, ...]
    effects: pl.DataFrame

    @property
    def area(self) -> float:
        """Mean share of the pixels of an image that it changes."""
        return float(np.mean([view.place.mean() for view in self.views]))

    @property
    def has_place(self) -> bool:
        """Whether it changes a part of the image rather than the whole, see `WHOLE`."""
        return self.area <= WHOLE


def twins_of(run: Run, split: str, case_ids: Sequence[str]) -> pl.DataFrame:
    """Return the twins of cases, as in `Store.twins`; none of cases outside of the test split."""
    twins = run.store.twins
    if twins.is_empty() or split != "test":
        return twins.clear()
    return twins.filter(pl.col("twin_of").is_in(list(case_ids))).with_columns(
        pl.col("confounder").fill_null(reliance.UNNAMED)
    )


def load(
    run: Run, model: nn.Module, images: dict[str, Tensor], twins: pl.DataFrame, device: str, bar: Bar
) -> tuple[Confounder, ...]:
    """Load the twins of the audited cases, find where confounders lie, and measure their effects.

    Args:
        run: The run.
        model: The model that gives the class scores, on the device.
        images: Image (1, S, S) of each case, by its id.
        twins: The twins, see `twins_of`.
        device: Device of the model.
        bar: Progress, which advances by one for each twin.
    """
    if twins.is_empty():
        return ()
    compared = {
        (name, case_id): _views(
            [(case_id, rows["original_shows"][0]), *rows.select("case_id", "shows").iter_rows()]
        )
        for (name, case_id), rows in _grouped(twins)
    }
    shown = {image for views in compared.values() for image, _ in views}
    pixels = {case_id: _grey_levels(image) for case_id, image in images.items()}
    inputs, predicted = dict[str, TwinInputs](), list[pl.DataFrame]()
    for batch in _twin_batches(run, list(twins["case_id"])):
        of_batch, rows = _predicted(run, model, batch.to(device))
        predicted.append(rows)
        for twin, each in of_batch.items():
            pixels[twin] = _grey_levels(each.image)
            if twin in shown:
                inputs[twin] = each
        bar.advance(len(batch))
    effects = reliance.figures_of(run, twins, pl.concat(predicted))
    views_of: dict[str, list[View]] = {name: [] for name in effects["confounder"].unique().sort()}
    for (name, case_id), views in compared.items():
        for image, others in views:
            place = np.any([_differs(pixels[image], pixels[other]) for other in others], axis=0)
            views_of[name].append(View(case_id, place, inputs.get(image)))
    return tuple(
        Confounder(name, tuple(views), effects.filter(confounder=name)) for name, views in views_of.items()
    )


def _grouped(twins: pl.DataFrame) -> Iterator[tuple[tuple[str, str], pl.DataFrame]]:
    for (name, case_id), rows in twins.group_by("confounder", "twin_of", maintain_order=True):
        yield (str(name), str(case_id)), rows


def _views(images: Sequence[tuple[str, str | None]]) -> list[tuple[str, list[str]]]:
    """Images that show the confounder, each with those from which it differs in the confounder alone.

    Args:
        images: Argument of `reliance.pairs_of`.
    """
    case, shows = images[0]
    pairs = reliance.pairs_of(images)
    if shows is None:
        return [(image, [without]) for image, without in pairs]
    others = [without for _, without in pairs if without != case]
    return [(case, others[:1] or [image for image, _ in pairs])]


def _twin_batches(run: Run, ids: Sequence[str]) -> Iterator[Batch]:
    cases = dataset(as_cases(run.store), uncached(run.config), "test")
    return batches(cases, run.config.optimisation.batch_size, ids)


def _predicted(run: Run, model: nn.Module, batch: Batch) -> tuple[dict[str, TwinInputs], pl.DataFrame]:
    """Inputs of each twin of a batch, by its id, and a table of case_id and probability_<class>."""
    images, *also = models.inputs(model, batch)
    with torch.inference_mode():
        logits = model(images, *also).logits
    values = probabilities(logits, run.config.objective.classification).cpu().double().numpy()
    classes = logits.argmax(1).clone()
    inputs = {
        case_id: TwinInputs(images[k], tuple(more[k] for more in also), classes[k])
        for k, case_id in enumerate(batch.case_id)
    }
    names = [f"probability_{name}" for name in run.classes]
    table = pl.DataFrame({"case_id": list(batch.case_id)}).with_columns(pl.from_numpy(values, names))
    return inputs, table


def _grey_levels(image: Tensor) -> Pixels:
    levels: Pixels = (image[0] * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    return levels


def _differs(one: Pixels, other: Pixels) -> NDArray[np.bool_]:
    is_other: NDArray[np.bool_] = np.abs(one.astype(np.int16) - other) > TOLERANCE
    return is_other
