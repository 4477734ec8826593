"""Simulation of an archive: plan the cases, make them in parallel, and write the tables of egd-cxr 1.0.0."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypedDict

from joblib import Parallel, cpu_count, delayed

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.files import write_text
from radgaze.simulation import dictation
from radgaze.simulation.dictation import write_rows
from radgaze.simulation.options import SimulationOptions
from radgaze.simulation.plan import CLASSES, STREAM_SESSION, Case, plan_cases, stream
from radgaze.simulation.study import Made, Slot, make_case
from radgaze.simulation.tables import BOXES, GAZE, MASTER, TRUTH
from radgaze.sources.reflacx.files import ABOUT

SESSION = 30
CALIBRATION_EVERY = 20
"""Number of images in a session, and of images between two calibration frames."""


MOST = 256
"""Maximum number of processes; more would not be faster, and may fail to start."""


class Counts(TypedDict):
    """Numbers that reading the archive must result in: accepted cases, and rejections by reason."""

    cases: int
    readings: int
    fixations: int
    regions: int
    rejections: dict[str, int]


class Planted(TypedDict):
    """Content of planted.json.

    Attributes:
        seed: Random seed.
        parameters: The other options that change the data set.
        counts: Numbers of cases, readings, fixations and rejections.
    """

    seed: int
    parameters: dict[str, object]
    counts: Counts


def simulate(options: SimulationOptions) -> Planted:
    """Write a simulated data set to `options.out`, in the layout of the real archives.

    Returns:
        The content of planted.json.

    Raises:
        UserError: The folder is not empty.
    """
    out, seed, pixels = Path(options.out), options.seed, options.pixels
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; name a new one")
    egd, mimic = out / "egd", out / "mimic"
    egd.mkdir(parents=True, exist_ok=True)
    mimic.mkdir(exist_ok=True)
    cases = plan_cases(options)
    slots = _sessions(cases, seed)
    order = sorted(cases, key=lambda case: _reading_order(slots.get(case.index), case))
    reflacx = out / "reflacx" if options.reflacx else None
    make = partial(make_case, seed=seed, pixels=pixels, egd=egd, mimic=mimic, reflacx=reflacx)
    jobs = (delayed(make)(case, slots.get(case.index)) for case in order)
    workers = min(options.workers or cpu_count(), MOST)
    results = iter(Parallel(n_jobs=workers, return_as="generator", batch_size=4)(jobs))
    made = _write_gaze(egd, results, len(cases))
    made.sort(key=lambda one: one.case.index)
    _write_tables(out, made)
    if reflacx is not None:
        _write_dictated(out, reflacx, made)
    names = ("patients", "pixels", "confounding", "two_studies", "faults")
    planted: Planted = {
        "seed": seed,
        "parameters": {name: getattr(options, name) for name in names},
        "counts": _count(made, slots),
    }
    write_text(json.dumps(planted, indent=2) + "\n", out / "planted.json")
    return planted


def _sessions(cases: Sequence[Case], seed: int) -> dict[int, Slot]:
    """Slot in which each case is read, by its index; every second case without gaze has none."""
    silent = [case.index for case in cases if case.fault == "no_gaze"][::2]
    read = [case.index for case in cases if case.index not in silent]
    rng = stream(seed, STREAM_SESSION)
    rng.shuffle(read)
    slots, media = {}, 0
    for place, index in enumerate(read):
        session = f"s{place // SESSION + 1:02d}"
        media = 0 if place % SESSION == 0 else media
        calibration = None
        if place % CALIBRATION_EVERY == 0:
            media += 1
            calibration = media
        media += 1
        slots[index] = Slot(session, media, 120.0 * media + 10, calibration)
    return slots


def _reading_order(slot: Slot | None, case: Case) -> tuple[str, int]:
    return (slot.session, slot.media) if slot else ("~", case.index)


def _write_gaze(egd: Path, results: Iterable[Made], total: int) -> list[Made]:
    """Write both gaze tables in the order of reading, while the cases are made; return the cases."""
    header = (",".join(GAZE) + "\n").encode()
    made = []
    with (
        (egd / "eye_gaze.csv").open("wb") as samples,
        (egd / "fixations.csv").open("wb") as fixations,
        progress("Making radiographs", total) as bar,
    ):
        samples.write(header)
        fixations.write(header)
        for one in results:
            samples.write(one.samples)
            fixations.write(one.fixations)
            made.append(one)
            bar.advance()
    return made


def _write_tables(out: Path, made: Sequence[Made]) -> None:
    egd = out / "egd"
    listed = [one for one in made if one.case.fault != "gaze_without_case"]
    rows = [
        [one.master[name] for name in MASTER]
        for one in listed
        for _ in range(2 if one.case.fault == "duplicate_case" else 1)
    ]
    _write(egd / "master_sheet.csv", MASTER, rows)
    _write(egd / "bounding_boxes.csv", BOXES, [box for one in listed for box in one.boxes])
    _write(out / "truth.csv", TRUTH, [row for one in listed for row in one.truth])
    criteria = [name for name in MASTER if not name.startswith("image_") and name not in CLASSES]
    for diagnosis, name in (("CHF", "CHF"), ("Normal", "normals"), ("pneumonia", "pneumonia")):
        chosen = [[one.master[key] for key in criteria] for one in listed if one.case.diagnosis == diagnosis]
        _write(egd / "inclusion_exclusion_criteria_outputs" / f"{name}.csv", criteria, chosen)


def _write_dictated(out: Path, reflacx: Path, made: Sequence[Made]) -> None:
    """Write the metadata of the dictated readings, and the true finding of each fixation that has one."""
    dictated = [one.dictated for one in made if one.dictated is not None]
    metadata = reflacx / "main_data" / "metadata_phase_3.csv"
    write_rows(metadata, (*ABOUT, *dictation.COLUMNS), [one.metadata for one in dictated])
    _write(out / "truth_reflacx.csv", dictation.TRUTH, [row for one in dictated for row in one.truth])


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _count(made: Sequence[Made], slots: dict[int, Slot]) -> Counts:
    accepted = [one for one in made if one.case.fault in (None, "duplicate_case")]
    rejections = Counter(one.case.fault for one in made if one.case.fault)
    rejections["calibration_frame"] = sum(slot.calibration is not None for slot in slots.values())
    rejections["off_image_fixation"] = sum(one.off_image for one in accepted)
    return {
        "cases": len(accepted),
        "readings": len(accepted),
        "fixations": sum(one.on_image for one in accepted),
        "regions": 4 * len(accepted),
        "rejections": {reason: count for reason, count in sorted(rejections.items()) if count},
    }
