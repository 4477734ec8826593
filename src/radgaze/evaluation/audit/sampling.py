"""The cases of an audit, drawn with a seed and loaded onto the device once for all methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze import models
from radgaze.console import Bar, note, progress
from radgaze.errors import UserError
from radgaze.evaluation.audit import confounders
from radgaze.evaluation.audit.confounders import Confounder
from radgaze.evaluation.audit.options import AuditOptions
from radgaze.evaluation.maps import inside_region
from radgaze.evaluation.metrics.agreement import fixation_counts
from radgaze.evaluation.metrics.multilabel import true_class
from radgaze.runs.run import Run
from radgaze.store.batch import Batch
from radgaze.store.boxes import of_own_class, regions_of_own_class, with_area
from radgaze.store.mean_gaze import average_gaze

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CaseGaze:
    """Gaze on some cases.

    Attributes:
        maps: Gaze maps of shape (B, S, S).
        fixations: Number of fixations on each pixel, of shape (B, S, S).
        present: Whether a case has gaze, of shape (B,).
    """

    maps: Floats
    fixations: Floats
    present: NDArray[np.bool_]

    @classmethod
    def of(cls, batch: Batch) -> CaseGaze:
        """Return the gaze of a batch, at the size of its images."""
        weighted = (batch.weights > 0).cpu().numpy()
        size = (batch.image.shape[-2], batch.image.shape[-1])
        return cls(
            maps=batch.gaze_maps().cpu().double().numpy()[:, 0],
            fixations=fixation_counts(batch.points.cpu().numpy(), weighted, size),
            present=batch.has_gaze.cpu().numpy().astype(bool) & weighted.any(1),
        )


@dataclass(frozen=True)
class CaseBatch:
    """A batch of audited cases. Tensors are on the device.

    Attributes:
        case_ids: Ids of the cases.
        images: Images of shape (B, 1, S, S).
        also: Further inputs of the model after the images, of shape (B, …) each.
        predicted: Index of the most probable class, of shape (B,); maps are of this class, except where they
            are compared with boxes.
        truth: Index of the true class, of shape (B,), see `multilabel.true_class`.
        gaze: Gaze on the cases.
        sigma: Standard deviations (σy, σx) of the gaze map's Gaussian in pixels, of shape (B, 2).
        boxes: Boxes of the true class or without a class, as (x1, y1, x2, y2) in pixels of the images, of
            shape (B, N, 4); padded by boxes without area.
        regions: Whether a pixel is in a region of the true class or without a class, of shape (B, S, S).
        boxed: Whether a case has a box with area, or a region, of shape (B,).
    """

    case_ids: tuple[str, ...]
    images: Tensor
    also: tuple[Tensor, ...]
    predicted: Tensor
    truth: Tensor
    gaze: CaseGaze
    sigma: Tensor
    boxes: NDArray[np.float32]
    regions: NDArray[np.bool_]
    boxed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.case_ids)


@dataclass(frozen=True)
class AuditCases:
    """The audited cases.

    Attributes:
        batches: All cases.
        probed: The probed cases, on which a method is run many times.
        fixations: Fixation counts of all cases together, of shape (S, S).
        gaze: Sum of all gaze maps, of shape (S, S).
        mean_gaze: Mean gaze map of the training cases, of shape (S, S); None where none has gaze.
        confounders: Confounders of the cases that have twins, by which they are known.
    """

    batches: tuple[CaseBatch, ...]
    probed: tuple[CaseBatch, ...]
    fixations: Floats
    gaze: Floats
    mean_gaze: Floats | None
    confounders: tuple[Confounder, ...] = ()


@dataclass(frozen=True)
class Sample:
    """The cases of a split that are drawn for an audit.

    Attributes:
        cases: Table of case_id, patient and label_<class>, in the order of the split.
        probed: Ids of the probed cases.
    """

    cases: pl.DataFrame
    probed: tuple[str, ...]

    @property
    def case_ids(self) -> list[str]:
        """Ids of the cases."""
        return list(self.cases["case_id"])

    @property
    def patients(self) -> int:
        """Number of patients."""
        return self.cases["patient"].n_unique()


def draw(run: Run, options: AuditOptions) -> Sample:
    """Draw the audited cases of a split at random, regardless of class, and among them the probed ones.

    Args:
        run: The run.
        options: Options of the audit; `cases` and `probed` are upper limits.

    Raises:
        UserError: The run has no predictions of the split.
    """
    table = run.predictions().filter(pl.col("split") == options.split)
    if table.is_empty():
        raise UserError(f"{run.path} has no predictions of the {options.split} cases")
    if table.height < options.cases != AuditOptions.cases:
        note(f"the {options.split} split has {table.height:,} cases, not {options.cases:,}: all are audited")
    order = np.random.default_rng(options.seed).permutation(table.height)
    probed = table[np.sort(order[: min(options.cases, options.probed)])]
    labels = [f"label_{name}" for name in run.classes]
    cases = table[np.sort(order[: options.cases])].select("case_id", "patient", *labels)
    return Sample(cases, tuple(probed["case_id"]))


def load(run: Run, model: nn.Module, sample: Sample, options: AuditOptions, device: str) -> AuditCases:
    """Load the cases onto the device, with their gaze and twins, and the mean gaze of the training cases.

    Args:
        run: The run.
        model: The model that gives the class scores, on the device.
        sample: The cases.
        options: Options of the audit.
        device: Device of the model.
    """
    side = run.config.input.size
    twins = confounders.twins_of(run, options.split, sample.case_ids)
    gazed = run.with_evidence("train")
    total = len(gazed) + sample.cases.height + len(sample.probed) + twins.height
    with progress("Gathering cases and gaze", total=total) as bar:

        def batches(case_ids: Sequence[str]) -> tuple[CaseBatch, ...]:
            stored = run.batches(options.split, options.batch_size, case_ids)
            return tuple(_case_batch(model, batch.to(device)) for batch in _counted(stored, bar))

        every, probed = batches(sample.case_ids), batches(sample.probed)
        training = _counted(run.batches("train", options.batch_size, gazed), bar)
        mean, cases_with_gaze = average_gaze(training, (side, side))
        images = {
            name: image for batch in every for name, image in zip(batch.case_ids, batch.images, strict=True)
        }
        confounded = confounders.load(run, model, images, twins, device, bar)
    return AuditCases(
        batches=every,
        probed=probed,
        fixations=np.sum([batch.gaze.fixations.sum(0) for batch in every], axis=0),
        gaze=np.sum([batch.gaze.maps.sum(0) for batch in every], axis=0),
        mean_gaze=mean if cases_with_gaze else None,
        confounders=confounded,
    )


def _case_batch(model: nn.Module, batch: Batch) -> CaseBatch:
    images, *also = models.inputs(model, batch)
    with torch.inference_mode():
        logits = model(images, *also).logits
    # The order of the logits is that of the probabilities, for softmax and for sigmoid.
    truth = torch.from_numpy(true_class(batch.label.cpu(), logits.cpu().double())).to(images.device)
    of_truth = torch.nn.functional.one_hot(truth, batch.label.shape[1])
    boxes = of_own_class(batch.boxes, batch.box_class, of_truth)
    regions = inside_region(regions_of_own_class(batch.regions, batch.region_class, of_truth))
    return CaseBatch(
        case_ids=tuple(batch.case_id),
        images=images,
        also=tuple(also),
        predicted=logits.argmax(1).clone(),
        truth=truth,
        gaze=CaseGaze.of(batch),
        sigma=batch.sigma,
        boxes=boxes.cpu().numpy(),
        regions=regions,
        boxed=with_area(boxes).any(1).cpu().numpy() | regions.any((1, 2)),
    )


def _counted(batches: Iterable[Batch], bar: Bar) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        bar.advance(len(batch))
