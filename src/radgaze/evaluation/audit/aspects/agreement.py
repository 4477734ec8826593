"""Agreement: does a map point where the radiologist looked?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from radgaze.evaluation.audit.aspects.aspect import Aspect, Measured, Panel, register
from radgaze.evaluation.audit.aspects.subject import Figures, Floats, Subject
from radgaze.evaluation.audit.sampling import Gaze, Subjects
from radgaze.evaluation.metrics import agreement
from radgaze.evaluation.metrics.metric import Metric


@register
class Agreement(Aspect):
    name = "agreement"
    question = "Does it point where the radiologist looked?"
    metrics: ClassVar[Mapping[str, Metric]] = {
        **agreement.METRICS,
        "shuffled_cc": Metric(
            title="shuffled CC",
            words="CC with this case's gaze beyond that with other cases' gaze.",
            chance=0.0,
        ),
        "information_gain": Metric(
            title="information gain",
            words="Bits per fixation by which the map foretells the gaze better than the mean gaze of the "
            "training cases does.",
            chance=0.0,
        ),
    }
    headline = "nss"
    panel = Panel("Gaze: {metric}")
    of_baselines = True
    blurs = True
    done = "points where the radiologist looked"
    column = "gaze"
    limits = (
        "Agreement with gaze says where a map is bright, not why the classifier decided. A faithful map may "
        "rightly disagree with the radiologist: the model may look elsewhere.",
    )

    def measure(self, subject: Subject) -> Measured:
        return Measured(
            [
                (
                    lot.case_ids,
                    of_gaze(subject.smooth(lot, subject.maps_of(lot)), lot.gaze, subject.cases),
                )
                for lot in subject.lots
            ]
        )


def of_gaze(P: Floats, gaze: Gaze, everyone: Subjects, besides: Gaze | None = None) -> Figures:
    """Every metric of agreement of smooth maps P (B, S, S), NaN for a case without gaze.

    Args:
        P: Maps.
        gaze: The gaze on their cases.
        everyone: All cases, whose other gaze is that of other cases.
        besides: More gaze on the same cases, which is not other cases' gaze either.
    """
    seen = [gaze] if besides is None else [gaze, besides]
    others = everyone.fixations - sum(g.fixations for g in seen)
    # Two readers' maps, each 1 at its highest, add up to more than the map of both: not below zero.
    other_gaze = np.maximum(everyone.gaze - sum(g.maps for g in seen), 0)
    Q, F = gaze.maps, gaze.fixations
    figures = agreement.agreement(P, Q, F, others)
    figures["shuffled_cc"] = agreement.shuffled_cc(P, Q, other_gaze)
    if everyone.mean_gaze is not None:
        prior = np.broadcast_to(everyone.mean_gaze, P.shape)
        figures["information_gain"] = agreement.information_gain(P, F, prior)
    return {name: np.where(gaze.there, figure, np.nan) for name, figure in figures.items()}
