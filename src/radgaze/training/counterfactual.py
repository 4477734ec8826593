"""Training images whose surroundings are not their own: see `CounterfactualConfig`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radgaze.draws import uniform, uniform_maps
from radgaze.errors import UserError
from radgaze.gaze.boxes import union
from radgaze.gaze.reference import lowest_share
from radgaze.objectives.exchange import ExchangeCases, exchange
from radgaze.objectives.perturbations import Fill, at_least, filling, widened
from radgaze.runs.config import CounterfactualConfig
from radgaze.runs.training_images import CASES, TrainingImage
from radgaze.store.batch import Batch
from radgaze.store.dataset import GazeDataset

HALF = 0.5
"""Share of a pixel from which it belongs to a box, a mask or the lungs."""

ALIKE = 0.9
"""Share of the cases with a region from which a notice says that they have the same labels."""

CHOICE, PARTNER, NOISE = 1, 2, 3
"""Numbers of the independent draws of a case; the terms of the loss take others."""

_FILLS: dict[str, Fill] = {"fill": "mean", "noise": "uniform", "blur": "blur"}


@dataclass(frozen=True)
class Changed:
    """A batch whose images are changed.

    Attributes:
        batch: The batch.
        retained: Share of each pixel that is kept for the case's own region, (B, 1, H, W).
        changed: Which images are changed, (B,) bool.
        without_region: Which were to be changed and are not, as the case has no region, (B,) bool.
        without_partner: Which were to be changed and are not, as no case of the batch may be its partner,
            (B,) bool.
    """

    batch: Batch
    retained: Tensor
    changed: Tensor
    without_region: Tensor
    without_partner: Tensor

    @property
    def counts(self) -> dict[str, Tensor]:
        """Numbers of images, by the column of `history.csv` that has their sum over an epoch."""
        return {
            f"counterfactual/{name}": getattr(self, name).sum().float()
            for name in ("changed", "without_region", "without_partner")
        }

    def shown(self, before: Batch) -> list[TrainingImage]:
        """Return the first images of the batch, before and after.

        Args:
            before: The batch before its images were changed.
        """
        parts = (before.image, self.retained, self.batch.image)
        pixels = [(255 * part[:CASES, 0].float()).round().byte().cpu().numpy() for part in parts]
        return [TrainingImage(*each) for each in zip(*pixels, strict=True)]


@torch.no_grad()
def change(batch: Batch, config: CounterfactualConfig) -> Changed:
    """Replace what lies outside of the regions of a batch's images, on its device.

    The result for a case follows from its own draw (from seed, epoch and case) and, with "exchange", from
    those of the other cases in the batch of all processes.

    Args:
        batch: Batch of training cases.
        config: The settings; `kind` is not "none".

    Raises:
        ValueError: The data set of the batch makes no draws, or no lungs where they are the region.
    """
    with torch.autocast(batch.image.device.type, enabled=False):
        return _change(batch, config, _draw(batch))


def _change(batch: Batch, config: CounterfactualConfig, draw: Tensor) -> Changed:
    inside, has_region = regions(batch, config)
    retained = widened(inside, config.dilation, config.feather)
    chosen = uniform(draw, CHOICE) < config.share
    if config.kind == "exchange":
        patient = torch.tensor(batch.patient, device=draw.device)
        cases = ExchangeCases(batch.image, retained, has_region, batch.label, patient, draw)
        images, has_partner = exchange(cases, partner=config.partner, keep=config.keep, purpose=PARTNER)
    else:
        size = (batch.image.shape[-2], batch.image.shape[-1])
        noise = uniform_maps(draw, NOISE, size) if config.kind == "noise" else None
        other = filling(batch.image, _FILLS[config.kind], 1 - retained, noise)
        images, has_partner = torch.lerp(batch.image, other, 1 - retained), torch.ones_like(has_region)
    changed = chosen & has_region & has_partner
    images = torch.where(changed.view(-1, 1, 1, 1), images, batch.image)
    return Changed(
        replace(batch, image=images),
        retained,
        changed,
        chosen & ~has_region,
        chosen & has_region & ~has_partner,
    )


def regions(batch: Batch, config: CounterfactualConfig) -> tuple[Tensor, Tensor]:
    """Make the regions that are left as they are, before they are widened.

    Returns:
        Which pixels are inside, (B, 1, S, S) bool; and which cases have a region, (B,) bool.
    """
    if config.region == "gaze":
        inside = at_least(batch.gaze_maps(), config.threshold) & batch.has_gaze.view(-1, 1, 1, 1)
    elif config.region == "boxes":
        size = (batch.image.shape[-2], batch.image.shape[-1])
        inside = union(batch.own_boxes(), size)[:, None] >= HALF
    else:
        marked = batch.own_regions()[:, None] if config.region == "masks" else batch.lungs
        if marked is None:
            raise ValueError("the data set was made without lungs")
        inside = marked >= HALF * 255
    return inside, inside.flatten(1).any(1)


def check_regions(config: CounterfactualConfig, cases: GazeDataset) -> str | None:
    """Check that training cases have regions.

    Returns:
        A notice on the number of those that have one; None if all have or none are needed.

    Raises:
        UserError: No training case has one.
    """
    if config.kind == "none":
        return None
    count = len(cases)
    if config.region == "lungs":
        if cases.with_lungs == count:
            return None
        if not cases.with_lungs:
            return (
                f"none of the {count:,} training cases has masks of both lungs; "
                "`counterfactual.region=lungs` takes a fixed shape, the same for all"
            )
        return (
            f"{cases.with_lungs:,} of {count:,} training cases have masks of both lungs; for the others "
            "`counterfactual.region=lungs` takes a fixed shape"
        )
    if config.region == "gaze" and cases.gaze is not None and cases.gaze.weight == "reference":
        floor = lowest_share()
        if config.threshold <= floor:
            raise UserError(
                f"maps of `gaze.weight=reference` have no pixel below {floor:.2f} of their maximum, so that "
                f"`counterfactual.threshold={config.threshold:g}` would change no image: give a higher one"
            )
    has = {"gaze": cases.attended, "boxes": cases.boxed, "masks": cases.masked}[config.region]
    usable = int(has.sum())
    if not usable:
        raise UserError(
            f"none of the {count} training cases has {config.region} for `counterfactual.region="
            f"{config.region}`: give another region, or leave out `counterfactual.kind`"
        )
    if usable < count:
        return (
            f"only {usable:,} of {count:,} training cases have {config.region} for `counterfactual.kind="
            f"{config.kind}`; the images of the others stay as they are{_alike(config, cases.labels, has)}"
        )
    return None


def _alike(config: CounterfactualConfig, labels: Tensor, has_region: NDArray[np.bool_]) -> str:
    """Say so if nearly all cases with a region have the same labels and hardly any partner but each other."""
    if config.kind != "exchange" or config.keep != "both" or config.partner == "same_class":
        return ""
    rows = labels.numpy()
    kinds, counts = np.unique(rows[has_region], axis=0, return_counts=True)
    most = int(counts.max())
    everywhere = float((rows == kinds[counts.argmax()]).all(1).mean())
    if most < ALIKE * has_region.sum() or everywhere >= ALIKE:
        return ""
    return (
        f". Of those with {config.region} {most:,} have the same classes, and with "
        "`counterfactual.keep=both` they take pixels almost only from each other, so that what lies outside "
        "of the regions still tells these classes. `counterfactual.keep=own` takes pixels from all cases, "
        "their findings too"
    )


def _draw(batch: Batch) -> Tensor:
    if batch.draw is None:
        raise ValueError("the batch has no draws, which its data set makes")
    return batch.draw
