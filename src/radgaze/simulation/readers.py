"""Quality of simulated gaze: what real readers and trackers do that an ideal reading lacks.

Sources of the figures of `TYPICAL`:

- `search_only` .12: radiologists left 41% of lung nodules unreported; in a minority of these the nodule had
  not been looked at (Manning, Ethell and Donovan, Proc. SPIE 5372, 2004, doi:10.1117/12.533489). The minority
  is taken as 30%, the share usually cited from Kundel, Nodine and Carmody (Investigative Radiology 13, 1978),
  so that .41 · .30 = .12 of the readings of an abnormal image never dwell on it.
- `tracking_offset` 1.0°: median accuracy of a remote tracker that clinicians used over a month without fixed
  position (doi:10.1109/TCYB.2018.2866274; its precision was .16°).
- `glances` .5 and `duration_noise` .25: no figure was found; both are this project's choice. A tracker of 60
  Hz alone adds about 3 ms (Brand et al., Behavior Research Methods 53, 2021, doi:10.3758/s13428-020-01504-2),
  so that the noise stands for differences between readers.

`POOR` has about twice as much of each, which is this project's choice too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from radgaze.simulation.gaze import PIXELS_PER_DEGREE, SCREEN, Pads, Scan

Box = tuple[float, float, float, float]

GLANCE = 0.2
"""Median duration of a glance, in seconds; dwelling fixations last longer."""


@dataclass(frozen=True)
class Readers:
    """Quality of simulated gaze.

    Attributes:
        search_only: Share of the readings that search, but never dwell on the abnormality.
        tracking_offset: Mean distance by which the gaze of a whole reading is shifted, in degrees.
        glances: Mean number of glances at each confounder that has a place.
        duration_noise: Standard deviation of the logarithm of a factor on each duration.
        avoids_marker: Whether fixations near the burnt-in marker are left out.
    """

    search_only: float = 0.0
    tracking_offset: float = 0.0
    glances: float = 0.0
    duration_noise: float = 0.0
    avoids_marker: bool = False


IDEAL = Readers(avoids_marker=True)
TYPICAL = Readers(search_only=0.12, tracking_offset=1.0, glances=0.5, duration_noise=0.25)
POOR = Readers(search_only=0.25, tracking_offset=2.0, glances=1.0, duration_noise=0.5)
PRESETS = {"ideal": IDEAL, "typical": TYPICAL, "poor": POOR}


def as_recorded(
    scan: Scan, readers: Readers, confounders: Sequence[Box], pads: Pads, rng: np.random.Generator
) -> Scan:
    """Add glances at confounders, a tracking offset and duration noise to a reading.

    Args:
        scan: The reading.
        readers: Quality of the gaze.
        confounders: Boxes (x1, y1, x2, y2) of the confounders on the image, in pixels.
        pads: Borders of the picture on the screen.
        rng: Random generator of the quality, apart from that of the reading.
    """
    for box in confounders:
        scan = _with_glances(scan, box, int(rng.poisson(readers.glances)), pads, rng)
    # The distance of a two-dimensional Gaussian has the mean σ·√(π/2).
    sigma = readers.tracking_offset / np.sqrt(np.pi / 2) * PIXELS_PER_DEGREE
    dx, dy = rng.normal(0, 1, 2) * sigma
    factor = np.exp(rng.normal(0, 1, len(scan.x)) * readers.duration_noise)
    return replace(
        scan,
        x=scan.x + dx / SCREEN[0],
        y=scan.y + dy / SCREEN[1],
        duration=np.clip(scan.duration * factor, 0.07, 2.2),
    )


def _with_glances(scan: Scan, box: Box, count: int, pads: Pads, rng: np.random.Generator) -> Scan:
    """The reading with some short fixations inside a box, each at a random time of the reading."""
    x1, y1, x2, y2 = box
    places = rng.integers(0, len(scan.x) + 1, count)
    share_x, share_y = rng.uniform(0.1, 0.9, (2, count))
    x, y = pads.to_screen(x1 + share_x * (x2 - x1), y1 + share_y * (y2 - y1))
    duration = np.clip(rng.lognormal(np.log(GLANCE), 0.3, count), 0.07, 2.2)
    saccade = rng.uniform(0.018, 0.07, count)
    new = {"x": x, "y": y, "duration": duration, "saccade": saccade}
    return Scan(**{name: np.insert(getattr(scan, name), places, values) for name, values in new.items()})
