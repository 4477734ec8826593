"""A reader goes through a study in Chromium, by the keyboard alone, while things go wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from radgaze.runs.run import Run
from radgaze.store.store import Store
from radgaze.viewing.study.gaze import mouse
from radgaze.viewing.study.readings import readings
from radgaze.viewing.study.record import opened

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""

pytestmark = [
    pytest.mark.clinic,
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here"),
    pytest.mark.timeout(600),
]


@pytest.fixture
def design(store: Store, tmp_path: Path) -> Path:
    """Three cases in two sessions: six readings."""
    split = store.cases["split"].value_counts().sort("count")["split"][-1]
    content = {
        "readers": ["R1", "R2"],
        "conditions": [{"name": "image"}, {"name": "map", "prediction": True, "method": "grad_cam"}],
        "cases": {"per_class": 1, "split": split},
        "washout_days": 0,
    }
    path = tmp_path / "design.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@contextmanager
def served(
    run: Run, store: Store, design: Path, port: str = "0"
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`radgaze view` as a process, and the address of its page."""
    words = ["view", str(run.path), "--data", str(store.path), "--study", str(design), "--port", port]
    process = subprocess.Popen(
        [sys.executable, "-m", "radgaze", *words, "--device", "cpu"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None
        yield address[0], process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def context() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser.new_context(viewport={"width": 1280, "height": 800})
        browser.close()


def opened_page(context: Any, address: str, faults: list[str]) -> Any:
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))

    def listen(said: Any) -> None:
        if "Content Security" in said.text:
            faults.append(said.text)

    page.on("console", listen)
    page.goto(address)
    page.wait_for_selector("#reader")
    page.keyboard.type("r1")
    page.keyboard.press("Enter")
    return page


def appears(page: Any, session: int, place: int) -> None:
    page.wait_for_selector(f"text=Session {session} of 2, case {place} of 3")
    page.wait_for_selector("#loading", state="hidden")


def decide(page: Any, answer: str = "2", confidence: str = "4") -> None:
    for key in (answer, confidence, "Enter"):
        page.keyboard.press(key)


def test_a_reader_reads_six_cases_by_the_keyboard_and_each_is_recorded_once(
    run: Run, store: Store, design: Path, context: Any
) -> None:
    record, faults = design.with_suffix(".sqlite"), list[str]()
    with served(run, store, design) as (address, process):
        page = opened_page(context, address, faults)
        appears(page, 1, 1)
        page.keyboard.press("Enter")  # nothing is chosen: nothing is saved
        page.keyboard.press("1")
        page.keyboard.press("Backspace")  # back to the answer
        page.keyboard.press("3")
        page.keyboard.press("2")
        page.keyboard.press("5")
        page.mouse.move(300, 300)
        page.wait_for_timeout(400)
        page.keyboard.press("Enter")
        appears(page, 1, 2)
        page.wait_for_timeout(300)
        page.reload()  # in the middle of a case
        appears(page, 1, 2)
        other = opened_page(context, address, faults)  # a second tab with the same case
        appears(other, 1, 2)
        decide(page)
        appears(page, 1, 3)
        decide(other, "1", "1")  # refused: the case was answered
        appears(other, 1, 3)
        assert "another window" in other.inner_text("#said")
        other.close()
        page.go_back()  # to the empty page
        page.go_forward()
        appears(page, 1, 3)
        decide(page, "1", "3")
        appears(page, 2, 1)
        page.keyboard.press("h")
        page.keyboard.press("i")
        page.keyboard.press("+")
        page.keyboard.press("2")
        page.keyboard.press("1")
        process.kill()  # the program dies before the answer is sent
        process.wait()
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Not saved yet")
    port = address.rstrip("/").rpartition(":")[2]
    with served(run, store, design, port):
        appears(page, 2, 2)
        decide(page, "3", "5")
        appears(page, 2, 3)
        decide(page, "1", "2")
        page.wait_for_selector("text=That was the last case")
        page.reload()
        page.wait_for_selector("text=That was the last case")
    assert faults == []
    recorder = opened(record)
    table = readings(recorder)
    classes = run.classes
    assert table.select("session", "place").rows() == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert table["answer"].to_list() == [classes[k] for k in (2, 1, 0, 1, 2, 0)]
    assert table["confidence"].to_list() == [5, 4, 3, 1, 5, 2]
    assert table["views"].to_list()[1] == 3  # the reload and the second tab
    assert (table["seconds"] > 0).all()
    assert table["seconds"][0] > 0.4
    assert table["seconds"][0] < table["server_seconds"][0]
    path = mouse(recorder)
    assert path.height > 5
    assert path["on_image"].any()


def test_the_place_of_the_image_is_recorded_only_while_it_can_be_seen(
    run: Run, store: Store, design: Path, context: Any
) -> None:
    design.write_text(yaml.safe_dump({**yaml.safe_load(design.read_text()), "time_limit": 2}))
    faults = list[str]()
    with served(run, store, design) as (address, _):
        page = opened_page(context, address, faults)
        appears(page, 1, 1)
        page.mouse.move(300, 300)
        page.wait_for_timeout(200)
        for hidden in ("true", "false"):  # as another tab in front of it
            page.evaluate(
                f"Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }});"
                "document.dispatchEvent(new Event('visibilitychange'));"
            )
            page.mouse.move(310, 310)
            page.wait_for_timeout(200)
        page.wait_for_selector("#cover")
        page.wait_for_timeout(200)
        page.mouse.move(320, 320)
        page.wait_for_timeout(200)
        decide(page)
        appears(page, 1, 2)
    assert faults == []
    recorder = opened(design.with_suffix(".sqlite"))
    view = recorder.answers("R1")[0].view
    pieces = recorder.rows("SELECT mouse, placements FROM pieces WHERE view = ? ORDER BY number", view)
    placed = [each for piece in pieces for each in recorder.parsed(piece["placements"])]
    assert "".join("-" if len(each) == 1 else "+" for each in placed).replace("++", "+") == "+-+-"
    gone = [ms for ms, *where in placed if not where]
    back = next(ms for ms, *where in placed if where and ms > gone[0])
    moments = [ms for piece in pieces for ms, *_ in recorder.parsed(piece["mouse"])]
    assert moments
    assert not any(gone[0] < ms < back or ms > gone[1] for ms in moments)
