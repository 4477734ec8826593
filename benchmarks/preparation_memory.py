"""Memory of preparing archives of growing size, in the process that writes and in those that read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

import numpy as np
from PIL import Image

from benchmarks.results import Cell, Result
from radgaze.store.store import Store

MIB = 2**20
WRITES, ALL = "the process that writes (MiB)", "all processes (MiB)"
HOW = (
    "Memory is what belongs to the processes alone or in parts (proportional set size), looked up every "
    "50 ms while they ran; the highest is given."
)
DIFFERENT = 20
"""Images that are drawn; an archive is made of copies."""


def run(
    *,
    cases: int = 400,
    growth: tuple[int, ...] = (1, 2, 5, 10),
    side: int = 768,
    size: int = 512,
    looks: int = 40,
    workers: int = 2,
) -> Result:
    """Prepare each archive with `radgaze prepare table`, in a process of its own that is watched.

    Args:
        cases: Number of cases of the smallest archive.
        growth: Sizes of the archives, in times of the smallest.
        side: Side of the images in pixels.
        size: Side of the stored images in pixels.
        looks: Fixations on each of them.
        workers: Processes that read images.
    """
    return Result(
        "Memory of preparing archives of growing size",
        f"`radgaze prepare table` over PNGs of {side} × {side} pixels with {looks} fixations each, stored at "
        f"{size} px. {HOW}",
        prepared([(cases * times, looks) for times in growth], side, size, workers),
        {"workers": workers},
    )


def tables(
    *,
    archives: tuple[tuple[int, int], ...] = (
        (4_000, 0),
        (40_000, 0),
        (400_000, 0),
        (40_000, 4),
        (40_000, 40),
        (40_000, 400),
    ),
    side: int = 48,
    size: int = 16,
    workers: int = 2,
) -> Result:
    """Prepare archives of many tiny images, so that what is kept of each case and fixation shows.

    Args:
        archives: Cases of each, and fixations on each case.
        side: Side of the images in pixels.
        size: Side of the stored images in pixels.
        workers: Processes that read images.
    """
    return Result(
        "Memory of preparing very many images",
        f"`radgaze prepare table` over PNGs of {side} × {side} pixels, stored at {size} px: what memory "
        f"holds is what is known of the cases. {HOW}",
        prepared(archives, side, size, workers),
        {"workers": workers},
    )


def prepared(
    archives: Sequence[tuple[int, int]], side: int, size: int, workers: int
) -> list[dict[str, Cell]]:
    """A row for each archive of so many cases with so many fixations each."""
    if not Path("/proc/self/smaps_rollup").is_file():
        raise SystemExit("benchmarks: memory is read from /proc, which Linux has")
    rows: list[dict[str, Cell]] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        draw_images(folder / "drawn", side)
        for cases, looks in archives:
            archive = folder / "archive"
            _write(archive, folder / "drawn", cases, looks, side)
            rows.append(_watched(archive, cases, looks, size, workers))
            shutil.rmtree(archive)
    return rows


def draw_images(folder: Path, side: int) -> None:
    """Draw the images that an archive is made of copies of."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for k in range(DIFFERENT):
        coarse = Image.fromarray(draw.integers(0, 256, (24, 24), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{k}.png", compress_level=1)


def _write(archive: Path, drawn: Path, cases: int, looks: int, side: int) -> None:
    (archive / "images").mkdir(parents=True)
    draw = np.random.default_rng(1)
    with (
        (archive / "labels.csv").open("w", encoding="utf-8") as labels,
        (archive / "looks.csv").open("w", encoding="utf-8") as fixations,
    ):
        labels.write("image,patient,label\n")
        fixations.write("case,x,y,onset,duration\n")
        for i in range(cases):
            (archive / "images" / f"i{i}.png").hardlink_to(drawn / f"{i % DIFFERENT}.png")
            labels.write(f"i{i}.png,{i},{'ab'[i % 2]}\n")
            places = draw.uniform(0.1, side - 0.1, (looks, 2))
            fixations.writelines(f"i{i},{x:.1f},{y:.1f},{k},0.5\n" for k, (x, y) in enumerate(places))


def _watched(archive: Path, cases: int, looks: int, size: int, workers: int) -> dict[str, Cell]:
    command = [sys.executable, "-m", "radgaze", "prepare", "table", "--table", str(archive / "labels.csv")]
    command += ["--images", str(archive / "images")]
    if looks:
        command += ["--fixations", str(archive / "looks.csv")]
    command += ["--out", str(archive / "store"), "--size", str(size), "--workers", str(workers)]
    start = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    highest = {"writes": 0, "all": 0}
    while process.poll() is None:
        own, others = _memory(process.pid), sum(map(_memory, _below(process.pid)))
        highest = {"writes": max(highest["writes"], own), "all": max(highest["all"], own + others)}
        sleep(0.05)
    if process.returncode:
        raise SystemExit(f"benchmarks: {' '.join(command)} ended with {process.returncode}")
    seconds = perf_counter() - start
    counts = Store.open(archive / "store").manifest["counts"]
    assert (counts["cases"], counts["fixations"]) == (cases, cases * looks), "nothing may be rejected"
    return {
        "cases": cases,
        "fixations": cases * looks,
        WRITES: round(highest["writes"] / MIB),
        ALL: round(highest["all"] / MIB),
        "cases/s": cases / seconds,
    }


def _below(pid: int) -> list[int]:
    """The processes below one, all the way down."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_below(child)]
    except OSError:  # it has just ended
        pass
    return found


def _memory(pid: int) -> int:
    """Proportional set size of a process, in bytes."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
