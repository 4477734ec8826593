"""Memory of an epoch over stores of growing size, with images read as they are needed and with them kept."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import polars as pl

from benchmarks.results import Cell, Result
from radgaze.gaze.spec import GazeMaps
from radgaze.store.opening import FORMAT, MANIFEST
from radgaze.store.store import SHARD, Store, shard_name

MIB = 2**20
CLASSES = ("Normal", "CHF", "pneumonia")


def run(
    *, cases: int = 1024, growth: tuple[int, ...] = (1, 2, 5, 10), side: int = 256, batch: int = 32
) -> Result:
    """Load an epoch of each store in a process of its own.

    Args:
        cases: Number of cases of the smallest store.
        growth: Sizes of the stores, in times of the smallest.
        side: Side of the stored and of the loaded images in pixels.
        batch: Cases in a batch.
    """
    rows: list[dict[str, Cell]] = []
    with TemporaryDirectory() as folder:
        for times in growth:
            path = Path(folder) / f"store-{times}"
            write_store(path, cases * times, side)
            rows += [measured(path, batch, cache) for cache in (False, True)]
            shutil.rmtree(path)
    return Result(
        "Stores larger than memory",
        "An epoch of `GazeDataset`, shuffled, in a process of its own. “Own memory” is the largest anonymous "
        "resident memory (RssAnon) seen after a batch, less that of the process before it opens the store: "
        "what has to be there. “Mapped” is what the resident part of files (RssFile) grew by: pages of the "
        "disk's cache, which count as the process's own until the kernel needs their memory and drops them.",
        rows,
        {"side": side, "batch": batch},
        ["What grows without kept images, too, are the cases' ids, labels, frames and fixations."],
    )


def write_store(path: Path, cases: int, side: int) -> None:
    """A store of made cases, six fixations each, whose images hold nothing but their number."""
    (path / "images").mkdir(parents=True, exist_ok=True)
    for shard in range(-(-cases // SHARD)):
        count = min(SHARD, cases - shard * SHARD)
        file = np.lib.format.open_memmap(path / shard_name(shard), "w+", np.uint8, (count, side, side))
        for k in range(count):
            file[k] = (shard * SHARD + k) % 256
        file.flush()
    case = pl.Series("case_id", [f"case-{k:07d}" for k in range(cases)])
    number = np.arange(cases)
    labels = {f"label_{name}": pl.Series(number % 3 == k, dtype=pl.Int8) for k, name in enumerate(CLASSES)}
    places = {
        "shard": number // SHARD,
        "index": number % SHARD,
        "rows": side,
        "columns": side,
        "scale": 1.0,
        "pad_x": 0.0,
        "pad_y": 0.0,
    }
    pl.DataFrame({"case_id": case, "patient": number, "split": "train", **labels, **places}).write_parquet(
        path / "cases.parquet"
    )
    pl.DataFrame(
        {"reading_id": case, "case_id": case, "reader": "R0", "recorded": 6, "duration": 1.8}
    ).write_parquet(path / "readings.parquet")
    place, order = np.tile(np.linspace(1, side - 1, 6), cases), np.tile(np.arange(6), cases)
    pl.DataFrame(
        {
            "reading_id": case.gather(np.repeat(number, 6)),
            "index": order,
            "x": place,
            "y": place,
            "onset": 0.3 * order,
            "duration": 0.3,
        }
    ).write_parquet(path / "fixations.parquet")
    corners = dict.fromkeys(("x1", "y1", "x2", "y2"), pl.Float64)
    pl.DataFrame(schema={"case_id": pl.String, "label": pl.String, **corners}).write_parquet(
        path / "boxes.parquet"
    )
    about = {
        "format": FORMAT,
        "source": "made",
        "counts": {"cases": cases},
        "hashes": {},
        "classes": CLASSES,
        "parameters": {"size": side},
    }
    (path / MANIFEST).write_text(json.dumps(about), encoding="utf-8")


def measured(path: Path, batch: int, cache: bool) -> dict[str, Cell]:
    """Run `epoch` in a separate process and return its result."""
    arguments = [str(path), str(batch), "cache" if cache else "stream"]
    command = [sys.executable, "-m", "benchmarks.streaming", *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def epoch(path: Path, batch: int, cache: bool) -> dict[str, Cell]:
    """Load all cases of a store once, and watch this process's memory."""
    from torch.utils.data import DataLoader

    from radgaze.store.dataset import GazeDataset, collate

    before, most = _resident(), {"RssAnon": 0, "RssFile": 0}
    started = perf_counter()
    store = Store.open(path)
    cases = GazeDataset(store, size=store.size, gaze=GazeMaps("duration", 0.05, "share", None), cache=cache)
    opened = perf_counter()
    for _ in DataLoader(cases, batch, shuffle=True, collate_fn=collate):
        most = {name: max(value, most[name]) for name, value in _resident().items()}
    return {
        "cases": len(cases),
        "images (MiB)": len(cases) * store.size**2 / MIB,
        "images kept": "yes" if cache else "no",
        "own memory (MiB)": (most["RssAnon"] - before["RssAnon"]) / MIB,
        "mapped (MiB)": (most["RssFile"] - before["RssFile"]) / MIB,
        "seconds to open": opened - started,
        "cases/s": len(cases) / (perf_counter() - opened),
    }


def _resident() -> dict[str, int]:
    """Bytes of this process that are in memory: its own, and those that are files'."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    pairs = (line.split(":") for line in lines if line.startswith(("RssAnon", "RssFile")))
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


if __name__ == "__main__":
    print(json.dumps(epoch(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "cache")))
