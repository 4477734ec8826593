"""The maps of a run's cases as arrays: image, heatmap, Grad-CAM, gaze and mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from radgaze import models
from radgaze.attribution.generator import Generator
from radgaze.attribution.targets import target_index
from radgaze.errors import UserError
from radgaze.evaluation.baselines.baseline_map import BaselineMap
from radgaze.evaluation.metrics.multilabel import true_class
from radgaze.evaluation.options import Target
from radgaze.models.output import Output
from radgaze.objectives.matching import blur
from radgaze.runs.run import Run
from radgaze.runs.vote import Rule, combined
from radgaze.store.batch import Batch
from radgaze.store.boxes import of_own_class, regions_of_own_class

Array = NDArray[np.float32]
Explained = torch.Tensor | str | Callable[[Output], torch.Tensor]
Scalar = TypeVar("Scalar", bound=np.generic)

BLURRED = {"heatmap": True, "heatmap_raw": False, "grad_cam": True, "mask": False}
"""Maps of a run, and whether each is blurred by the Gaussian of the case's gaze map before it is scored."""


@dataclass(frozen=True)
class CaseMaps:
    """The maps of B cases at the size of the model's input; the rows of all arrays are in the same order.

    Attributes:
        case_ids: Ids of the cases.
        patients: Patient keys, of shape (B,).
        image: Grey images in [0, 1], of shape (B, H, W).
        heatmap: Heatmaps of the generator in [0, 1], not smoothed, of shape (B, H, W).
        grad_cam: Grad-CAM heatmaps in [0, 1], of shape (B, H, W), or None if not requested.
        mask: Probabilities of the decoder's mask, of shape (B, H, W), or None for a model without a decoder.
            For a decoder with a mask for each class it is the mask of the heatmap's class.
        gaze: Gaze maps of shape (B, H, W); zeros for a case without gaze.
        has_gaze: Whether a case has gaze, or boxes that stand in for gaze, of shape (B,).
        points: Fixations as (x, y) in map pixels, padded, of shape (B, K, 2).
        present: Whether there is a fixation rather than padding, of shape (B, K).
        sigma: Standard deviations (σy, σx) of the gaze maps' Gaussian in map pixels, of shape (B, 2).
        boxes: Boxes of the case's classes and boxes without a class, as (x1, y1, x2, y2) in map pixels, of
            shape (B, N, 4); padded by boxes without area.
        regions: Whether a pixel is in a region of these classes or without a class, of shape (B, H, W), see
            `store.regions`.
        probabilities: Predicted probabilities, of shape (B, C).
        labels: Labels, 0 or 1, of shape (B, C).
    """

    case_ids: tuple[str, ...]
    patients: NDArray[np.int64]
    image: Array
    heatmap: Array
    grad_cam: Array | None
    mask: Array | None
    gaze: Array
    has_gaze: NDArray[np.bool_]
    points: Array
    present: NDArray[np.bool_]
    sigma: Array
    boxes: Array
    regions: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.case_ids)

    def maps_to_score(self, baselines: Mapping[str, BaselineMap]) -> dict[str, NDArray[np.floating]]:
        """Return the maps to score, by name, each of shape (B, H, W).

        Args:
            baselines: The baseline maps, by name.
        """
        run_maps = {
            "heatmap": self.heatmap,
            "heatmap_raw": self.heatmap,
            "grad_cam": self.grad_cam,
            "mask": self.mask,
        }
        maps: dict[str, NDArray[np.floating]] = {}
        for name, raw in run_maps.items():
            if raw is not None:
                maps[name] = smoothed(raw, self.sigma) if BLURRED[name] else raw
        for name, baseline in baselines.items():
            made = baseline(self.case_ids)
            maps[name] = smoothed(made, self.sigma) if baseline.blurred else made
        return maps


def case_maps(
    run: Run,
    case_ids: Sequence[str],
    *,
    split: str = "test",
    generator: str | None = None,
    target: Target = "predicted",
    device: str = "cpu",
    batch_size: int = 16,
) -> CaseMaps:
    """Make the maps of the given cases of a split, in the order given, Grad-CAM included.

    Args:
        run: The run.
        case_ids: Ids of the cases.
        split: Split of the cases.
        generator: Name of the heatmaps' generator; None for the default of `Run.generator`.
        target: Class of a heatmap: the most probable class, "predicted", or the "true" class, see
            `multilabel.true_class`; with "true", only boxes of this class and boxes without a class are
            returned.
        device: Device of the model.
        batch_size: Number of cases in a batch.

    Raises:
        UserError: No case is given, or one is not in the split.
    """
    parts = list(
        stream_maps(
            run,
            split,
            case_ids=case_ids,
            generator=generator,
            target=target,
            device=device,
            batch_size=batch_size,
            grad_cam=True,
        )
    )
    if not parts:
        raise UserError("no case is given")
    return _joined(parts)


