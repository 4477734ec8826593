"""The seed's case figure: radiograph, heatmap and Grad-CAM over it, gaze, mask; one scale for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from radgaze.reporting.fonts import families
from radgaze.reporting.style import HEAT, INK, MUTED, canvas, styled

DPI = 160  # at which a panel's pixels are the figure's
HEIGHT = 336  # pixels of a drawn panel: sharp on a dense screen at the size the report shows it
CONTOUR = (86, 180, 233)  # Okabe & Ito's sky blue: neither a grey of the radiograph nor a colour of the map
OPACITY = 0.72  # of the map where it is 1; bones and vessels stay visible beneath


@dataclass(frozen=True)
class Case:
    """What is drawn of one case. All maps are (H, W) in [0, 1] and lie on the image pixel by pixel.

    `aspect` is width over height of the original radiograph: images squeezed to a square for the model are
    drawn in their own shape again. `gaze`, `mask` and `grad_cam` are None where there is none; `attention`
    names what `gaze` shows, which may be the boxes or masks of a case without gaze. `truth` and `predicted`
    may name several classes; `probability` is that of the class `most_probable`.
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
    attention: str = "Gaze"
    most_probable: str = ""

    @property
    def correct(self) -> bool:
        """Whether what is predicted is what is true."""
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


def attention(*, looked: bool, boxes: bool) -> str:
    """What the map of a case's attention is of: gaze, or the boxes or masks that stand in for it."""
    return "Gaze" if looked else "Boxes" if boxes else "Masks"


def gaze_of(case: Case) -> Panel:
    """Gaze over the radiograph."""
    return over(case, case.gaze, case.attention, "no gaze recorded", outlined=False)


def maps_of_model(case: Case, generator: str, *, mask: bool, gaze: bool = False) -> list[Panel]:
    """Heatmap, Grad-CAM, gaze if asked for, and mask."""
    row = [over(case, case.heatmap, generator, "not computed")]
    if generator != "Grad-CAM":
        row.append(over(case, case.grad_cam, "Grad-CAM", "not computed"))
    if gaze:
        row.append(gaze_of(case))
    if mask:
        row.append(over(case, case.mask, "Mask", "no decoder"))
    return row


def mosaic(rows: Sequence[tuple[str, Sequence[Panel]]]) -> Figure:
    """Rows of panels, each with a label at its left, and one scale for all: the picture for a paper."""
    words = "share of the map's largest value;\nblue line: gaze, or boxes, at half the maximum"
    labels = [_extent(label) for label, _ in rows]
    picture, places = _arranged([row for _, row in rows], [round(height) for _, height in labels])
    tall, wide = picture.shape[:2]
    left = max(190, round(max((width for width, _ in labels), default=0)) + 20)  # for labels
    foot = 110  # for the scale
    scale_width = min(360, wide / 2)
    # A sheet of one map a row is narrower than what is said of the scale.
    width = max(wide + left, round(left + scale_width + 30 + _extent(words)[0] + 10))
    height = tall + foot
    with styled():
        figure = canvas(width / DPI, height / DPI)
        figure.set_layout_engine("none")
        figure.set_dpi(DPI)
        figure.figimage(picture, left, foot, origin="upper")  # pixel by pixel, nothing resampled
        for (label, row), at in zip(rows, places, strict=True):
            if row:
                _write(figure, 10, height - at[0][1] - HEIGHT / 2, label, va="center")
            for panel, (x, y) in zip(row, at, strict=True):
                note = f" ({panel.note})" if panel.note and panel.pixels is not None else ""
                _write(figure, left + x, height - y + 10, panel.title + note, ha="center")
                if panel.pixels is None:
                    _write(figure, left + x, height - y - HEIGHT / 2, panel.note, ha="center", color=MUTED)
        bar = figure.add_axes((left / width, 62 / height, scale_width / width, 16 / height))
        scale = ScalarMappable(Normalize(0, 1), HEAT)
        figure.colorbar(scale, cax=bar, orientation="horizontal", ticks=[0, 0.5, 1])
        bar.tick_params(labelsize=8)
        _write(figure, left + scale_width + 30, 62, words, va="center")
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
    laid: NDArray[np.uint8] = np.round(mixed).astype(np.uint8)
    return laid


def over(
    case: Case, values: NDArray[np.floating] | None, title: str, absent: str, *, outlined: bool = True
) -> Panel:
    """A map over the radiograph, as a share of its own largest value.

    Args:
        case: The radiograph, and the gaze whose outline is drawn.
        values: (H, W) the map, or None.
        title: What it is called.
        absent: What is said in its place.
        outlined: Whether the gaze's outline is drawn.
    """
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
    resized = np.asarray(picture.resize((width, HEIGHT), Image.Resampling.BICUBIC))
    clipped: NDArray[np.floating] = np.clip(resized, 0, None)
    return clipped


def _write(figure: Figure, x: float, y: float, words: str, *, color: str = INK, **where: Any) -> None:
    """Text at (x, y) pixels from the lower left."""
    width, height = figure.get_size_inches() * DPI
    figure.text(x / width, y / height, words, fontsize=8, color=color, family=families(words), **where)


def _extent(words: str) -> tuple[float, float]:
    """Width and height of text as `_write` sets it, in pixels."""
    with styled():
        figure = canvas(1, 1)
        figure.set_dpi(DPI)
        box = figure.text(0, 0, words, fontsize=8, family=families(words)).get_window_extent()
    return float(box.width), float(box.height)


def _arranged(
    rows: Sequence[Sequence[Panel]], labels: Sequence[int]
) -> tuple[NDArray[np.uint8], list[list[tuple[float, float]]]]:
    """All panels in one (H, W, 3) picture on white, and where each one's top centre (x, y) lies.

    A row is as high as its panels, or as its label (in pixels) where that is higher.
    """
    widths = [panel.pixels.shape[1] for row in rows for panel in row if panel.pixels is not None]
    column = max(widths, default=HEIGHT)
    columns = max((len(row) for row in rows), default=1)
    pitch = column + 12
    heights = [max(HEIGHT, height) + 48 for height in labels] or [HEIGHT + 48]
    picture = np.full((sum(heights), columns * pitch, 3), 255, dtype=np.uint8)
    places = []
    for i, row in enumerate(rows):
        top = sum(heights[:i]) + 40 + (heights[i] - HEIGHT - 48) // 2
        places.append([(j * pitch + column / 2, float(top)) for j in range(len(row))])
        for j, panel in enumerate(row):
            if panel.pixels is not None:
                start = j * pitch + (column - panel.pixels.shape[1]) // 2
                picture[top : top + HEIGHT, start : start + panel.pixels.shape[1]] = panel.pixels
    return picture, places
