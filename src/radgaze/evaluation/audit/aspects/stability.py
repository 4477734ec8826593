"""Stability: does a map stay when the image hardly changes?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from radgaze.evaluation.audit.aspects.aspect import Aspect, Measured, Panel, register
from radgaze.evaluation.audit.aspects.subject import Figures, Subject, explained, floats
from radgaze.evaluation.audit.sampling import Lot
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

    def measure(self, subject: Subject) -> Measured:
        return Measured([(lot.case_ids, _figures(subject, lot)) for lot in subject.probed])

    def how(self, settings: Mapping[str, Any]) -> str:
        return (
            f"Stability: noise of σ {settings['noise']:.2f} in units of the image's range, "
            f"{settings['draws']} times; shifts by {settings['shift']:.0%} of the side."
        )


def _figures(subject: Subject, lot: Lot) -> Figures:
    maps, effort = subject.maps_of(lot), subject.effort

    def again(images: Tensor) -> Tensor:
        return maps if images is lot.images else explained(subject.required.explain, lot, images)

    pixels = max(1, round(effort.shift * lot.images.shape[-1]))
    noisy = robustness.under_noise(
        again, lot.images, noise=effort.noise, samples=effort.draws, seed=effort.seed
    )
    shifted = robustness.under_shifts(again, lot.images, pixels=pixels)
    return {"under_noise": floats(noisy), "under_shifts": floats(shifted)}
