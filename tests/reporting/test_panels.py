import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from radgaze.reporting.case_panels import HEIGHT, mosaic, panels
from radgaze.reporting.layers import CONTOUR, overlay
from radgaze.reporting.style import HEAT
from tests.reporting.fakes import case


def test_a_case_is_a_row_of_five_panels_and_of_four_without_a_decoder() -> None:
    assert [p.title for p in panels(case(), "Guided backprop")] == [
        "Radiograph",
        "Guided backprop",
        "Grad-CAM",
        "Gaze",
        "Mask",
    ]
    assert [p.title for p in panels(case(mask=False), "Guided backprop", mask=False)][-1] == "Gaze"


def test_grad_cam_is_shown_once_where_it_is_the_generator() -> None:
    assert [p.title for p in panels(case(), "Grad-CAM")].count("Grad-CAM") == 1


def test_where_the_map_is_zero_the_radiograph_is_untouched_and_where_it_is_one_it_still_shows() -> None:
    grey = np.array([[[40] * 3, [200] * 3]], dtype=np.uint8)
    assert (overlay(grey, np.zeros((1, 2)), None) == grey).all()
    covered = overlay(grey, np.ones((1, 2)), None).astype(int)
    assert (covered[0, 1] > covered[0, 0]).all()


def test_a_larger_value_is_further_from_the_radiograph() -> None:
    grey = np.full((1, 50, 3), 128, dtype=np.uint8)
    colour = 255 * np.asarray(HEAT(np.linspace(0, 1, 50)))[None, :, :3]
    mixed = overlay(grey, np.linspace(0, 1, 50)[None], None)
    share = (mixed - 128.0)[..., 2] / (colour - 128.0)[..., 2]
    assert (np.diff(share[0]) > -0.02).all()


def test_the_colour_map_grows_evenly_in_lightness() -> None:
    # Relative luminance of sRGB, then CIE lightness.
    rgb = np.asarray(HEAT(np.linspace(0, 1, 101)))[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lightness = 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16
    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert steps.std() < 0.35 * steps.mean()


def test_panels_have_the_shape_of_the_original_radiograph() -> None:
    for aspect in (0.8, 1.0, 1.25):
        for panel in panels(case(aspect=aspect), "Guided backprop"):
            assert panel.pixels is not None
            assert panel.pixels.shape == (HEIGHT, round(HEIGHT * aspect), 3)


def test_maps_of_the_model_carry_the_outline_of_gaze_and_the_gaze_itself_does_not() -> None:
    _, heatmap, cam, gaze, mask = panels(case(), "Guided backprop")
    drawn = [bool((p.pixels == CONTOUR).all(-1).any()) for p in (heatmap, cam, mask) if p.pixels is not None]
    assert drawn == [True] * 3
    assert gaze.pixels is not None
    assert not (gaze.pixels == CONTOUR).all(-1).any()


def test_the_outline_surrounds_the_pixels_above_half_the_maximum() -> None:
    outline, gaze = case(aspect=1.0, size=HEIGHT).outline, case(aspect=1.0, size=HEIGHT).gaze
    assert outline is not None
    assert gaze is not None
    assert gaze[outline].min() >= 0.5 * gaze.max() - 0.02
    assert gaze[outline].max() < 0.8 * gaze.max()


def test_missing_maps_say_why() -> None:
    by_title = {p.title: p for p in panels(case(gaze=False, mask=False), "Guided backprop")}
    assert by_title["Gaze"].pixels is None
    assert by_title["Gaze"].note == "no gaze recorded"
    assert by_title["Mask"].note == "no decoder"
    assert by_title["Guided backprop"].pixels is not None


def test_a_map_of_zeros_or_nan_is_said_to_be_empty() -> None:
    empty = case()
    object.__setattr__(empty, "heatmap", np.zeros((224, 224)))
    object.__setattr__(empty, "grad_cam", np.full((224, 224), np.nan))
    row = panels(empty, "Guided backprop")
    assert row[1].note == "zero everywhere"
    assert row[2].note == "zero everywhere"


@pytest.mark.parametrize("rows", [0, 1, 4])
def test_the_figure_holds_every_panel_and_one_colour_bar(rows: int) -> None:
    drawn = [panels(case(str(i), aspect=0.8 + 0.1 * i), "Guided backprop") for i in range(rows)]
    figure = mosaic([(f"label {i}", row) for i, row in enumerate(drawn)])
    assert len(figure.axes) == 1  # the colour bar
    words = [text.get_text() for text in figure.texts]
    assert len(words) == rows * 6 + 1
    assert words.count("Grad-CAM") == rows
    agg = FigureCanvasAgg(figure)
    agg.draw()  # type: ignore[no-untyped-call]
    picture = np.asarray(agg.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
    for i, row in enumerate(drawn):
        for panel in row:
            assert panel.pixels is not None
            strip = picture[i * (HEIGHT + 48) + 40 :][:HEIGHT]
            windows = np.lib.stride_tricks.sliding_window_view(strip[0], (panel.pixels.shape[1], 3))[:, 0]
            starts = np.flatnonzero((windows == panel.pixels[0]).all((1, 2)))
            assert any((strip[:, x : x + panel.pixels.shape[1]] == panel.pixels).all() for x in starts)


def test_a_panel_without_a_map_leaves_its_place_empty_with_the_reason() -> None:
    figure = mosaic([("label", panels(case(gaze=False), "Guided backprop"))])
    assert "no gaze recorded" in [text.get_text() for text in figure.texts]
