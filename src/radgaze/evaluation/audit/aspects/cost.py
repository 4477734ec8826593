"""Cost: how long does a map take?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from radgaze.evaluation.audit.aspects.aspect import Aspect, Measurement, Panel, register
from radgaze.evaluation.audit.aspects.audited_maps import AuditedMaps
from radgaze.evaluation.metrics.metric import Metric


@register
class Cost(Aspect):
    name = "cost"
    question = "What does it cost?"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "images_per_second": Metric(title="images per second", words="Maps made in a second."),
        "forward_passes": Metric(
            title="forward passes",
            words="Time of a map, as a multiple of the time of the class scores alone, measured beside it.",
            higher_is_better=False,
        ),
    }
    headline = "forward_passes"
    panel = Panel("Cost: {metric}", is_factor=True)
    per_case = False

    def measure(self, audited: AuditedMaps) -> Measurement:
        times = audited.required
        return Measurement(
            overall={
                "images_per_second": 1 / times.map_seconds,
                "forward_passes": times.map_seconds / times.pass_seconds,
            }
        )
