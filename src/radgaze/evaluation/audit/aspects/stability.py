"""Stability: does a map stay the same when the image hardly changes?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from radgaze.evaluation.audit.aspects.aspect import Aspect, Measurement, Panel, register
from radgaze.evaluation.audit.aspects.audited_maps import (
    AuditedMaps,
    Figures,
    explained_together,
    floats,
)
from radgaze.evaluation.audit.results import AuditSettings
from radgaze.evaluation.audit.sampling import CaseBatch
from radgaze.evaluation.metrics import robustness
from radgaze.evaluation.metrics.metric import Metric

_LIKENESS = (-1.0, 1.0)


@register
class Stability(Aspect):
    name = "stability"
    question = "Does the map stay when the image hardly changes?"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "under_noise": Metric(
            title="under noise", words="Likeness to the maps of slightly noisy images.", bounds=_LIKENESS
        ),
        "under_shifts": Metric(
            title="under shifts", words="Likeness to the maps of slightly shifted images.", bounds=_LIKENESS
        ),
    }
    headline = "under_noise"
    panel = Panel("Stability: likeness {metric}")
    probed = True

    def measure(self, audited: AuditedMaps) -> Measurement:
        return Measurement([(batch.case_ids, _figures(audited, batch)) for batch in audited.probed])

    def how(self, settings: AuditSettings) -> str:
        return (
            f"Stability: noise of σ {settings.noise:.2f} in units of the image's range, {settings.draws} "
            f"times; shifts by {settings.shift:.0%} of the side."
        )


def _figures(audited: AuditedMaps, batch: CaseBatch) -> Figures:
    method = audited.required
    every = method.group.once((Stability.name, batch.case_ids), lambda: _of_group(audited, batch))
    return every[method.name]


def _of_group(audited: AuditedMaps, batch: CaseBatch) -> dict[str, Figures]:
    """Figures of all methods that are measured together, by their names."""
    method, options = audited.required, audited.options
    maps = method.group.maps_of(batch)

    def again(images: Tensor) -> Tensor:  # of one method after the other
        changed = images is not batch.images
        made = explained_together(method.generators, batch, images) if changed else maps
        return torch.cat([made[name] for name in maps])

    side = batch.images.shape[-1]
    pixels = min(max(1, round(options.shift * side)), side - 1)
    noisy = robustness.under_noise(
        again, batch.images, noise=options.noise, samples=options.draws, seed=options.seed
    )
    shifted = robustness.under_shifts(again, batch.images, pixels=pixels)
    figures = {"under_noise": floats(noisy), "under_shifts": floats(shifted)}
    parts = {metric: figure.reshape(len(maps), -1) for metric, figure in figures.items()}
    return {name: {metric: part[place] for metric, part in parts.items()} for place, name in enumerate(maps)}
