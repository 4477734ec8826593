"""A server of its own process, and a page of it in Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here")


@dataclass(frozen=True)
class Served:
    """A server that runs.

    Attributes:
        address: Address of its page.
        process: Its process.
        said: File of what it writes to the terminal.
    """

    address: str
    process: subprocess.Popen[bytes]
    said: Path

    def memory(self) -> int:
        """Memory of the server and its workers in bytes."""
        return sum(map(_resident, _with_children(self.process.pid)))


@contextmanager
def served(folder: Path, *words: str) -> Iterator[Served]:
    """Run `radgaze view` on a free port until the end of the block."""
    said = folder / "said.txt"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "radgaze", "view", *words, "--port", "0", "--device", "cpu"],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )
    try:
        yield Served(_address(said, process), process, said)
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def chromium(**settings: Any) -> Iterator[Any]:
    """A context of Chromium, of Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser.new_context(**settings)
        finally:
            browser.close()


def _with_children(number: int) -> list[int]:
    """A process and those that it began, which may have ended meanwhile."""
    lists = Path(f"/proc/{number}/task").glob("*/children")
    numbers = [int(word) for each in lists for word in each.read_text().split()]
    return [number, *(one for child in numbers for one in _with_children(child))]


def _resident(number: int) -> int:
    """Memory of a process in bytes."""
    try:
        words = Path(f"/proc/{number}/statm").read_text().split()
    except OSError:
        return 0
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE")


def _address(said: Path, process: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + 180
    while time.monotonic() < until and process.poll() is None:
        words = " ".join(said.read_text().split())
        if "Open http" in words:
            address = words.split("Open ")[1].split(" ")[0]
            with suppress(urllib.error.HTTPError), urllib.request.urlopen(address):  # 401: it runs
                pass
            return address
        time.sleep(0.2)
    raise AssertionError(f"the server did not start: {said.read_text()}")
