"""Heatmaps of the classes that a report mentions, each with the gaze of this class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from radgaze.evaluation.maps import CaseMaps, RunExplainer, RunMaps
from radgaze.runs.data import batches, dataset, uncached
from radgaze.runs.run import Run
from radgaze.store.batch import Batch


@dataclass(frozen=True)
class MentionedMaps:
    """Maps of cases and of a class of each that its report mentions.

    Attributes:
        classes: Names of the classes, one for each case; a case with several classes comes several times.
        maps: The maps: heatmaps of the class, and the gaze and fixations of the class. They have no boxes.
        fixations: Whether there is a fixation of the case, of any class or none, of shape (B, K).
    """

    classes: tuple[str, ...]
    maps: CaseMaps
    fixations: NDArray[np.bool_]


def mentioned_cases(run: Run, split: str) -> int:
    """Count the cases of a split with gaze of a class that their reports mention."""
    store = run.store
    gazed = store.mentions.filter(store.mentions["label"].is_in(list(run.classes)))
    gazed = gazed.join(store.fixations, on=["reading_id", "index"], how="semi")
    readings = store.readings.join(gazed, on="reading_id", how="semi")
    cases = store.cases.filter(store.cases["split"] == split)
    return cases.join(readings, on="case_id", how="semi").height


def stream_mentioned(
    run: Run, split: str, *, generator: str | None, device: str, batch_size: int
) -> Iterator[MentionedMaps]:
    """Make the maps of each class with gaze of the cases of a split, a part of a batch at a time.

    Args:
        run: The run.
        split: The split.
        generator: Name of the heatmaps' generator; None for the default of `Run.generator`.
        device: Device of the model.
        batch_size: Number of cases in a batch.

    Raises:
        UserError: The store does not record which fixations belong to a class.
    """
    explainer = RunExplainer.of(run, generator, device, grad_cam=True)
    config = replace(uncached(run.config), gaze=replace(run.config.gaze, per="class"))
    cases = dataset(run.store, config, split, per_class=True)
    for batch in batches(cases, batch_size):
        if batch.class_weights is None:
            continue
        mentioned = (batch.class_weights > 0).any(1)
        nth = mentioned.long().cumsum(1) * mentioned
        # The n-th class of each case at once.
        for n in range(1, int(mentioned.sum(1).max()) + 1):
            chosen, has = (nth == n).long().argmax(1), (nth == n).any(1)
            maps = explainer(batch.to(device), chosen.to(device))
            yield _of_cases(batch, maps, chosen, has, run)


def _of_cases(
    batch: Batch, maps: RunMaps, chosen: torch.Tensor, has: torch.Tensor, run: Run
) -> MentionedMaps:
    """The maps of the cases of a batch that have a class, (B,), and of that class."""
    rows = torch.nonzero(has)[:, 0]
    places = rows.numpy()
    assert batch.class_weights is not None
    present = batch.class_weights[rows, :, chosen[rows]] > 0
    size = batch.image.shape[-2:]

    def of_rows(array: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        return None if array is None else array[places]

    of_cases = CaseMaps(
        case_ids=tuple(batch.case_id[row] for row in places),
        patients=np.array(batch.patient, dtype=np.int64)[places],
        image=batch.image[rows, 0].numpy(),
        heatmap=maps.heatmap[places],
        grad_cam=of_rows(maps.grad_cam),
        mask=of_rows(maps.mask),
        gaze=batch.gaze_maps(classes=chosen)[rows, 0].numpy(),
        has_gaze=np.ones(len(places), dtype=bool),
        points=batch.points[rows].numpy(),
        present=present.numpy(),
        sigma=batch.sigma[rows].numpy(),
        boxes=np.zeros((len(places), 0, 4), dtype=np.float32),
        regions=np.zeros((len(places), *size), dtype=bool),
        probabilities=np.zeros((len(places), len(run.classes))),
        labels=batch.label[rows].numpy().astype(np.int64),
    )
    names = tuple(run.classes[k] for k in chosen[rows].tolist())
    return MentionedMaps(names, of_cases, (batch.weights[rows] > 0).numpy())
