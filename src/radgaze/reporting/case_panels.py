"""Panels of a case: the radiograph, and heatmap, Grad-CAM, gaze and mask overlaid on it, on one scale.

A panel is drawn twice: for the sheets of figures at one height, and for pages in layers, at the resolution at
which the store has the radiograph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from radgaze.reporting.fonts import families
from radgaze.reporting.layers import Layers, overlay
from radgaze.reporting.style import DPI, HEAT, INK, MUTED, ShownFigure, canvas, styled

HEIGHT = 336
"""Height of a drawn panel in pixels, which is sharp on a high-resolution screen at the size of the report."""
MOST = 1024
"""Largest height of a panel on a page, in pixels."""


@dataclass(frozen=True)
class Case:
    """One case with its maps, all of which are (H, W) in [0, 1] and aligned with the image.

    Attributes:
        case_id: Id of the case.
        image: The radiograph, (H, W) in [0, 1].
        heatmap: The heatmap; like the other maps None where there is none.
        grad_cam: The Grad-CAM heatmap.
        gaze: The gaze map, or the map of the boxes or masks of a case without gaze.
        mask: The decoder's mask.
        truth: Name of the true class, or of several.
        predicted: Name of the predicted class, or of several.
        probability: Probability of the most probable class.
        aspect: Width divided by height of the original radiograph, in whose shape images that were stretched
            to a square for the model are drawn.
        attention: Content of `gaze`: "Gaze", "Boxes" or "Masks".
        most_probable: The most probable class.
        scan: The radiograph as the store has it, (h, w) uint8: the part that `image` shows, in its own shape;
            None to draw `image` in its place.
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
    scan: NDArray[np.uint8] | None = None

    @property
    def correct(self) -> bool:
        """Whether the prediction is the truth."""
        return self.truth == self.predicted

    @cached_property
    def grey(self) -> NDArray[np.uint8]:
        """The radiograph at the height of figures, (h, w, 3)."""
        return np.repeat(self.radiograph(HEIGHT)[..., None], 3, axis=2)

    @cached_property
    def outline(self) -> NDArray[np.bool_] | None:
        """Outline of the gaze at the height of figures, (h, w), see `outline_at`."""
        return self.outline_at(HEIGHT)

    @cached_property
    def height(self) -> int:
        """Height in pixels of a panel on a page: that of the radiograph in the store."""
        return HEIGHT if self.scan is None else min(MOST, self.scan.shape[0])

    def radiograph(self, height: int) -> NDArray[np.uint8]:
        """Return the radiograph at a height in pixels, (h, w), from the store's where there is one."""
        if self.scan is None:
            drawn = np.clip(_resize(self.image, self.aspect, height), 0, 1)
            grey: NDArray[np.uint8] = np.round(255 * drawn).astype(np.uint8)
            return grey
        size = (_width(self.aspect, height), height)
        scan = Image.fromarray(np.asarray(self.scan))
        return np.array(scan if scan.size == size else scan.resize(size, Image.Resampling.LANCZOS))

    def outline_at(self, height: int) -> NDArray[np.bool_] | None:
        """Find the outline of the pixels where gaze is at least half its maximum, at a height in pixels.

        Returns:
            Whether a pixel is in the outline, (h, w); None without gaze.
        """
        if self.gaze is None or not np.nanmax(self.gaze, initial=0) > 0:
            return None
        gaze = _resize(np.nan_to_num(self.gaze), self.aspect, height)
        inside = gaze >= 0.5 * gaze.max()
        thickness = max(1, round(2 * height / HEIGHT))
        within = binary_erosion(inside, iterations=thickness, border_value=1)
        return np.asarray(inside & ~within, dtype=np.bool_)


@dataclass(frozen=True)
class Panel:
    """One picture of a row.

    Attributes:
        title: Title.
        pixels: Picture (height, width, 3) for figures; None where there is none, with the reason in `note`.
        note: Remark beside the title.
        layers: The picture for pages; None to show `pixels` there too.
    """

    title: str
    pixels: NDArray[np.uint8] | None
    note: str = ""
    layers: Layers | None = None


