"""The page in Chromium, served by the command itself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from radgaze.explaining.making import explained
from radgaze.explaining.options import ExplainOptions
from radgaze.predicting.options import PredictOptions
from radgaze.predicting.predict import predict
from radgaze.runs.run import Run
from tests.viewing.browser import Served, chromium, needs_chromium, served
from tests.viewing.files import HIDDEN, dicom, noise, png

pytestmark = [pytest.mark.clinic, needs_chromium, pytest.mark.timeout(600)]

SIZE = {"width": 1366, "height": 768}
LOADING = "() => document.body.dataset.ready === 'true'"
COLOURED = """(number) => {
  const canvas = document.querySelectorAll('.screen canvas')[number];
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let [count, x, y] = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4) {
    const colour = data.slice(i, i + 3);
    if (Math.max(...colour) - Math.min(...colour) < 24) continue;
    count += 1; x += (i / 4) % canvas.width; y += Math.floor(i / 4 / canvas.width);
  }
  return [count, x / count / canvas.width, y / count / canvas.height];
}"""


@pytest.fixture(scope="module")
def server(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page with the same run twice."""
    with served(tmp_path_factory.mktemp("served"), str(run.path), str(run.path), "--largest", "4") as made:
        yield made


@pytest.fixture
def browser() -> Iterator[Any]:
    with chromium(viewport=SIZE) as context:
        yield context


@pytest.fixture
def page(browser: Any, server: Served) -> Iterator[Any]:
    """The page, which must meet no error of its own and ask nothing of another address."""
    made, faults, ours = browser.new_page(), list[str](), (server.address, "data:")

    def note(text: str, *, is_fault: bool = True) -> None:
        if is_fault:
            faults.append(text)

    made.on("pageerror", lambda error: note(str(error)))
    made.on("request", lambda asked: note(asked.url, is_fault=not asked.url.startswith(ours)))
    made.on("console", lambda said: note(said.text, is_fault="Content Security" in said.text))
    made.goto(server.address)
    made.wait_for_function(LOADING)
    yield made
    assert not faults


def wait_for_maps(page: Any) -> None:
    page.wait_for_function("() => document.querySelectorAll('.pane[data-map=shown]').length === 2")
    page.wait_for_timeout(200)  # the canvas is drawn with the screen's next frame


def shown(page: Any) -> list[float]:
    """The probabilities in the first card, in whole percent."""
    page.wait_for_selector(".card .class")
    words: list[str] = page.locator(".card").first.locator(".class .value").all_inner_texts()
    return [float(each.split()[0]) for each in words]


