"""Pictures in layers: what the page shows is the map over the radiograph, as the store has it."""

from __future__ import annotations

import base64
from dataclasses import replace
from io import BytesIO
from typing import cast

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from radgaze.reporting.case_panels import HEIGHT, Panel, panels
from radgaze.reporting.layers import CONTOUR, LEVELS, map_uri, overlay
from radgaze.reporting.scans import scans
from radgaze.reporting.shown_panels import Pictures
from radgaze.store.placement import Fit
from radgaze.store.store import Store
from tests.evaluation.known import known
from tests.reporting.fakes import FakeStore, case


def decoded(uri: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))


def laid(uri: str, grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Lay a layer over a radiograph as a browser does."""
    layer = np.asarray(decoded(uri).convert("RGBA")).astype(np.float64)
    alpha = layer[..., 3:] / 255
    return (1 - alpha) * grey + alpha * layer[..., :3]


def test_a_layer_over_its_radiograph_is_the_picture_of_the_figures() -> None:
    random = np.random.default_rng(0)
    grey = np.repeat(random.integers(0, 256, (40, 30, 1), dtype=np.uint8), 3, axis=2)
    values = np.linspace(0, 1, 1200).reshape(40, 30)
    outline = np.zeros((40, 30), bool)
    outline[5, 3:20] = True
    drawn = laid(map_uri(values, outline), grey)
    step = 1 / (LEVELS - 1)
    most = (
        np.abs(overlay(grey, values + step, outline).astype(int) - overlay(grey, values, outline)).max() + 2
    )
    assert np.abs(drawn - overlay(grey, values, outline)).max() <= most
    assert (drawn[outline] == CONTOUR).all()
    assert (laid(map_uri(np.zeros((40, 30))), grey) == grey).all()


def test_pages_show_the_radiograph_at_the_resolution_of_the_store() -> None:
    scan = np.random.default_rng(0).integers(0, 256, (512, 420), dtype=np.uint8)
    stored = replace(case(aspect=420 / 512, size=64), scan=scan)
    for panel in panels(stored, "Guided backprop"):
        layers = known(panel.layers)
        assert (layers.radiograph == scan).all()  # not the 64 pixels of the network's input
        assert layers.values is None or layers.values.shape == scan.shape
        assert known(panel.pixels).shape == (HEIGHT, round(HEIGHT * 420 / 512), 3)


def test_a_page_embeds_each_radiograph_once_and_each_map() -> None:
    pictures = Pictures()
    first = pictures.row(panels(case("a"), "Guided backprop"), "a")
    again = pictures.row(panels(case("a"), "Guided backprop"), "a")
    other = pictures.row(panels(case("b"), "Guided backprop"), "b")
    assert [bool(panel.embedded) for panel in (*first, *again)] == [True] + 9 * [False]
    assert len({panel.radiograph for panel in (*first, *again)}) == 1
    assert {panel.radiograph for panel in other}.isdisjoint({panel.radiograph for panel in first})
    assert len({panel.source for panel in first}) == 5  # four maps, and none on the radiograph
    size = decoded(first[0].embedded).size
    assert {decoded(panel.source).size for panel in first[1:]} == {size}


def test_a_panel_without_a_picture_says_why() -> None:
    (shown,) = Pictures().row([Panel("Gaze", None, "no gaze recorded")], "a")
    assert shown.is_missing
    assert shown.note == "no gaze recorded"


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_scans_are_what_a_models_input_shows(fit: Fit) -> None:
    class Square(FakeStore):
        def image(self, i: int) -> np.ndarray:
            square = np.zeros((32, 32), np.uint8)
            square[3:29] = 200  # 100 rows and 120 columns, on a square
            return square

    cases = pl.DataFrame({"case_id": ["a"], "rows": [100], "columns": [120]})
    (cut,) = scans(cast(Store, Square({}, cases)), ["a"], fit).values()
    assert cut.shape == ((32, 32) if fit == "pad" else (26, 32))
    assert (cut == 200).all() == (fit == "stretch")
