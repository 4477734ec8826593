"""Localisation: does a map of the true class point into the radiologist's boxes?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from radgaze.evaluation.audit.aspects.aspect import Aspect, Measured, Panel, register
from radgaze.evaluation.audit.aspects.subject import Subject
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

    def unsupported(self, subject: Subject) -> str | None:
        return None if any(lot.boxed.any() for lot in subject.lots) else "no case has boxes or masks"

    def measure(self, subject: Subject) -> Measured:
        found = []
        for lot in subject.lots:
            if lot.boxed.any():
                P = subject.smooth(lot, subject.of_truth(lot))
                figures = localisation.localisation(P, lot.boxes, regions=lot.regions)
                boxed = list(np.array(lot.case_ids)[lot.boxed])
                found.append((boxed, {name: figure[lot.boxed] for name, figure in figures.items()}))
        return Measured(found)
