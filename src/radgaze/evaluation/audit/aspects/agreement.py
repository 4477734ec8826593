"""Agreement: does a map point where the radiologist looked?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from radgaze.evaluation.audit.aspects.aspect import Aspect, Measurement, Panel, register
from radgaze.evaluation.audit.aspects.audited_maps import AuditedMaps, Figures, Floats
from radgaze.evaluation.audit.sampling import AuditCases, CaseGaze
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
            words="CC with this case's gaze minus CC with other cases' gaze.",
            chance=0.0,
        ),
        "information_gain": Metric(
            title="information gain",
            words="Bits per fixation by which the map predicts the gaze better than the mean gaze of the "
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

    def measure(self, audited: AuditedMaps) -> Measurement:
        return Measurement(
            [
                (
                    batch.case_ids,
                    agreement_with_gaze(
                        audited.smooth(batch, audited.maps_of(batch)), batch.gaze, audited.cases
                    ),
                )
                for batch in audited.batches
            ]
        )


def agreement_with_gaze(
    P: Floats, gaze: CaseGaze, cases: AuditCases, same_cases: CaseGaze | None = None
) -> Figures:
    """Measure every metric of agreement; NaN for a case without gaze.

    Args:
        P: Blurred maps of shape (B, S, S).
        gaze: Gaze on their cases.
        cases: All cases, from which the gaze on other cases is computed.
        same_cases: Further gaze on the same cases, which is excluded from the gaze on other cases; None for
            none.

    Returns:
        Figures of shape (B,) by metric; without "information_gain" where no training case has gaze.
    """
    excluded = [gaze] if same_cases is None else [gaze, same_cases]
    other_fixations = cases.fixations - sum(each.fixations for each in excluded)
    # Each reader's map has the maximum 1: two of them can sum to more than the map of both.
    other_gaze = np.maximum(cases.gaze - sum(each.maps for each in excluded), 0)
    Q, F = gaze.maps, gaze.fixations
    figures = agreement.measure_agreement(P, Q, F, other_fixations)
    figures["shuffled_cc"] = agreement.shuffled_cc(P, Q, other_gaze)
    if cases.mean_gaze is not None:
        prior = np.broadcast_to(cases.mean_gaze, P.shape)
        figures["information_gain"] = agreement.information_gain(P, F, prior)
    return {name: np.where(gaze.present, figure, np.nan) for name, figure in figures.items()}
