"""Options of the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from radgaze.options import FieldError, Options, option
from radgaze.simulation.kinds import strengths

if TYPE_CHECKING:
    from radgaze.simulation.readers import Readers

QUALITY = ("search_only", "tracking_offset", "glances", "duration_noise")
"""Options that override a quality of the readers."""


@dataclass(frozen=True)
class SimulationOptions(Options):
    """Options of the simulation of a data set.

    Attributes:
        out: Folder to write, new or empty.
        patients: Number of patients.
        seed: Random seed; the same seed gives the same bytes, whatever the number of workers.
        pixels: Long side of the images, in pixels; real ones have about 3056.
        confounding: Probability, 0 to 1, that a case of a training or validation patient has the burnt-in
            marker of its class; markers of test patients are independent of the class. The marker of each
            class is always at the same place.
        confounder: A confounder and the probability, 0 to 1, that a case of a training or validation patient
            has the variant of its class: marker (burnt in outside the lungs, at a place that varies), device
            (clips, lead or port over lung or heart, at a place that varies), border (collimation, frame or
            bars) or detector (processing of the whole image). It may be given several times. Without the
            kind marker, images have the marker of `confounding`.
        readers: Quality of the gaze: ideal (never on the marker, always on the abnormality), typical (near
            published figures) or poor; without it ideal, or typical where `confounder` is given.
        search_only: Share of the readings of abnormal images that search but never dwell on the abnormality,
            in place of that of `readers`.
        tracking_offset: Mean distance by which the gaze of a reading is shifted, in degrees, in place of that
            of `readers`.
        glances: Mean number of glances at the marker and at the device, in place of that of `readers`.
        duration_noise: Standard deviation of the logarithm of a factor on each duration, in place of that of
            `readers`.
        test_patients: Number of test patients; without it those of `patients`, about a tenth. Further
            patients are added, and the others stay as they are.
        twins: Also render each test image without the confounder and with that of each other class.
        workers: Number of processes; without it one for each processor.
        reflacx: Also write OUT/reflacx, dictated readings of the same images in the layout of REFLACX 1.0.0,
            and OUT/truth_reflacx.csv, the fixations that belong to each finding.
        two_studies: Share of the patients with two studies.
        faults: Whether cases to reject are planted (missing images, duplicate rows, …).
    """

    out: str | Path = option(positional=True)
    patients: int = option(400, at_least=6)  # for three classes and three splits
    seed: int = option(7, at_least=0, at_most=2**32 - 1)
    pixels: int = option(1024, at_least=64)  # to draw a chest
    confounding: float = option(0.0, at_least=0, at_most=1)
    confounder: Sequence[str] = option((), repeated=True, metavar="KIND=STRENGTH")
    readers: Literal["ideal", "typical", "poor"] | None = None
    search_only: float | None = option(None, at_least=0, at_most=1)
    tracking_offset: float | None = option(None, at_least=0, at_most=10)
    glances: float | None = option(None, at_least=0, at_most=50)
    duration_noise: float | None = option(None, at_least=0, at_most=2)
    test_patients: int | None = option(None, at_least=1)
    twins: bool = False
    workers: int | None = option(None, at_least=1)
    reflacx: bool = False
    two_studies: float = option(0.07, at_least=0, at_most=1, hidden=True)
    faults: bool = option(True, hidden=True)

    def __post_init__(self) -> None:
        """Check the confounders.

        Raises:
            FieldError: A confounder is malformed, or the marker is given in two ways.
        """
        super().__post_init__()
        if "marker" in self.strengths and self.confounding:
            raise FieldError(
                "confounding", "cannot be given with `confounder=marker=...`: there is one marker"
            )

    @property
    def strengths(self) -> dict[str, float]:
        """Strength of each kind in `confounder`."""
        return strengths(self.confounder)

    @property
    def quality(self) -> Readers:
        """Quality of the gaze, from `readers` and the options that override it."""
        from radgaze.simulation.readers import PRESETS

        name = self.readers or ("typical" if self.confounder else "ideal")
        given = {each: getattr(self, each) for each in QUALITY}
        changed = {each: value for each, value in given.items() if value is not None}
        quality = replace(PRESETS[name], **changed)
        return replace(quality, avoids_marker=False) if quality.glances else quality
