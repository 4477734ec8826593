"""The style of all figures: colours that colour-blind readers can distinguish, and reproducible PNG files."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from radgaze.files import written
from radgaze.reporting import fonts

# Okabe & Ito (2008), without yellow, which is hardly visible on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LineStyle = str | tuple[int, tuple[float, ...]]
LINES: tuple[LineStyle, ...] = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
"""One more than colours, so that a mark and its colour recur together only after all pairs."""
INK, MUTED, RULE = "#1b2733", "#5b6875", "#d5dbe1"
DPI = 160
"""Pixels per inch of every PNG file."""
SHOWN_DPI = 90
"""Pixels per inch in a notebook, which keeps the picture in its file."""

# Inferno without its black and pale ends: uniform in lightness, and distinct from the greys of a radiograph.
HEAT = LinearSegmentedColormap.from_list(
    "heat", matplotlib.colormaps["inferno"](np.linspace(0.25, 0.95, 256))
)

_STYLE: dict[str, str | float | bool] = {
    "font.family": fonts.BASE,
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "path.simplify": True,
    "text.parse_math": False,  # names of classes and runs may contain dollar signs
}


@contextmanager
def styled() -> Iterator[None]:
    """Set the style within a context, and restore the previous settings of Matplotlib afterwards."""
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type] # the stubs list the names of settings
        yield


class ShownFigure(Figure):
    """A figure that a notebook shows although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        draw(self, buffer, dpi=SHOWN_DPI)
        return buffer.getvalue()


def canvas(width: float, height: float) -> ShownFigure:
    """Create an empty figure of `width` × `height` inches, independent of pyplot's global state."""
    figure = ShownFigure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path, *, dpi: int = DPI) -> Path:
    """Write a figure as PNG without date and version, so that the bytes are reproducible; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as aside:
        draw(figure, aside, dpi=dpi)
    return path


def draw(figure: Figure, file: Path | BinaryIO, *, dpi: int = DPI) -> None:
    """Write a figure as PNG into a file, see `save`.

    The pixels are those of `Figure.savefig`, which draws a figure twice, once for its layout. The background
    is opaque, so no opacity is written; at this level of compression files are no larger than Matplotlib's,
    and written in half the time.
    """
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    before = figure.dpi
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # `fonts` reports it, once
        fonts.complete(figure)
        figure.dpi = dpi
        try:
            canvas.draw()  # type: ignore[no-untyped-call]
            pixels = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
        finally:
            figure.dpi = before
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, format="PNG", dpi=(dpi, dpi), compress_level=4)


def colour(place: int) -> str:
    """Return the colour of the class, run or map at a place."""
    return COLOURS[place % len(COLOURS)]


def line(place: int) -> LineStyle:
    """Return the line style of the class, run or map at a place: colour is never the only difference."""
    return LINES[place % len(LINES)]


def marker(place: int) -> str:
    """Return the mark of the family or run at a place."""
    return MARKERS[place % len(MARKERS)]


def heat_gradient(stops: int = 9) -> str:
    """Return the heat colour map as a CSS gradient from 0 (left) to 1 (right)."""
    return "linear-gradient(to right," + ",".join(to_hex(HEAT(t)) for t in np.linspace(0, 1, stops)) + ")"


def png_uri(path: Path) -> str:
    """Convert a PNG file to a data URI."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def picture_uri(pixels: NDArray[np.uint8], *, quality: int = 88) -> str:
    """Convert a picture (H, W, 3) to a JPEG data URI, which has a tenth of the size of a PNG."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
