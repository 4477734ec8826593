"""Options of the simulator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from radgaze.options import Options, option


@dataclass(frozen=True)
class SimulationOptions(Options):
    """Options of the simulation of a data set.

    Attributes:
        out: Folder to write, new or empty.
        patients: Number of patients.
        seed: Random seed; the same seed gives the same bytes, whatever the number of workers.
        pixels: Long side of the images, in pixels; real ones have about 3056.
        confounding: Probability, 0 to 1, that a case of a training or validation patient has the burnt-in
            marker of its class; markers of test patients are independent of the class.
        workers: Number of processes; without it one for each processor.
        reflacx: Also write OUT/reflacx, dictated readings of the same images in the layout of phase 3 of
            REFLACX 1.0.0, and OUT/truth_reflacx.csv, the fixations that belong to each finding. The command
            that prepares them is printed at the end.
        two_studies: Share of the patients with two studies.
        faults: Whether cases to reject are planted (missing images, duplicate rows, …).
    """

    out: str | Path = option(positional=True)
    patients: int = option(400, at_least=6)  # for three classes and three splits
    seed: int = option(7, at_least=0, at_most=2**32 - 1)
    pixels: int = option(1024, at_least=64)  # to draw a chest
    confounding: float = option(0.0, at_least=0, at_most=1)
    workers: int | None = option(None, at_least=1)
    reflacx: bool = False
    two_studies: float = option(0.07, at_least=0, at_most=1, hidden=True)
    faults: bool = option(True, hidden=True)
