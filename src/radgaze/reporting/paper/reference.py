"""Published figures, for comparison with ours; only figures that were taken from their original source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from radgaze.evaluation.results import MACRO

CLASSES = ("Normal", "CHF", "pneumonia")
UNKNOWN = "not known here"


@dataclass(frozen=True)
class Published:
    """A published AUC.

    Attributes:
        value: The AUC.
        low: Lower end of its 95% interval; None where none was published.
        high: Upper end of its 95% interval.
    """

    value: float
    low: float | None = None
    high: float | None = None


# The mean over the baseline's classes is .873, not .872. Since a published mean need not be the mean of the
# published classes, no figure is computed from others, and that of the best method for Normal is unknown.
FIGURES: dict[str, dict[str, Published]] = {
    # Karargyris et al. 2021 (egd-cxr), the split of seed 42.
    "temporal_image_only": {
        MACRO: Published(0.753),
        "Normal": Published(0.813),
        "CHF": Published(0.821),
        "pneumonia": Published(0.625),
    },
    "temporal": {
        MACRO: Published(0.807),
        "Normal": Published(0.894),
        "CHF": Published(0.846),
        "pneumonia": Published(0.681),
    },
    # The U-Net with static gaze, on another split (80/10/10).
    "baseline": {
        MACRO: Published(0.872),
        "Normal": Published(0.923),
        "CHF": Published(0.916),
        "pneumonia": Published(0.781),
    },
    # Watanabe et al. 2022, doi 10.3389/fradi.2022.991683: "the best method" of the abstract, split 80/10/10.
    # The tables of the article were not available.
    "set3_guided": {
        MACRO: Published(0.913, 0.860, 0.966),
        "CHF": Published(0.962, 0.933, 0.989),
        "pneumonia": Published(0.859, 0.732, 0.957),
    },
}


def published(experiment: str, group: str) -> Published | None:
    """Return the published AUC of a class or of the mean (`MACRO`); None where it is unknown."""
    return FIGURES.get(experiment, {}).get(group)


def comparable(classes: Sequence[str]) -> bool:
    """Return whether the classes are those of the published figures."""
    return set(classes) == set(CLASSES)
