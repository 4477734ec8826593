"""The seed's case figure: radiograph, heatmap and Grad-CAM over it, gaze, mask; one scale for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from radgaze.reporting.style import HEAT, INK, MUTED, canvas, styled

HEIGHT = 336  # pixels of a drawn panel: sharp on a dense screen at the size the report shows it
CONTOUR = (86, 180, 233)  # Okabe & Ito's sky blue: neither a grey of the radiograph nor a colour of the map
OPACITY = 0.72  # of the map where it is 1; bones and vessels stay visible beneath


@dataclass(frozen=True)
class Case:
    """What is drawn of one case. All maps are (H, W) in [0, 1] and lie on the image pixel by pixel.

    `aspect` is width over height of the original radiograph: images squeezed to a square for the model are
    drawn in their own shape again. `gaze`, `mask` and `grad_cam` are None where there is none.
    """

    case_id: str
    image: NDArray[np.floating]
    heatmap: NDArray[np.floating] | None
    grad_cam: NDArray[np.floating] | None
    gaze: NDArray[np.floating] | None
    mask: NDArray[np.floating] | None
    truth: str
    predicted: str
    probability: float
    aspect: float = 1.0

    @property
    def correct(self) -> bool:
        """Whether the class with the highest probability is the true one."""
        return self.truth == self.predicted

    @cached_property
    def grey(self) -> NDArray[np.uint8]:
        """(h, w, 3) the radiograph as it is drawn."""
        drawn = np.round(255 * np.clip(_resize(self.image, self.aspect), 0, 1)).astype(np.uint8)
        return np.repeat(drawn[..., None], 3, axis=2)

    @cached_property
    def outline(self) -> NDArray[np.bool_] | None:
        """(h, w) the line around the pixels where gaze is at least half its maximum; None without gaze."""
        if self.gaze is None or not np.nanmax(self.gaze, initial=0) > 0:
            return None
        gaze = _resize(np.nan_to_num(self.gaze), self.aspect)
        inside = gaze >= 0.5 * gaze.max()
        return np.asarray(inside & ~binary_erosion(inside, iterations=2, border_value=1), dtype=np.bool_)


@dataclass(frozen=True)
class Panel:
    """One picture of a row: (height, width, 3) uint8, or None with the reason in `note`."""

    title: str
    pixels: NDArray[np.uint8] | None
    note: str = ""


def panels(case: Case, generator: str, *, mask: bool = True) -> list[Panel]:
    """The pictures of one case, left to right.

    Args:
        case: The case.
        generator: Name of the heatmap's generator, as a title.
        mask: Whether the run has a decoder; without one there is no mask panel at all.
    """
    return [radiograph(case), *maps_of_model(case, generator, mask=mask, gaze=True)]


def radiograph(case: Case) -> Panel:
    """The radiograph alone."""
    return Panel("Radiograph", case.grey)


def gaze_of(case: Case) -> Panel:
    """Gaze over the radiograph."""
    return _over(case, case.gaze, "Gaze", "no gaze recorded", outlined=False)


def maps_of_model(case: Case, generator: str, *, mask: bool, gaze: bool = False) -> list[Panel]:
    """Heatmap, Grad-CAM, gaze if asked for, and mask."""
    row = [_over(case, case.heatmap, generator, "not computed")]
    if generator != "Grad-CAM":
        row.append(_over(case, case.grad_cam, "Grad-CAM", "not computed"))
    if gaze:
        row.append(gaze_of(case))
    if mask:
        row.append(_over(case, case.mask, "Mask", "no decoder"))
    return row


def mosaic(rows: Sequence[tuple[str, Sequence[Panel]]]) -> Figure:
    """Rows of panels, each with a label at its left, and one scale for all: the picture for a paper."""
    columns = max((len(row) for _, row in rows), default=1)
    side, left, foot = 2.0, 1.15, 0.65
    heights = [
        side * max((p.pixels.shape[0] / p.pixels.shape[1] for p in row if p.pixels is not None), default=1)
        + 0.32
        for _, row in rows
    ] or [side]
    width, height = left + side * columns, sum(heights) + foot
    with styled():
        figure = canvas(width, height)
        figure.set_layout_engine("none")
        top = height
        for (label, row), tall in zip(rows, heights, strict=False):
            top -= tall
            figure.text(
                0.05 / width, (top + (tall - 0.27) / 2) / height, label, va="center", fontsize=8, color=INK
            )
            for place, panel in enumerate(row):
                box = (left + side * place + 0.03, top + 0.03, side - 0.06, tall - 0.32)
                at = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
                _draw(panel, figure.add_axes(at))
        bar = figure.add_axes((left / width, 0.42 / height, 2.4 / width, 0.1 / height))
        figure.colorbar(
            ScalarMappable(Normalize(0, 1), HEAT), cax=bar, orientation="horizontal", ticks=[0, 0.5, 1]
        )
        bar.tick_params(labelsize=8)
        figure.text(
            (left + 2.6) / width,
            0.4 / height,
            "share of the map's largest value;\nblue line: gaze at half its maximum",
            fontsize=8,
            va="center",
        )
    return figure


def overlay(
    grey: NDArray[np.uint8], values: NDArray[np.floating], outline: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """A map laid over a radiograph, the more opaque the larger it is.

    Args:
        grey: (h, w, 3) the radiograph.
        values: (h, w) the map in [0, 1].
        outline: (h, w) True where the gaze's outline is drawn on top; None for none.
    """
    alpha = (OPACITY * np.clip(values, 0, 1) ** 0.75)[..., None]
    mixed = (1 - alpha) * grey + alpha * 255 * HEAT(values)[..., :3]
    if outline is not None:
        mixed[outline] = CONTOUR
    return np.round(mixed).astype(np.uint8)


def _over(
    case: Case, values: NDArray[np.floating] | None, title: str, absent: str, *, outlined: bool = True
) -> Panel:
    if values is None:
        return Panel(title, None, absent)
    top = float(np.nanmax(values, initial=0))
    if not np.isfinite(top) or top <= 0:
        return Panel(title, case.grey, "zero everywhere")
    scaled = _resize(np.nan_to_num(values) / top, case.aspect)
    # Heatmaps and gaze have 1 as their largest value anyway; a mask is a probability, and its height tells.
    note = f"largest {top:.2f}" if title == "Mask" else ""
    return Panel(title, overlay(case.grey, scaled, case.outline if outlined else None), note)


def _resize(values: NDArray[np.floating], aspect: float) -> NDArray[np.floating]:
    """(H, W) brought to the drawn height and the radiograph's own shape."""
    width = round(HEIGHT * float(np.clip(aspect, 0.5, 2.0)))
    picture = Image.fromarray(np.asarray(values, dtype=np.float32))
    return np.clip(np.asarray(picture.resize((width, HEIGHT), Image.Resampling.BICUBIC)), 0, None)


def _draw(panel: Panel, axis: Axes) -> None:
    axis.set_axis_off()
    axis.set_title(panel.title, fontsize=8.5, loc="center", weight="normal", pad=3)
    if panel.pixels is None:
        axis.text(
            0.5, 0.5, panel.note, ha="center", va="center", color=MUTED, transform=axis.transAxes, fontsize=8
        )
        return
    axis.imshow(panel.pixels, interpolation="nearest")
    if panel.note:
        axis.set_title(f"{panel.title} ({panel.note})", fontsize=8, loc="center", weight="normal", pad=3)
