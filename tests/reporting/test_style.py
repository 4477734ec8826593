"""Words in figures are words, and a figure is drawn as Matplotlib draws it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from radgaze.reporting.style import DPI, canvas, save, styled


def test_dollar_signs_of_a_name_are_no_formula(tmp_path: Path) -> None:
    with styled():
        figure = canvas(3, 1)
        figure.text(0.1, 0.5, r"$\frac{1}$ and $a_b$")  # the first is no valid formula
        axis = figure.subplots()
        axis.set_title(r"$\nosuch$")
        axis.set_xticks([0], [r"$\frac$"])
    with Image.open(save(figure, tmp_path / "a.png")) as image:
        assert np.asarray(image.convert("L")).min() < 128


def curves_and_picture() -> Figure:
    draw = np.random.default_rng(0)
    with styled():
        figure = canvas(6.3, 3.14159)
        one, two = figure.subplots(1, 2)
        one.plot(draw.random((9, 3)).cumsum(0), label=["a", "b", "c"])
        one.legend(loc="best", title="Classes")
        one.set_xlabel("Epoch")
        two.imshow(draw.random((40, 40)))
        two.set_title("Map")
        figure.suptitle("Title")
    return figure


def test_a_file_has_the_pixels_and_the_size_in_inches_of_matplotlibs_and_no_more_bytes(
    tmp_path: Path,
) -> None:
    ours, theirs = save(curves_and_picture(), tmp_path / "a.png", dpi=DPI), BytesIO()
    with styled():
        curves_and_picture().savefig(theirs, format="png", dpi=DPI)
    with Image.open(ours) as found, Image.open(theirs) as expected:
        assert expected.getchannel("A").getextrema() == (255, 255)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected.convert("RGB")))
        assert found.info["dpi"] == expected.info["dpi"]
    assert ours.stat().st_size < 1.05 * theirs.tell()


def test_a_figure_is_as_before_when_it_was_saved(tmp_path: Path) -> None:
    figure = curves_and_picture()
    before = figure.dpi
    files = [save(figure, tmp_path / f"{dpi}.png", dpi=dpi) for dpi in (50, 160, 50)]
    assert figure.dpi == before
    sizes = [Image.open(file).size for file in files]
    assert sizes == [(315, 157), (1008, 502), (315, 157)]
