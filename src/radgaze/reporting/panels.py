"""The seed's case figure: radiograph, heatmap and Grad-CAM over it, gaze, mask; same colours and scale throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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
        return self.truth == self.predicted


@dataclass(frozen=True)
class Panel:
    """One picture of the row: (height, width, 3) uint8, or None with the reason in `note`."""

    title: str
    pixels: NDArray[np.uint8] | None
    note: str = ""


def panels(case: Case, generator: str, *, mask: bool = True) -> list[Panel]:
    """The row of pictures of one case, left to right.

    Args:
        case: The case.
        generator: Name of the heatmap's generator, as a title.
        mask: Whether the run has a decoder; without one there is no mask panel at all.
    """
    outline = _outline(case)
    row = [
        Panel("Radiograph", _grey(case)),
        _over(case, case.heatmap, generator, outline, absent="not computed"),
        _over(case, case.grad_cam, "Grad-CAM", outline, absent="not computed"),
        _over(case, case.gaze, "Gaze", None, absent="no gaze recorded"),
    ]
    if mask:
        row.append(_over(case, case.mask, "Mask", outline, absent="not computed"))
    return row


def case_figure(cases: Sequence[Case], generator: str, *, mask: bool = True) -> Figure:
    """All panels of some cases, a row each, with one colour bar: the picture for a paper."""
    rows = [panels(case, generator, mask=mask) for case in cases]
    columns = max((len(row) for row in rows), default=1)
    with styled():
        figure = canvas(0.9 + 2.0 * columns, max(1, len(rows)) * 2.35 + 0.75)
        grid = figure.subplots(max(1, len(rows)), columns, squeeze=False)
        for case, row, axes in zip(cases, rows, grid, strict=True):
            for place, (panel, axis) in enumerate(zip(row, axes, strict=True)):
                _draw(panel, axis, title=case is cases[0])
                if place == 0:
                    axis.set_ylabel(_caption(case), fontsize=8, color=INK, labelpad=6)
        bar = figure.colorbar(
            _scale(), ax=grid, orientation="horizontal", shrink=0.32, aspect=40, pad=0.02, ticks=[0, 0.5, 1]
        )
        bar.set_label("share of the map's largest value; blue line: gaze at half its maximum", fontsize=8)
        bar.outline.set_visible(False)
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
    case: Case,
    values: NDArray[np.floating] | None,
    title: str,
    outline: NDArray[np.bool_] | None,
    *,
    absent: str,
) -> Panel:
    if values is None:
        return Panel(title, None, absent)
    top = float(np.nanmax(values)) if values.size else 0.0
    if not np.isfinite(top) or top <= 0:
        return Panel(title, _grey(case), "zero everywhere")
    drawn = overlay(_grey(case), _resize(np.nan_to_num(values) / top, case.aspect), outline)
    # Heatmaps and gaze are scaled to 1 by definition; a mask is a probability, and its height is worth knowing.
    return Panel(title, drawn, f"largest value {top:.2f}" if top < 0.995 else "")


def _outline(case: Case) -> NDArray[np.bool_] | None:
    """The line around the pixels where gaze is at least half its maximum; None without gaze."""
    if case.gaze is None or not np.nanmax(case.gaze, initial=0) > 0:
        return None
    gaze = _resize(np.nan_to_num(case.gaze), case.aspect)
    inside = gaze >= 0.5 * gaze.max()
    edge = inside & ~binary_erosion(inside, iterations=2, border_value=1)
    return np.asarray(edge, dtype=np.bool_)


def _grey(case: Case) -> NDArray[np.uint8]:
    grey = np.round(255 * np.clip(_resize(case.image, case.aspect), 0, 1)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _resize(values: NDArray[np.floating], aspect: float) -> NDArray[np.floating]:
    """(H, W) brought to the drawn height and the radiograph's own shape."""
    width = round(HEIGHT * float(np.clip(aspect, 0.5, 2.0)))
    picture = Image.fromarray(np.asarray(values, dtype=np.float32))
    return np.clip(np.asarray(picture.resize((width, HEIGHT), Image.Resampling.BICUBIC)), 0, None)


def _draw(panel: Panel, axis: object, *, title: bool) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    if title:
        axis.set_title(panel.title, fontsize=9.5, loc="center")
    if panel.pixels is None:
        axis.text(0.5, 0.5, panel.note, ha="center", va="center", color=MUTED, transform=axis.transAxes)
        return
    axis.imshow(panel.pixels, interpolation="nearest")
    if panel.note:
        axis.set_xlabel(panel.note, fontsize=7.5, color=MUTED, labelpad=2)


def _caption(case: Case) -> str:
    name = case.case_id if len(case.case_id) <= 12 else case.case_id[:8] + "…"
    mark = "✓" if case.correct else "✗"
    return f"{name}\ntrue: {case.truth}\n{mark} {case.predicted} {case.probability:.2f}"


def _scale() -> object:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(0, 1), HEAT)
