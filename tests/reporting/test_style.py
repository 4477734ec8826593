"""Words in figures are words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from radgaze.reporting.style import canvas, save, styled


def test_dollar_signs_of_a_name_are_no_formula(tmp_path: Path) -> None:
    with styled():
        figure = canvas(3, 1)
        figure.text(0.1, 0.5, r"$\frac{1}$ and $a_b$")  # the first is no valid formula
        axis = figure.subplots()
        axis.set_title(r"$\nosuch$")
        axis.set_xticks([0], [r"$\frac$"])
    with Image.open(save(figure, tmp_path / "a.png")) as image:
        assert np.asarray(image.convert("L")).min() < 128
