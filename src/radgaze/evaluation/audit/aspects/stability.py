"""Stability: does a map stay the same when the image hardly changes?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from radgaze.evaluation.audit.aspects.aspect import Aspect, Measurement, Panel, register
from radgaze.evaluation.audit.aspects.audited_maps import AuditedMaps, Figures, explained, floats
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
    maps, options = audited.maps_of(batch), audited.options

    def again(images: Tensor) -> Tensor:
        return maps if images is batch.images else explained(audited.required.explain, batch, images)

    pixels = max(1, round(options.shift * batch.images.shape[-1]))
    noisy = robustness.under_noise(
        again, batch.images, noise=options.noise, samples=options.draws, seed=options.seed
    )
    shifted = robustness.under_shifts(again, batch.images, pixels=pixels)
    return {"under_noise": floats(noisy), "under_shifts": floats(shifted)}
