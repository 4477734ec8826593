from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.text import Text
from PIL import Image

from radgaze.reporting import fonts
from radgaze.reporting.case_panels import Panel, mosaic
from radgaze.reporting.style import DPI, canvas, save, styled

SHIPPED = font_manager.findfont("DejaVu Sans")
STIX = font_manager.findfont("STIXGeneral")


@pytest.fixture(autouse=True)
def nothing_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_reported", set())


def test_coverage_is_that_of_the_font_file() -> None:
    assert {ord(c) for c in "aßΩЖع"} <= fonts.covered(SHIPPED)
    assert not {ord(c) for c in "肺폐फ"} & fonts.covered(SHIPPED)
    assert fonts.covered("no such file") == frozenset()


def test_latin_greek_and_cyrillic_need_no_other_font(capsys: pytest.CaptureFixture[str]) -> None:
    assert fonts.families("Lungenödem ΑΒΓ пневмония") == [fonts.BASE]
    assert capsys.readouterr().err == ""


def test_a_font_that_has_the_characters_is_added_and_one_that_has_not_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only = min(fonts.covered(STIX) - fonts.covered(SHIPPED))
    monkeypatch.setattr(
        fonts, "_fonts", lambda: (("cmr10", font_manager.findfont("cmr10")), ("STIXGeneral", STIX))
    )
    assert fonts.families("A" + chr(only)) == [fonts.BASE, "STIXGeneral"]
    with styled():
        figure = canvas(2, 1)
        figure.subplots().set_yticks([0], ["A" + chr(only)])
    fonts.complete(figure)
    label = next(t for t in figure.findobj(Text) if t.get_text() == "A" + chr(only))
    assert label.get_fontfamily() == [fonts.BASE, "STIXGeneral"]


def test_what_no_font_has_is_reported_once_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(fonts, "_fonts", tuple)
    with styled():
        figure = canvas(2, 1)
        figure.text(0, 0, "肺炎, फेफड़ा")
        figure.text(0, 0.5, "肺水腫")
    save(figure, tmp_path / "a.png")
    save(figure, tmp_path / "b.png")
    told = capsys.readouterr().err
    assert told.count("fonts-noto-cjk") == 1
    assert told.count("Noto Sans Devanagari") == 1


def test_the_sheet_of_one_map_a_row_shows_its_whole_legend_and_every_label(tmp_path: Path) -> None:
    panel = Panel("Grad-CAM", np.zeros((336, 336, 3), dtype=np.uint8))
    many = "\n".join(f"a finding with a long name, number {k} 0.50" for k in range(25))
    figure = mosaic([(many, [panel]), ("maps of\nfinding", [panel])])
    path = save(figure, tmp_path / "sheet.png", dpi=DPI)
    width, height = Image.open(path).size
    boxes = [text.get_window_extent() for text in figure.findobj(Text) if text.get_text()]
    assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in boxes)
    label = next(t for t in figure.findobj(Text) if t.get_text() == many).get_window_extent()
    title = next(t for t in figure.findobj(Text) if t.get_text() == "Grad-CAM").get_window_extent()
    assert label.x1 < title.x0