def panels(case: Case, generator: str, *, mask: bool = True) -> list[Panel]:
    """Make the pictures of one case, from left to right.

    Args:
        case: The case.
        generator: Name of the heatmap's generator, as a title.
        mask: Whether to show the mask; a run without decoder has no panel for it.
    """
    return [radiograph(case), *maps_of_model(case, generator, mask=mask, gaze=True)]


def radiograph(case: Case) -> Panel:
    """Make the panel of the radiograph alone."""
    return Panel("Radiograph", case.grey, layers=Layers(case.radiograph(case.height)))


def attention(*, looked: bool, boxes: bool) -> str:
    """Return the title of a case's attention map, "Gaze", "Boxes" or "Masks".

    Args:
        looked: Whether the case has gaze.
        boxes: Whether boxes, rather than masks, replace missing gaze.
    """
    return "Gaze" if looked else "Boxes" if boxes else "Masks"


def gaze_of(case: Case) -> Panel:
    """Make the panel of gaze overlaid on the radiograph."""
    absent = "no gaze recorded" if case.attention == "Gaze" else f"no {case.attention.lower()}"
    return over(case, case.gaze, case.attention, absent, outlined=False)


def maps_of_model(case: Case, generator: str, *, mask: bool, gaze: bool = False) -> list[Panel]:
    """Make the panels of heatmap, Grad-CAM, gaze if requested, and mask."""
    row = [over(case, case.heatmap, generator, "not computed")]
    if generator != "Grad-CAM":
        row.append(over(case, case.grad_cam, "Grad-CAM", "not computed"))
    if gaze:
        row.append(gaze_of(case))
    if mask:
        row.append(over(case, case.mask, "Mask", "no decoder"))
    return row


def outlined_in(rows: Iterable[Sequence[Panel]]) -> str:
    """Say what the outline on maps is of: "gaze", "boxes", "masks", or several of them; empty for none."""
    kinds = ("Gaze", "Boxes", "Masks")
    drawn = {panel.title for row in rows for panel in row if panel.title in kinds and panel.layers}
    return " or ".join(kind.lower() for kind in kinds if kind in drawn)


def mosaic(rows: Sequence[tuple[str, Sequence[Panel]]], words: str | None = None) -> ShownFigure:
    """Draw rows of panels as one figure, each with a label at its left, and one scale for all.

    Args:
        rows: Label and panels of each row.
        words: Text beside the scale; None for that of maps with an outline.
    """
    if words is None:
        outline = outlined_in([row for _, row in rows])
        words = "share of the map's largest value"
        words += f";\nblue line: {outline} at half the maximum" if outline else ""
    labels = [_extent(label) for label, _ in rows]
    picture, places = _arranged([row for _, row in rows], [round(height) for _, height in labels])
    tall, wide = picture.shape[:2]
    left = max(190, round(max((width for width, _ in labels), default=0)) + 20)  # width of the labels
    foot = 110  # height of the scale
    scale_width = min(360, wide / 2)
    # With one map per row a sheet is narrower than the text beside the scale.
    width = max(wide + left, round(left + scale_width + 30 + _extent(words)[0] + 10))
    height = tall + foot
    with styled():
        figure = canvas(width / DPI, height / DPI)
        figure.set_layout_engine("none")
        figure.set_dpi(DPI)
        figure.add_artist(_Pixels(picture, (left / width, foot / height), (wide / width, tall / height)))
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


