"""OHIF in a Chromium that nobody sees, for tests and for the picture in the documentation."""

from __future__ import annotations

import io
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, Response, sync_playwright

from tools.clinic.programs import program

ARGUMENTS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""Arguments of Chromium: it may run as root, and draws WebGL without a graphics card."""
PATIENCE = 90.0
"""Seconds that a page or a picture may take."""
SIZE = (1400, 900)
SERIES = "[data-cy=study-browser-thumbnail], [data-cy=study-browser-thumbnail-no-image]"
READ_CANVAS = "canvas => canvas.toDataURL('image/png')"


@dataclass
class Viewer:
    """A page of OHIF.

    Attributes:
        page: The page.
        elsewhere: Addresses outside the site that it asked for.
        errors: Errors of its scripts, and addresses at which the site failed.
    """

    page: Page
    elsewhere: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def series(self) -> list[str]:
        """Modality, description and number of each series in the list, on one line each."""
        return [" ".join(text.split()) for text in self.page.locator(SERIES).all_inner_texts()]

    def show(self, words: str) -> None:
        """Double-click the series whose entry has these words."""
        self._entry(words).dblclick()

    def lay_out(self, *words: str) -> None:
        """Show several series side by side."""
        self.page.locator("[data-cy=Layout]").first.click()
        self.page.locator(f"[data-cy='Layout-{len(words) - 1}-0']").click()
        panes = self.page.locator("[data-cy=viewport-pane]")
        wait_until(lambda: panes.count() == len(words))
        for place, each in enumerate(words):
            panes.nth(place).click(position={"x": 200, "y": 20})
            self.show(each)
            self.page.wait_for_timeout(1500)  # OHIF drops a series that is opened while another one loads

    def canvas(self, place: int = 0) -> NDArray[np.uint8]:
        """Pixels of an image that is shown, (H, W, 3), without what lies over it."""
        url: str = self.page.locator("canvas.cornerstone-canvas").nth(place).evaluate(READ_CANVAS)
        with Image.open(io.BytesIO(b64decode(url.partition(",")[2]))) as picture:
            return np.asarray(picture.convert("RGB"))

    def text(self) -> str:
        """Text of the page."""
        return self.page.inner_text("body")

    def _entry(self, words: str) -> Locator:
        return self.page.locator(SERIES).filter(has_text=words).first


@contextmanager
def opened(address: str, study: str) -> Iterator[Viewer]:
    """Open a study in OHIF, past its welcome, until its first image is drawn.

    Args:
        address: Address of the site.
        study: UID of the study.

    Raises:
        UserError: Chromium is missing.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(program("chromium")), args=[*ARGUMENTS, "--ignore-gpu-blocklist"]
        )
        try:
            page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
            page.set_default_timeout(PATIENCE * 1000)
            viewer = Viewer(page)
            page.on("pageerror", lambda error: viewer.errors.append(str(error)))
            page.on("response", lambda answer: _note_failure(viewer, answer))
            page.on("request", lambda request: _note_elsewhere(viewer, address, request.url))
            page.goto(f"{address}/viewer?StudyInstanceUIDs={study}")
            page.get_by_text("Skip all").click()
            page.get_by_text("Confirm and hide").click()
            wait_until(lambda: viewer.canvas().max() > 200)
            yield viewer
        finally:
            browser.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: It does not within `PATIENCE`.
    """
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("OHIF does not show it")
        time.sleep(0.3)


def _note_failure(viewer: Viewer, answer: Response) -> None:
    if answer.status >= 500:
        viewer.errors.append(f"{answer.status} {answer.url}")


def _note_elsewhere(viewer: Viewer, address: str, url: str) -> None:
    if not url.startswith((f"{address}/", "blob:", "data:")):
        viewer.elsewhere.append(url)