def test_a_chosen_file_is_shown_predicted_and_explained(page: Any, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "Secretname.dcm"
    path.write_bytes(dicom(tmp_path, noise(90, 70)))
    page.set_input_files("#file", str(path))
    expected = predict(run, [str(path)], PredictOptions(device="cpu")).probabilities[0]
    np.testing.assert_allclose(shown(page), 100 * expected, atol=0.51)
    wait_for_maps(page)
    assert page.locator("#welcome").is_hidden()
    assert "Secretname" not in page.content() + page.title() + page.url
    assert page.locator(".research").inner_text().startswith("Research use only.")


def test_a_dropped_file_is_shown(page: Any) -> None:
    content = list(png((255 * noise(60, 60)).astype(np.uint8)))
    page.evaluate(
        """(content) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(content)], "a.png", { type: "image/png" }));
          for (const name of ["dragenter", "drop"]) {
            const settings = { dataTransfer: data, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new DragEvent(name, settings));
          }
        }""",
        content,
    )
    wait_for_maps(page)
    assert page.evaluate(COLOURED, 0)[0] > 50
    assert page.locator("#drop").is_hidden()
    assert page.locator("#sent-list li").count() == 1


def test_a_map_lies_where_the_networks_map_is(page: Any, run: Run) -> None:
    """The centre of the coloured pixels is that of the map above the threshold, within a pixel of the map."""
    case = run.store.cases["case_id"][5]
    page.evaluate("() => { location.hash = '#case-5'; }")
    wait_for_maps(page)
    page.select_option(".pane:first-child select[aria-label=Map]", "occlusion")
    page.select_option(".pane:first-child select[aria-label=Class]", run.classes[1])
    for slider, value in (("opacity", 100), ("threshold", 60)):
        page.locator(f"#{slider}").fill(str(value))
    for box in ("boxes", "smoothed"):
        page.locator(f"#{box}").uncheck()
    wait_for_maps(page)
    options = ExplainOptions(methods=("occlusion",), target=run.classes[1], device="cpu")
    heat = explained(run, [case], options).heatmaps["occlusion"][0]
    strong = heat >= 0.6
    side, (rows, columns) = len(heat), run.store.cases.select("rows", "columns").row(5)
    y, x = (float(each.mean() + 0.5) / side for each in np.nonzero(strong))
    _, seen_x, seen_y = page.evaluate(COLOURED, 0)
    box = page.locator(".screen canvas").first.bounding_box()
    scale = min(box["width"] / columns, box["height"] / rows)
    left, top = (box["width"] - columns * scale) / 2, (box["height"] - rows * scale) / 2
    expected = ((left + x * columns * scale) / box["width"], (top + y * rows * scale) / box["height"])
    assert (seen_x, seen_y) == pytest.approx(expected, abs=1.0 / side)


def test_keys_do_what_the_list_says(page: Any, run: Run) -> None:
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    assert page.locator("#help-list dt").count() > 20
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()
    page.keyboard.press("j")
    wait_for_maps(page)
    assert page.url.endswith("#case-0")
    page.keyboard.press("ArrowDown")
    page.wait_for_url("**#case-1")
    wait_for_maps(page)
    page.keyboard.press("b")
    page.wait_for_function(f"() => ({COLOURED})(0)[0] > 50")
    page.keyboard.press("o")
    page.wait_for_function(f"() => ({COLOURED})(0)[0] === 0")
    page.keyboard.press("o")
    page.wait_for_function(f"() => ({COLOURED})(0)[0] > 50")
    page.keyboard.press("2")
    method = page.locator("select[aria-label=Map]").first
    before = method.input_value()
    page.keyboard.press("m")
    assert page.locator("select[aria-label=Class]").last.input_value() == run.classes[1]
    assert method.input_value() != before
    corner = page.locator(".corner").first
    page.keyboard.press("+")
    assert "zoom 1.3×" in corner.inner_text() or "zoom 1.2×" in corner.inner_text()
    words = corner.inner_text()
    page.keyboard.press("w")
    assert corner.inner_text() != words
    page.keyboard.press("r")
    assert corner.inner_text().split() == ["W", "100", "%", "L", "50", "%", "zoom", "1.0×"]
    page.keyboard.press("/")
    page.keyboard.type("case-07")
    page.wait_for_function("() => document.querySelectorAll('#cases-list li').length === 1")


def test_dragging_changes_the_window_and_the_wheel_zooms_both_sides(page: Any) -> None:
    page.evaluate("() => { location.hash = '#case-2'; }")
    wait_for_maps(page)
    box = page.locator(".screen canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 40, steps=4)
    page.mouse.up()
    corners = page.locator(".corner:not(.right)").all_inner_texts()
    assert corners[0] == corners[1]
    assert "W 112 %" in corners[0]
    assert "L 58 %" in corners[0]
    page.mouse.wheel(0, -500)
    page.wait_for_timeout(200)
    corners = page.locator(".corner:not(.right)").all_inner_texts()
    assert corners[0] == corners[1]
    assert "zoom 1.0×" not in corners[0]


def test_a_bad_file_is_told_in_place_and_the_page_goes_on(page: Any, tmp_path: Path) -> None:
    lateral, broken, large = tmp_path / "a.dcm", tmp_path / "b.dcm", tmp_path / "c.dcm"
    lateral.write_bytes(dicom(tmp_path, noise(30, 30), ViewPosition="LL"))
    broken.write_bytes(b"no image")
    large.write_bytes(bytes(5 * 2**20))
    for path, words in ((lateral, "lateral view"), (broken, "not an image"), (large, "larger than 4 MB")):
        page.set_input_files("#file", str(path))
        page.locator("#message", has_text=words).wait_for()
        page.keyboard.press("Escape")
        assert page.locator("#message").is_hidden()
    page.evaluate("() => { location.hash = '#case-3'; }")
    wait_for_maps(page)


def test_two_tabs_do_not_meet(browser: Any, server: Served, tmp_path: Path) -> None:
    tabs = [browser.new_page() for _ in range(2)]
    for k, tab in enumerate(tabs):
        tab.goto(server.address)
        tab.wait_for_function(LOADING)
        path = tmp_path / f"{k}.png"
        path.write_bytes(png((255 * noise(50, 50, seed=k)).astype(np.uint8)))
        tab.set_input_files("#file", str(path))
    for tab in tabs:
        wait_for_maps(tab)
        assert tab.locator("#sent-list li").count() == 1
    assert tabs[0].url != tabs[1].url
    tabs[0].reload()
    wait_for_maps(tabs[0])


def test_a_hundred_clients_at_once_are_all_served(server: Served, run: Run, tmp_path: Path) -> None:
    """No answer of the program's own fault, bounded memory, and nothing of a patient in what it says."""
    good = dicom(tmp_path, noise(700, 700))
    kinds = [good, good[: len(good) // 2], b"no image" * 1000, bytes(2**20), bytes(5 * 2**20)]
    expected = [201, 422, 422, 422, 413]
    before = server.memory()

    def play(number: int) -> list[int]:
        with httpx.Client(base_url=server.address, timeout=300) as client:
            kind = number % len(kinds)
            first = client.post("/api/images", content=kinds[kind])
            assert first.status_code == expected[kind]
            if first.status_code != 201:
                return [first.status_code]
            key = first.json()["key"]
            target = run.classes[number % 3]
            ends = ("", "/pixels", "/reading", f"/map?method=grad_cam&target={target}")
            return [client.get(f"/api/images/{key}{end}").status_code for end in ends]

    with ThreadPoolExecutor(100) as clients:
        outcomes = list(clients.map(play, range(100)))
    assert {status for each in outcomes for status in each} == {200, 413, 422}
    # A hundred files of a MiB, and what is decoded of the twenty good ones, with room for the allocator.
    assert server.memory() - before < 700 * 2**20
    said = server.said.read_bytes()
    assert not any(word in said for word in HIDDEN)
    assert len(said.splitlines()) <= 2


@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080), (3840, 2160)])
def test_everything_is_in_sight(server: Served, size: tuple[int, int]) -> None:
    """Nothing that is needed at once lies outside of the window, and the image is the largest part of it."""
    with chromium(viewport={"width": size[0], "height": size[1]}) as context:
        page = context.new_page()
        page.goto(f"{server.address}#case-5")
        wait_for_maps(page)
        for name in (
            ".research",
            "#opacity",
            "#threshold",
            "#reset",
            "#open-help",
            ".card .class",
            ".screen",
        ):
            for each in page.locator(name).all():
                box = each.bounding_box()
                assert box["x"] >= 0
                assert box["y"] >= 0
                assert box["x"] + box["width"] <= size[0]
                assert box["y"] + box["height"] <= size[1]
        stage = page.locator("#stage").bounding_box()
        assert stage["width"] * stage["height"] > 0.55 * size[0] * size[1]
        assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")


def test_elsewhere_the_printed_address_opens_the_page(run: Run, tmp_path: Path) -> None:
    """The token goes from the address into a cookie; another browser is not let in."""
    with served(tmp_path, str(run.path), "--token") as made:
        base = made.address.split("?")[0]
        assert httpx.get(base).status_code == 401
        with chromium(viewport=SIZE) as context:
            page = context.new_page()
            page.goto(made.address)
            page.wait_for_function(LOADING)
            assert "token" not in page.url
            page.goto(f"{base}#case-0")
            page.reload()
            page.wait_for_selector(".pane[data-map=shown]")
        with chromium(viewport=SIZE) as context:
            page = context.new_page()
            assert page.goto(base).status == 401
            assert page.goto(f"{base}?token=guessed").status == 401