def over(
    case: Case, values: NDArray[np.floating] | None, title: str, absent: str, *, outlined: bool = True
) -> Panel:
    """Lay a map over the radiograph, divided by its largest value.

    Args:
        case: The case, with the radiograph and the gaze.
        values: Map of shape (H, W), or None.
        title: Title of the panel.
        absent: Note in place of a missing map.
        outlined: Whether the gaze's outline is drawn.
    """
    if values is None:
        return Panel(title, None, absent)
    grey, top = case.radiograph(case.height), float(np.nanmax(values, initial=0))
    if not np.isfinite(top) or top <= 0:
        return Panel(title, case.grey, "zero everywhere", Layers(grey))
    shares = np.nan_to_num(values) / top
    outlines = (case.outline, case.outline_at(case.height)) if outlined else (None, None)
    pixels = overlay(case.grey, _resize(shares, case.aspect, HEIGHT), outlines[0])
    layers = Layers(grey, _resize(shares, case.aspect, case.height), outlines[1])
    # The maximum of heatmaps and gaze is 1; a mask is a probability, whose maximum is meaningful.
    note = f"largest {top:.2f}" if title == "Mask" else ""
    return Panel(title, pixels, note, layers)


class _Pixels(Artist):
    """A picture (h, w, 3) of a part of a figure; at the figure's own resolution nothing is resampled.

    `Figure.figimage` makes the same pixels, after resampling them twice.
    """

    def __init__(
        self, picture: NDArray[np.uint8], place: tuple[float, float], extent: tuple[float, float]
    ) -> None:
        super().__init__()
        self._picture, self._place, self._extent = picture, place, extent

    def get_window_extent(self, renderer: RendererBase | None = None) -> Bbox:
        """The picture's place in pixels, also where the figure is cut to what it holds."""
        figure = self.figure
        assert figure is not None
        return Bbox.from_bounds(*self._place, *self._extent).transformed(figure.transFigure)

    def draw(self, renderer: RendererBase) -> None:
        place = self.get_window_extent()
        size = (max(1, round(place.width)), max(1, round(place.height)))
        pixels = self._picture
        if pixels.shape[1::-1] != size:  # saved at another resolution
            pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
        opaque = np.full((*pixels.shape[:2], 1), 255, dtype=np.uint8)
        graphics = renderer.new_gc()
        from_below = np.concatenate([pixels, opaque], axis=2)[::-1]
        renderer.draw_image(graphics, round(place.x0), round(place.y0), from_below)
        graphics.restore()


def _width(aspect: float, height: int) -> int:
    """Width of a panel of a height, in pixels; extreme shapes are squeezed, so that a row fits the page."""
    return round(height * float(np.clip(aspect, 0.5, 2.0)))


def _resize(values: NDArray[np.floating], aspect: float, height: int) -> NDArray[np.floating]:
    """Resize a map (H, W) to a height in pixels and the shape of the radiograph."""
    picture = Image.fromarray(np.asarray(values, dtype=np.float32))
    resized = np.asarray(picture.resize((_width(aspect, height), height), Image.Resampling.BICUBIC))
    clipped: NDArray[np.floating] = np.clip(resized, 0, None)
    return clipped


def _write(
    figure: Figure,
    x: float,
    y: float,
    words: str,
    *,
    color: str = INK,
    ha: Literal["left", "center"] = "left",
    va: Literal["baseline", "center"] = "baseline",
) -> None:
    """Write text at (x, y) pixels from the lower left."""
    width, height = figure.get_size_inches() * DPI
    figure.text(x / width, y / height, words, fontsize=8, color=color, family=families(words), ha=ha, va=va)


def _extent(words: str) -> tuple[float, float]:
    """Width and height of a text of `_write`, in pixels."""
    with styled():
        figure = canvas(1, 1)
        figure.set_dpi(DPI)
        box = figure.text(0, 0, words, fontsize=8, family=families(words)).get_window_extent()
    return float(box.width), float(box.height)


def _arranged(
    rows: Sequence[Sequence[Panel]], labels: Sequence[int]
) -> tuple[NDArray[np.uint8], list[list[tuple[float, float]]]]:
    """Arrange the panels in one picture on white.

    Args:
        rows: The panels, row by row.
        labels: Height of each row's label in pixels; a row is at least as high.

    Returns:
        The picture (H, W, 3), and the top centre (x, y) of each panel.
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
