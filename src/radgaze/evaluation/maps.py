"""The maps of a run's cases as arrays: image, heatmap, Grad-CAM, gaze and mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from radgaze import models
from radgaze.attribution.targets import target_index
from radgaze.errors import UserError
from radgaze.evaluation.metrics.multilabel import true_class
from radgaze.evaluation.options import GENERATOR as GENERATOR
from radgaze.evaluation.options import Target as Target
from radgaze.objectives.matching import blur
from radgaze.runs.run import Run
from radgaze.store.boxes import of_own_class, regions_of_own_class

Array = NDArray[np.float32]


@dataclass(frozen=True)
class CaseMaps:
    """Some cases, (B, H, W) a map, all at the size that the model sees; rows go together.

    Attributes:
        case_ids: Ids.
        patients: (B,) patient keys.
        image: Grey, in [0, 1].
        heatmap: Of the generator, in [0, 1], as it comes out, not smoothed.
        grad_cam: Grad-CAM in [0, 1], or None if not asked for.
        mask: Probability of the decoder's mask, or None of a model without decoder; where it is a class's,
            of the heatmap's class.
        gaze: Gaze map; zeros where there is none.
        has_gaze: (B,) whether there is gaze, or boxes stand in for it.
        points: (B, K, 2) fixations as (x, y) in map pixels, padded.
        present: (B, K) whether there is a fixation, or padding.
        sigma: (B, 2) as (σy, σx), the gaze map's Gaussian in map pixels.
        boxes: (B, N, 4) the boxes of the case's own classes, and of none, as (x1, y1, x2, y2) in map pixels;
            without area for padding.
        regions: (B, H, W) whether a pixel is in a region of these classes, see `store.regions`.
        probabilities: (B, C) as in the run's predictions.
        labels: (B, C), 0 or 1.
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
    """The maps of the given cases of a split, in the order given, Grad-CAM included.

    Args:
        run: The run.
        case_ids: Which cases.
        split: Where they are.
        generator: Name of the heatmap's generator; the run's own if None.
        target: Whether a heatmap is of the class predicted, the most probable, or of the true one, see
            `several.true_class`; boxes are then those of this class alone, and of none.
        device: Where the model runs.
        batch_size: Cases at a time.

    Raises:
        UserError: No case is asked for, or one is not in the split.
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
        raise UserError("no case is asked for")
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
    """The maps of a split, or of some of its cases, a batch at a time: a large split fits into memory.

    Arguments as for `case_maps`; in the data set's order, or that of `case_ids`.
    """
    model = run.model(device)
    heat = run.generator(model, generator)
    cam = run.generator(model, "grad_cam") if grad_cam else None
    predicted = _probabilities(run)
    for batch in run.batches(split, batch_size=batch_size, case_ids=case_ids):
        images, *also = models.inputs(model, batch.to(device))
        probability = np.stack([predicted[case] for case in batch.case_id])
        boxes, regions, of = batch.own_boxes(), batch.own_regions(), None
        if target == "true":
            of = torch.from_numpy(true_class(batch.label.cpu(), probability))
            # A heatmap of one of a case's classes has nothing to do with boxes of another.
            shown = torch.nn.functional.one_hot(of, batch.label.shape[1]).to(batch.label.device)
            boxes = of_own_class(batch.boxes, batch.box_class, shown)
            regions = regions_of_own_class(batch.regions, batch.region_class, shown)
        wanted: Any = target if of is None else of.to(device)
        with torch.no_grad():
            output = model(images, *also)
            mask = output.mask_of(target_index(output.logits, wanted))
        present = batch.weights > 0
        yield CaseMaps(
            case_ids=tuple(batch.case_id),
            patients=np.array(batch.patient, dtype=np.int64),
            image=_plane(batch.image),
            heatmap=_plane(heat(images, wanted, also=also)),
            grad_cam=None if cam is None else _plane(cam(images, wanted, also=also)),
            mask=None if mask is None else _plane(mask.float().sigmoid()),
            gaze=_plane(batch.gaze_maps()),
            has_gaze=batch.has_gaze.cpu().numpy().astype(bool),
            points=batch.points.cpu().numpy().astype(np.float32),
            present=present.cpu().numpy(),
            sigma=batch.sigma.cpu().numpy().astype(np.float32),
            boxes=boxes.cpu().numpy().astype(np.float32),
            regions=inside_region(regions),
            probabilities=probability,
            labels=batch.label.cpu().numpy().astype(np.int64),
        )


def inside_region(regions: torch.Tensor) -> NDArray[np.bool_]:
    """Pixels of which half is marked, from regions in 256 levels."""
    return (regions >= 128).cpu().numpy()


def smoothed(maps: NDArray[np.floating], sigma: NDArray[np.floating]) -> Array:
    """Maps (B, H, W), each blurred by a Gaussian of (σy, σx) map pixels, sigma (B, 2); reflecting borders.

    A gradient map is speckle and a gaze map is smooth: without this, agreement measures the speckle. Training
    matches the two by the same blur.
    """
    planes = torch.from_numpy(np.ascontiguousarray(maps, dtype=np.float32))[:, None]
    return _plane(blur(planes, torch.from_numpy(np.ascontiguousarray(sigma, dtype=np.float32))))


def _probabilities(run: Run) -> dict[str, NDArray[np.float64]]:
    """(C,) of each case, as the run predicted them."""
    table = run.predictions()
    rows = table.select([f"probability_{c}" for c in run.classes]).to_numpy().astype(np.float64)
    return dict(zip(table["case_id"], rows, strict=True))


def _plane(maps: torch.Tensor) -> Array:
    """(B, 1, H, W) → (B, H, W)."""
    return maps.detach().float().cpu().numpy()[:, 0]


def _joined(parts: Sequence[CaseMaps]) -> CaseMaps:
    longest = max(part.points.shape[1] for part in parts)
    missing = [(0, longest - part.points.shape[1]) for part in parts]
    most = max(part.boxes.shape[1] for part in parts)
    return CaseMaps(
        case_ids=tuple(case for part in parts for case in part.case_ids),
        patients=np.concatenate([part.patients for part in parts]),
        image=np.concatenate([part.image for part in parts]),
        heatmap=np.concatenate([part.heatmap for part in parts]),
        grad_cam=_joined_if_there([part.grad_cam for part in parts]),
        mask=_joined_if_there([part.mask for part in parts]),
        gaze=np.concatenate([part.gaze for part in parts]),
        has_gaze=np.concatenate([part.has_gaze for part in parts]),
        points=np.concatenate(
            [np.pad(part.points, ((0, 0), m, (0, 0))) for part, m in zip(parts, missing, strict=True)]
        ),
        present=np.concatenate(
            [np.pad(part.present, ((0, 0), m)) for part, m in zip(parts, missing, strict=True)]
        ),
        sigma=np.concatenate([part.sigma for part in parts]),
        boxes=np.concatenate(
            [np.pad(part.boxes, ((0, 0), (0, most - part.boxes.shape[1]), (0, 0))) for part in parts]
        ),
        regions=np.concatenate([part.regions for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
    )


def _joined_if_there(maps: Sequence[Array | None]) -> Array | None:
    there = [m for m in maps if m is not None]
    return np.concatenate(there) if there else None
