"""Thresholds at which a map becomes a region, chosen on validation cases, in RUN/map_thresholds.json.

The threshold of a map is the one whose regions agree best with gaze: over the validation cases with gaze, the
mean Dice coefficient of {map ≥ t · max map} and {gaze ≥ ½ max gaze} is largest. The heatmap is that of the
case's true class, smoothed as the objects smooth it. For a decoder's mask, which is a probability, t is not
relative to the maximum.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radgaze import records
from radgaze.console import note
from radgaze.errors import UserError
from radgaze.evaluation.maps import CaseMaps, smoothed, stream_maps
from radgaze.records import Record
from radgaze.runs.run import Run

FILE = "map_thresholds.json"
GRID = tuple(k / 20 for k in range(1, 20))
UNCHOSEN = 0.5
"""Threshold where there is no validation case with gaze."""
MOST_CASES = 200


@dataclass(frozen=True)
class Threshold:
    """A threshold.

    Attributes:
        value: The threshold.
        cases: Number of validation cases that chose it; 0 where none could.
        dice: Mean Dice coefficient of the regions at this threshold with gaze; None where none could.
    """

    value: float = UNCHOSEN
    cases: int = 0
    dice: float | None = None


@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a method's heatmaps and of the masks.

    Attributes:
        heatmap: That of the smoothed heatmap, as a share of its maximum.
        mask: That of the mask, a probability.
    """

    heatmap: Threshold = Threshold()
    mask: Threshold = Threshold()


@dataclass(frozen=True)
class ThresholdsRecord(Record):
    """The content of the file.

    Attributes:
        weights: SHA-256 of the weights, see `Model`.
        methods: Thresholds by method.
    """

    weights: str
    methods: dict[str, Thresholds]


def thresholds_of(run: Run, method: str, weights: str, device: str) -> Thresholds:
    """Return the thresholds of a run, chosen the first time that they are asked for.

    Where the store is missing, or has no validation case with gaze, they are `UNCHOSEN`.

    Args:
        run: The run.
        method: Name of the generator of the heatmaps.
        weights: SHA-256 of the weights.
        device: Device of the models.
    """
    path = run.path / FILE
    by_method = _kept(path, weights)
    if method in by_method:
        return by_method[method]
    try:
        chosen = _chosen(run, method, device)
    except UserError:  # the store is gone or has changed
        chosen = Thresholds()
    if not chosen.heatmap.cases:
        note(
            f"the thresholds of regions could not be chosen on validation cases with gaze: {UNCHOSEN:g} is "
            "used, and the objects say so"
        )
        return chosen
    with suppress(OSError):  # a run that may not be written to: chosen again the next time
        records.write(ThresholdsRecord(weights, {**by_method, method: chosen}), path)
    return chosen


def _kept(path: Path, weights: str) -> dict[str, Thresholds]:
    if not path.is_file():
        return {}
    record = records.read(ThresholdsRecord, path, "remove it, and it is made again")
    return record.methods if record.weights == weights else {}


def _chosen(run: Run, method: str, device: str) -> Thresholds:
    cases = run.store.cases
    ids = cases.filter(cases["split"] == "validate")["case_id"].to_list()
    order = np.random.default_rng(0).permutation(len(ids))[:MOST_CASES]
    drawn = [ids[i] for i in sorted(order)]
    heat, mask = list[NDArray[np.float64]](), list[NDArray[np.float64]]()
    for maps in _with_gaze(run, drawn, method, device):
        gaze = maps.gaze >= 0.5 * maps.gaze.max((1, 2), keepdims=True)
        smooth = smoothed(maps.heatmap, maps.sigma)
        heat.append(dice_at(smooth / np.maximum(smooth.max((1, 2), keepdims=True), 1e-12), gaze))
        if maps.mask is not None:
            mask.append(dice_at(maps.mask, gaze))
    return Thresholds(_best(heat), _best(mask))


def _with_gaze(run: Run, ids: list[str], method: str, device: str) -> Iterator[CaseMaps]:
    """The maps of cases of the validation split with gaze, a case at a time."""
    for maps in stream_maps(
        run, "validate", case_ids=ids, generator=method, target="true", device=device, batch_size=1
    ):
        if maps.has_gaze[0] and maps.gaze.max() > 0:
            yield maps


def dice_at(maps: NDArray[np.floating], regions: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Dice coefficient of {map ≥ t} with a region, for each t of the grid, (B, T).

    Args:
        maps: Maps (B, H, W).
        regions: Regions (B, H, W), none of them empty.
    """
    inside = np.stack([maps >= t for t in GRID], axis=1)
    both = (inside & regions[:, None]).sum((2, 3))
    whole = inside.sum((2, 3)) + regions.sum((1, 2))[:, None]
    shares: NDArray[np.float64] = 2 * both / whole
    return shares


def _best(parts: list[NDArray[np.float64]]) -> Threshold:
    """The threshold of the highest mean; the lowest of several."""
    if not parts:
        return Threshold()
    values = np.concatenate(parts)
    means = values.mean(0)
    best = int(means.argmax())
    return Threshold(GRID[best], len(values), round(float(means[best]), 4))
