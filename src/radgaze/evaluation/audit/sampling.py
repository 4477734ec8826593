"""The cases that an audit looks at: drawn by a seed, and brought to the device once for all methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze import models
from radgaze.console import Bar, progress
from radgaze.errors import UserError
from radgaze.evaluation.baselines.mean_gaze import mean_gaze
from radgaze.evaluation.maps import inside_region
from radgaze.evaluation.metrics.agreement import fixation_counts
from radgaze.evaluation.metrics.multilabel import true_class
from radgaze.runs.run import Run
from radgaze.store.batch import Batch
from radgaze.store.boxes import of_own_class, regions_of_own_class, with_area

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gaze:
    """The gaze on some cases.

    Attributes:
        maps: (B, S, S) gaze maps.
        fixations: (B, S, S) how many fixations fell on each pixel.
        there: (B,) whether there is any.
    """

    maps: Floats
    fixations: Floats
    there: NDArray[np.bool_]

    @classmethod
    def of(cls, batch: Batch) -> Gaze:
        """The gaze of a batch, at the size of its images."""
        present = (batch.weights > 0).cpu().numpy()
        size = (batch.image.shape[-2], batch.image.shape[-1])
        return cls(
            maps=batch.gaze_maps().double().cpu().numpy()[:, 0],
            fixations=fixation_counts(batch.points.cpu().numpy(), present, size),
            there=batch.has_gaze.cpu().numpy().astype(bool) & present.any(1),
        )


@dataclass(frozen=True)
class Lot:
    """Some cases side by side. Tensors are on the device.

    Attributes:
        case_ids: Of each case.
        images: (B, 1, S, S).
        also: What the model is called with after the images, (B, …) each.
        predicted: (B,) the class that the model gives most; maps are of this class, except beside boxes.
        truth: (B,) the true class, see `several.true_class`, whose boxes are the ones that count.
        gaze: Where they were looked at.
        sigma: (B, 2) as (σy, σx), the gaze map's Gaussian.
        boxes: (B, N, 4) in pixels of the images; without area for padding.
        regions: (B, S, S) whether a pixel is in a region of the true class, or of none.
        boxed: (B,) whether there is a box with area, or a region.
    """

    case_ids: tuple[str, ...]
    images: Tensor
    also: tuple[Tensor, ...]
    predicted: Tensor
    truth: Tensor
    gaze: Gaze
    sigma: Tensor
    boxes: NDArray[np.float32]
    regions: NDArray[np.bool_]
    boxed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.case_ids)


@dataclass(frozen=True)
class Subjects:
    """What is audited.

    Attributes:
        lots: All cases.
        probed: Those on which a method is run again and again.
        fixations: (S, S) counts of all cases together.
        gaze: (S, S) their gaze maps, added up.
        mean_gaze: (S, S) of the training cases, None where none has gaze.
    """

    lots: tuple[Lot, ...]
    probed: tuple[Lot, ...]
    fixations: Floats
    gaze: Floats
    mean_gaze: Floats | None


@dataclass(frozen=True)
class Drawn:
    """Which cases of a split are audited.

    Attributes:
        cases: case_id, patient, label_<class>, in the split's order.
        probed: The ids of those on which a method is run again and again.
    """

    cases: pl.DataFrame
    probed: tuple[str, ...]


def draw(run: Run, split: str, *, cases: int, probed: int, seed: int) -> Drawn:
    """Draw cases evenly, whatever their class, and from them the probed ones; all, if there are no more.

    Raises:
        UserError: The run has no predictions of the split.
    """
    table = run.predictions().filter(pl.col("split") == split)
    if table.is_empty():
        raise UserError(f"{run.path} has no predictions of the split {split!r}; there are validate and test")
    order = np.random.default_rng(seed).permutation(table.height)
    few = table[np.sort(order[: min(cases, probed)])]
    drawn = table[np.sort(order[:cases])].select("case_id", "patient", *(f"label_{c}" for c in run.classes))
    return Drawn(drawn, tuple(few["case_id"]))


def gather(run: Run, model: nn.Module, split: str, drawn: Drawn, *, device: str, batch_size: int) -> Subjects:
    """Bring the cases to the device, with their gaze, and the mean gaze of the training cases.

    Args:
        run: The run.
        model: What makes its class scores, on the device.
        split: Where the cases are.
        drawn: Which they are.
        device: Where the model is.
        batch_size: Cases at a time.
    """
    ids, side = drawn.cases["case_id"].to_list(), run.config.input.size
    total = len(run.dataset("train")) + len(ids) + len(drawn.probed)
    with progress("Gathering cases and gaze", total=total) as bar:

        def lots(of: Sequence[str]) -> tuple[Lot, ...]:
            return tuple(_lot(model, b.to(device)) for b in _counted(run.batches(split, batch_size, of), bar))

        everyone, few = lots(ids), lots(drawn.probed)
        mean, known = mean_gaze(_counted(run.batches("train", batch_size), bar), (side, side))
    return Subjects(
        lots=everyone,
        probed=few,
        fixations=np.sum([lot.gaze.fixations.sum(0) for lot in everyone], axis=0),
        gaze=np.sum([lot.gaze.maps.sum(0) for lot in everyone], axis=0),
        mean_gaze=mean if known else None,
    )


def _lot(model: nn.Module, batch: Batch) -> Lot:
    images, *also = models.inputs(model, batch)
    with torch.inference_mode():
        logits = model(images, *also).logits
    # Which class is the most probable does not depend on how logits become probabilities.
    truth = torch.from_numpy(true_class(batch.label.cpu(), logits.double().cpu())).to(images.device)
    shown = torch.nn.functional.one_hot(truth, batch.label.shape[1])
    boxes = of_own_class(batch.boxes, batch.box_class, shown)
    regions = inside_region(regions_of_own_class(batch.regions, batch.region_class, shown))
    return Lot(
        case_ids=tuple(batch.case_id),
        images=images,
        also=tuple(also),
        predicted=logits.argmax(1).clone(),
        truth=truth,
        gaze=Gaze.of(batch),
        sigma=batch.sigma,
        boxes=boxes.cpu().numpy(),
        regions=regions,
        boxed=with_area(boxes).any(1).cpu().numpy() | regions.any((1, 2)),
    )


def _counted(batches: Iterable[Batch], bar: Bar) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        bar.advance(len(batch))
