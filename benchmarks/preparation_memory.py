"""Memory of preparing archives of growing size, in the process that writes and in those that read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

import numpy as np
from PIL import Image

from benchmarks.results import Cell, Result

MIB = 2**20
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
        cases: Of the smallest archive.
        growth: Sizes of the archives, in times of the smallest.
        side: Of the images, in pixels.
        size: Of the stored ones.
        looks: Fixations on each of them.
        workers: Processes that read images.
    """
    if not Path("/proc/self/smaps_rollup").is_file():
        raise SystemExit("benchmarks: memory is read from /proc, which Linux has")
    rows: list[dict[str, Cell]] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        _draw(folder / "drawn", side)
        for times in growth:
            archive = folder / str(times)
            _write(archive, folder / "drawn", cases * times, looks)
            rows.append(_watched(archive, cases * times, size, workers))
            shutil.rmtree(archive)
    return Result(
        "Memory of preparing archives of growing size",
        f"`radgaze prepare table` over PNGs of {side} × {side} pixels with {looks} fixations each, stored at "
        f"{size} px. Memory is what belongs to the processes alone or in parts (proportional set size), "
        "looked up every 50 ms while they ran; the highest is given.",
        rows,
        {"workers": workers},
        ["The table of fixations is in the memory of the process that writes: it grows with the archive."],
    )


def _draw(folder: Path, side: int) -> None:
    folder.mkdir()
    draw = np.random.default_rng(0)
    for k in range(DIFFERENT):
        coarse = Image.fromarray(draw.integers(0, 256, (24, 24), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{k}.png", compress_level=1)


def _write(archive: Path, drawn: Path, cases: int, looks: int) -> None:
    (archive / "images").mkdir(parents=True)
    draw = np.random.default_rng(1)
    labels, fixations = ["image,patient,label"], ["case,x,y,onset,duration"]
    for i in range(cases):
        shutil.copyfile(drawn / f"{i % DIFFERENT}.png", archive / "images" / f"i{i}.png")
        labels.append(f"i{i}.png,{i},{'ab'[i % 2]}")
        places = draw.uniform(0, 700, (looks, 2))
        fixations += [f"i{i},{x:.1f},{y:.1f},{k},0.5" for k, (x, y) in enumerate(places)]
    (archive / "labels.csv").write_text("\n".join(labels), encoding="utf-8")
    (archive / "looks.csv").write_text("\n".join(fixations), encoding="utf-8")


def _watched(archive: Path, cases: int, size: int, workers: int) -> dict[str, Cell]:
    command = [sys.executable, "-m", "radgaze", "prepare", "table", "--table", str(archive / "labels.csv")]
    command += ["--images", str(archive / "images"), "--fixations", str(archive / "looks.csv")]
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
    return {
        "cases": cases,
        "the process that writes (MiB)": round(highest["writes"] / MIB),
        "all processes (MiB)": round(highest["all"] / MIB),
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
