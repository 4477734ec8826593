"""Localisation: does a map of the true class point into the radiologist's boxes?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from radgaze.evaluation.audit.aspects.aspect import Aspect, Measurement, Panel, register
from radgaze.evaluation.audit.aspects.audited_maps import AuditedMaps
from radgaze.evaluation.metrics import localisation
from radgaze.evaluation.metrics.metric import Metric


@register
class Localisation(Aspect):
    name = "localisation"
    question = "Does it point into the radiologist's boxes and masks?"
    metrics: ClassVar[Mapping[str, Metric]] = {**localisation.METRICS}
    headline = "energy_inside"
    panel = Panel("Boxes: {metric}")
    of_baselines = True
    blurs = True
    done = "points into the boxes"
    column = "boxes"

    def unsupported(self, audited: AuditedMaps) -> str | None:
        return None if any(batch.boxed.any() for batch in audited.batches) else "no case has boxes or masks"

    def measure(self, audited: AuditedMaps) -> Measurement:
        measured = []
        for batch in audited.batches:
            if batch.boxed.any():
                P = audited.smooth(batch, audited.of_truth(batch))
                figures = localisation.measure_localisation(P, batch.boxes, regions=batch.regions)
                boxed = list(np.array(batch.case_ids)[batch.boxed])
                measured.append((boxed, {name: figure[batch.boxed] for name, figure in figures.items()}))
        return Measurement(measured)