def stream_maps(
    run: Run,
    split: str,
    *,
    case_ids: Sequence[str] | None = None,
    generator: str | None = None,
    target: Target = "predicted",
    device: str = "cpu",
    batch_size: int = 16,
    grad_cam: bool = False,
) -> Iterator[CaseMaps]:
    """Make the maps of a split or of some of its cases, a batch at a time, to bound the memory.

    Those of a vote are the means of its runs' heatmaps, and masks combined by its rule, see `runs.vote`.

    Args:
        run, split, generator, target, device, batch_size: Arguments of `case_maps`.
        case_ids: Ids of the cases, in the order of the result; None for all cases of the split, in the order
            of the store.
        grad_cam: Whether Grad-CAM heatmaps are made too.

    Yields:
        The maps of a batch.
    """
    explainer = RunExplainer.of(run, generator, device, grad_cam=grad_cam)
    predictions = run.predictions()
    rows = predictions.select([f"probability_{name}" for name in run.classes]).to_numpy().astype(np.float64)
    predicted = dict(zip(predictions["case_id"], rows, strict=True))
    for batch in run.batches(split, batch_size=batch_size, case_ids=case_ids):
        probabilities = np.stack([predicted[case] for case in batch.case_id])
        boxes, regions = batch.own_boxes(), batch.own_regions()
        explained: torch.Tensor | str = "predicted"
        if target == "true":
            true = torch.from_numpy(true_class(batch.label.cpu(), probabilities))
            explained = true.to(device)
            # A heatmap of one of a case's classes is not compared with boxes of another class.
            one_hot = torch.nn.functional.one_hot(true, batch.label.shape[1]).to(batch.label.device)
            boxes = of_own_class(batch.boxes, batch.box_class, one_hot)
            regions = regions_of_own_class(batch.regions, batch.region_class, one_hot)
        elif run.vote is not None:  # the class that the vote predicts, and not each run for itself
            explained = torch.from_numpy(probabilities.argmax(1)).to(device)
        maps = explainer(batch.to(device), explained)
        yield CaseMaps(
            case_ids=tuple(batch.case_id),
            patients=np.array(batch.patient, dtype=np.int64),
            image=_plane(batch.image),
            heatmap=maps.heatmap,
            grad_cam=maps.grad_cam,
            mask=maps.mask,
            gaze=_plane(batch.gaze_maps()),
            has_gaze=batch.has_gaze.cpu().numpy().astype(bool),
            points=batch.points.cpu().numpy().astype(np.float32),
            present=(batch.weights > 0).cpu().numpy(),
            sigma=batch.sigma.cpu().numpy().astype(np.float32),
            boxes=boxes.cpu().numpy().astype(np.float32),
            regions=inside_region(regions),
            probabilities=probabilities,
            labels=batch.label.cpu().numpy().astype(np.int64),
        )


@dataclass(frozen=True)
class RunMaps:
    """The maps of a batch that a run makes, (B, H, W) each; see `CaseMaps`."""

    heatmap: Array
    grad_cam: Array | None
    mask: Array | None


@dataclass(frozen=True)
class RunExplainer:
    """A run's maps of batches: those of its model, or of a vote's runs, combined.

    Attributes:
        parts: The trained runs.
        rule: Rule of the vote for masks, see `runs.vote`.
    """

    parts: Sequence[_Explainer]
    rule: Rule

    @classmethod
    def of(cls, run: Run, generator: str | None, device: str, *, grad_cam: bool = False) -> RunExplainer:
        """Load the models of a run; for the arguments see `case_maps`."""
        parts = [_Explainer.of(voter, generator, device, grad_cam=grad_cam) for voter in run.voters]
        return cls(parts, "mean" if run.vote is None else run.vote.rule)

    def __call__(self, batch: Batch, explained: Explained) -> RunMaps:
        """Make the maps of a batch on the models' device.

        Args:
            batch: The cases.
            explained: Class of each case, of shape (B,); "predicted", the one that each model predicts; or a
                function of the output that returns the score of each case, (B,), whose mask is that of the
                predicted class.
        """
        maps = [part(batch, explained) for part in self.parts]
        return RunMaps(
            heatmap=_together("mean", [each.heatmap for each in maps]),
            grad_cam=_together_if_all("mean", [each.grad_cam for each in maps]),
            mask=_together_if_all(self.rule, [each.mask for each in maps]),
        )


