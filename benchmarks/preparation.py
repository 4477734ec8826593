"""Seconds to make a phantom, and to prepare one: the tables and headers, then the images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.results import Cell, Result
from radgaze.simulation import SimulationOptions, simulate
from radgaze.sources import egd
from radgaze.sources.egd import EgdOptions
from radgaze.store.options import PrepareOptions
from radgaze.store.preparation import prepare

CASES = 1083
"""Images in egd-cxr 1.0.0."""

SIZE = 512
"""Side of the stored images."""


def phantom(*, patients: int = 400, pixels: int = 1024, workers: int | None = None) -> Result:
    """Make a phantom.

    Args:
        patients: Number of patients; a few come twice.
        pixels: Long side of the images.
        workers: Processes; without it one per processor.
    """
    with TemporaryDirectory() as folder:
        with _timed([]) as seconds:
            counts = simulate(
                SimulationOptions(Path(folder) / "phantom", patients=patients, pixels=pixels, workers=workers)
            )
        files = list(Path(folder).rglob("*.dcm"))
        size = sum(file.stat().st_size for file in files)
    row: dict[str, Cell] = {
        "patients": patients,
        "radiographs": len(files),
        "readings": counts["counts"]["readings"],
        "DICOM (MB)": round(size / 1e6),
        "seconds": seconds[0],
        "radiographs/s": len(files) / seconds[0],
    }
    return Result(
        "Making a phantom",
        "`radgaze phantom`: radiographs drawn and written as DICOM, 60 Hz gaze, tables and segmentations.",
        [row],
        {"pixels": pixels, "workers": workers or "one per core"},
        ["Wanted: 400 patients at 1024 px in about a minute on 2 cores."],
    )


def few(*, cases: int = 200, repeats: int = 3, workers: int | None = None) -> Result:
    """Prepare a phantom of 1024 px at 512 px.

    Args:
        cases: Number of radiographs, one to a patient.
        repeats: How often; the median is given.
        workers: Processes that read images; without it one per processor.
    """
    return _preparation(cases, pixels=1024, repeats=repeats, workers=workers)


def whole(*, cases: int = CASES, repeats: int = 3, workers: int | None = None) -> Result:
    """Prepare a phantom of 1024 px, as large as egd-cxr, at 512 px.

    Args:
        cases: Number of radiographs, one to a patient.
        repeats: How often; the median is given.
        workers: Processes that read images; without it one per processor.
    """
    wanted = f"Wanted: {CASES:,} cases in less than 180 s on 2 cores."
    return _preparation(cases, pixels=1024, repeats=repeats, workers=workers, notes=(wanted,))


def real_size(*, cases: int = 100, repeats: int = 3, workers: int | None = None) -> Result:
    """Prepare a phantom whose images are as large as real ones, at 512 px.

    Args:
        cases: Number of radiographs, one to a patient.
        repeats: How often; the median is given.
        workers: Processes that read images; without it one per processor.
    """
    wanted = "Wanted: 1.7 times as fast as a straight loop on 2 cores."
    return _preparation(cases, pixels=3056, repeats=repeats, workers=workers, notes=(wanted,))


def _preparation(
    cases: int,
    *,
    pixels: int,
    repeats: int,
    workers: int | None,
    size: int = 512,
    notes: tuple[str, ...] = (),
) -> Result:
    headers: list[float] = []
    images: list[float] = []
    masked: list[float] = []
    straight: list[float] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        simulate(
            SimulationOptions(
                folder, patients=cases, pixels=pixels, two_studies=0, faults=False, workers=workers
            )
        )
        megabytes = sum(file.stat().st_size for file in folder.rglob("*.dcm")) / 1e6
        for repeat in range(repeats):
            with _timed(headers):
                cohort = egd.read(EgdOptions(folder / "egd", folder / "mimic", masks=False))
            with _timed(images):
                store = prepare(cohort, PrepareOptions(folder / f"store{repeat}", size=SIZE, workers=workers))
            with_masks = egd.read(EgdOptions(folder / "egd", folder / "mimic"))
            with _timed(masked):
                prepare(with_masks, PrepareOptions(folder / f"masked{repeat}", size=SIZE, workers=workers))
            with _timed(straight):
                _straight(cohort.cases["image"].to_list(), folder / f"straight{repeat}.npy")
            assert len(store.cases) == cases, "nothing was planted that could be rejected"
        lines = store.cases.select("rows", "columns").rows()
    both = [a + b for a, b in zip(headers, images, strict=True)]
    stages = {
        "tables and headers": headers,
        "images, and writing the store": images,
        "both": both,
        "images with four masks each, and writing the store": masked,
        "a straight loop over the images": straight,
    }
    ratio = median(straight) / median(images)
    sizes = sorted(set(lines))
    return Result(
        f"Preparing {cases} radiographs with a long side of {pixels} px",
        f"`radgaze prepare egd` on a phantom ({megabytes:.0f} MB of DICOM, {len(sizes)} image sizes from "
        f"{_by(min(sizes, key=_area))} to {_by(max(sizes, key=_area))}), stored at {SIZE} px.",
        [_row(stage, seconds, cases) for stage, seconds in stages.items()],
        {"cases": cases, "repeats": repeats, "workers": workers or "one per core"},
        [
            *notes,
            f"A straight loop (pydicom, its VOI LUT, Pillow's resize, one process) takes {ratio:.2f} times "
            "as long as the images here, of which starting the worker processes takes about a second.",
            "The files had just been written, so they came from the page cache and not from the disk.",
        ],
    )


def _straight(paths: list[str], out: Path) -> None:
    """Prepare as a plain script would: no workers, checks, hashes or journal."""
    import numpy as np
    from PIL import Image
    from pydicom import dcmread
    from pydicom.pixels import apply_voi_lut

    squares = []
    for path in paths:
        file = dcmread(path)
        values = np.asarray(apply_voi_lut(file.pixel_array, file), dtype=np.float32)
        values = (values - values.min()) / max(float(np.ptp(values)), 1.0)
        image = Image.fromarray(values)
        scale = SIZE / max(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        square, small = (
            np.zeros((SIZE, SIZE), np.uint8),
            np.asarray(image.resize(size, Image.Resampling.BICUBIC)),
        )
        square[: small.shape[0], : small.shape[1]] = np.clip(small * 255, 0, 255).astype(np.uint8)
        squares.append(square)
    np.save(out, np.stack(squares))


def _row(stage: str, seconds: list[float], cases: int) -> dict[str, Cell]:
    return {
        "stage": stage,
        "seconds (median)": median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "images/s": cases / median(seconds),
    }


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _by(size: tuple[int, int]) -> str:
    rows, columns = size
    return f"{columns}×{rows}"


@contextmanager
def _timed(into: list[float]) -> Iterator[list[float]]:
    """Append the seconds that the block takes."""
    start = perf_counter()
    yield into
    into.append(perf_counter() - start)
