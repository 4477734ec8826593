"""Section of the limits of the figures."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.reporting.attention import told_of
from radgaze.reporting.sections.section import EvaluatedRun, Section, register
from radgaze.reporting.wording import bounds, count, number
from radgaze.runs.requirements import uses_gaze

NO_CONTROL = (
    "It used gaze. How much of its results is owed to the gaze on each case, and how much to any map of "
    "where to look, can only be said beside a control: the same run with "
)
CONTROL = "the setting gaze.control."
AGREEMENT = {
    "gaze": "Agreement with gaze says where a map is bright, not why the classifier decided. One "
    "radiologist's gaze is one way of reading, not the truth.",
    "boxes": "A map inside a box says where it is bright, not why the classifier decided.",
    "masks": "A map inside a mask says where it is bright, not why the classifier decided.",
}


@dataclass(frozen=True)
class Limits:
    """Content of the section.

    Attributes:
        sentences: The limits.
    """

    sentences: tuple[str, ...]


@register("limits", title="What these numbers do not say", order=80)
class LimitsSection(Section):
    """The limits of the figures."""

    def content(self, evaluated: EvaluatedRun) -> Limits:
        table, attention = evaluated.test, evaluated.store.attention
        sizes = {name: int(table[f"label_{name}"].sum()) for name in evaluated.run.classes}
        rarest = min(sizes, key=lambda name: sizes[name])
        _, low, high = bounds(evaluated.results.test.auc.get(rarest))
        precision = "its AUC has no interval."
        if low is not None and high is not None:
            precision = f"the interval of its AUC is about ±{number((high - low) / 2, 2)}."
        gaze: tuple[str, ...] = ()
        if uses_gaze(evaluated.run.config) and evaluated.run.config.gaze.control == "none":
            gaze = (told_of(NO_CONTROL, attention) + CONTROL,)
        patients = count(table["patient"].n_unique(), "patient")
        return Limits(
            (
                f"The test set holds {count(table.height, 'case')} of {patients}. The rarest class, "
                f"{rarest}, has {count(sizes[rarest], 'case')}; {precision}",
                "The intervals cover the choice of test patients. They do not cover another random start of "
                "the training, another split, another hospital or another reader.",
                AGREEMENT[attention],
                "A heatmap can look right and depend little on what the model learned. Compare it with the "
                "floors.",
                *gaze,
            )
        )
