"""An aspect with a figure of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from radgaze.evaluation.audit.aspects.aspect import (
    Aspect,
    AspectFigure,
    Curve,
    Measurement,
    Panel,
    register,
)
from radgaze.evaluation.audit.aspects.audited_maps import AuditedMaps
from radgaze.evaluation.audit.results import MethodResults
from radgaze.evaluation.metrics.metric import Metric


class Level(AspectFigure):
    """The mean of the maps, as a level line."""

    alternative = "Mean brightness, the same at both ends"
    caption = "The line has no slope."
    x_title = "end"
    y_title = "mean brightness"
    y_limits = (0.0, 1.0)
    ticks_title = "Ends"

    def curves(self, method: MethodResults) -> list[Curve]:
        mean = method.figures["brightness"]["mean_brightness"].value
        return [Curve("mean", [1, 2], [mean, mean], 0, "o", "-", 4)]

    def ticks(self, method: MethodResults) -> list[str]:
        return ["left end", "right end"]


@register
class Brightness(Aspect):
    name = "brightness"
    question = "Is it bright?"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "mean_brightness": Metric(title="mean brightness", words="Mean of the map.", bounds=(0.0, 1.0))
    }
    headline = "mean_brightness"
    panel = Panel("Brightness: {metric}")
    of_baselines = True
    done = "is bright"
    column = "brightness"
    figure = Level()

    def measure(self, audited: AuditedMaps) -> Measurement:
        return Measurement(
            [
                (
                    batch.case_ids,
                    {"mean_brightness": audited.maps_of(batch).double().mean((1, 2, 3)).cpu().numpy()},
                )
                for batch in audited.batches
            ]
        )