@dataclass(frozen=True)
class _Explainer:
    """The model of one trained run, with the generators of its maps."""

    model: nn.Module
    heatmaps: Generator
    grad_cams: Generator | None

    @classmethod
    def of(cls, run: Run, generator: str | None, device: str, *, grad_cam: bool) -> _Explainer:
        model = run.model(device)
        able = grad_cam and "grad_cam" not in run.config.model.lacks
        grad_cams = run.generator(model, "grad_cam") if able else None
        return cls(model, run.generator(model, generator), grad_cams)

    def __call__(self, batch: Batch, explained: Explained) -> RunMaps:
        classes = "predicted" if callable(explained) else explained
        images, *other_inputs = models.inputs(self.model, batch)
        with torch.no_grad():
            output = self.model(images, *other_inputs)
            mask = output.mask_of(target_index(output.logits, classes))
        heatmap = _plane(self.heatmaps(images, explained, also=other_inputs))
        grad_cam = None
        if self.grad_cams is not None:
            grad_cam = _plane(self.grad_cams(images, explained, also=other_inputs))
        return RunMaps(heatmap, grad_cam, None if mask is None else _plane(mask.float().sigmoid()))


def _together(rule: Rule, maps: Sequence[Array]) -> Array:
    """Combine the maps (B, H, W) of runs; those of one alone stay as they are."""
    return maps[0] if len(maps) == 1 else combined(rule, np.stack(maps)).astype(np.float32)


def _together_if_all(rule: Rule, maps: Sequence[Array | None]) -> Array | None:
    """Combine maps as `_together` does; None where a run has none."""
    made = [each for each in maps if each is not None]
    return _together(rule, made) if len(made) == len(maps) else None


def inside_region(regions: torch.Tensor) -> NDArray[np.bool_]:
    """Return which pixels are covered by half or more, given shares from 0 to 255, of the same shape."""
    return (regions >= 128).cpu().numpy()


def smoothed(maps: NDArray[np.floating], sigma: NDArray[np.floating]) -> Array:
    """Blur maps, each by its own Gaussian, with reflecting borders.

    Gradient maps vary from pixel to pixel whereas gaze maps are smooth; without blurring, agreement would
    mainly measure this variation. By default, training blurs heatmaps in the same way.

    Args:
        maps: Maps of shape (B, H, W).
        sigma: Standard deviations (σy, σx) in map pixels, of shape (B, 2).

    Returns:
        Maps of shape (B, H, W), float32.
    """
    planes = torch.from_numpy(np.ascontiguousarray(maps, dtype=np.float32))[:, None]
    return _plane(blur(planes, torch.from_numpy(np.ascontiguousarray(sigma, dtype=np.float32))))


def _plane(maps: torch.Tensor) -> Array:
    """(B, 1, H, W) → (B, H, W)."""
    return maps.detach().float().cpu().numpy()[:, 0]


def _joined(parts: Sequence[CaseMaps]) -> CaseMaps:
    return CaseMaps(
        case_ids=tuple(case for part in parts for case in part.case_ids),
        patients=np.concatenate([part.patients for part in parts]),
        image=np.concatenate([part.image for part in parts]),
        heatmap=np.concatenate([part.heatmap for part in parts]),
        grad_cam=_joined_maps([part.grad_cam for part in parts]),
        mask=_joined_maps([part.mask for part in parts]),
        gaze=np.concatenate([part.gaze for part in parts]),
        has_gaze=np.concatenate([part.has_gaze for part in parts]),
        points=_padded([part.points for part in parts]),
        present=_padded([part.present for part in parts]),
        sigma=np.concatenate([part.sigma for part in parts]),
        boxes=_padded([part.boxes for part in parts]),
        regions=np.concatenate([part.regions for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
    )


def _joined_maps(parts: Sequence[Array | None]) -> Array | None:
    maps = [part for part in parts if part is not None]
    return np.concatenate(maps) if maps else None


def _padded(parts: Sequence[NDArray[Scalar]]) -> NDArray[Scalar]:
    """Concatenate arrays (B, K, ...) whose K differs, padded by zeros to the largest."""
    longest = max(part.shape[1] for part in parts)
    widths = [[(0, 0), (0, longest - part.shape[1]), *[(0, 0)] * (part.ndim - 2)] for part in parts]
    return np.concatenate([np.pad(part, width) for part, width in zip(parts, widths, strict=True)])
