"""The archive: plan, make every case (in parallel), and write the tables of egd-cxr 1.0.0 around them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from joblib import Parallel, cpu_count, delayed

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.files import write_text
from radgaze.simulation.plan import CLASSES, STREAM_SESSION, Case, plan_cases, stream
from radgaze.simulation.study import Made, Slot, make_case
from radgaze.simulation.tables import BOXES, GAZE, MASTER, TRUTH

SESSION = 30
CALIBRATION_EVERY = 20
"""Images in a session, and images between two calibration frames."""


MOST = 256
"""Processes; more would not help, and may not start."""


def simulate(
    out: Path | str,
    *,
    patients: int = 400,
    seed: int = 7,
    pixels: int = 1024,
    confounding: float = 0.0,
    two_studies: float = 0.07,
    faults: bool = True,
    workers: int | None = None,
) -> dict[str, Any]:
    """Write a phantom study to `out`, in the layout of the real archives; return what planted.json says.

    Args:
        out: Folder, new or empty.
        patients: Number of patients, at least 6.
        seed: Of everything; the same seed gives the same bytes, whatever the number of workers.
        pixels: Long side of the images, at least 64; real ones have about 3056.
        confounding: 0 … 1, how strongly a burnt-in marker follows the class in training and validation
            patients (in test patients it never does).
        two_studies: Share of the patients who come twice.
        faults: Whether rejects are planted (missing images, duplicate rows, …).
        workers: Processes; None takes every processor.

    Raises:
        UserError: A value out of range, or `out` not empty.
    """
    out = Path(out)
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: at least 1 is needed")
    _check(out, patients, pixels, confounding, two_studies)
    egd, mimic = out / "egd", out / "mimic"
    egd.mkdir(parents=True, exist_ok=True)
    mimic.mkdir(exist_ok=True)
    cases = plan_cases(
        patients=patients, seed=seed, confounding=confounding, two_studies=two_studies, faults=faults
    )
    slots = _sessions(cases, seed)
    order = sorted(cases, key=lambda case: _reading_order(slots.get(case.index), case))
    results = _make(order, slots, workers, seed=seed, pixels=pixels, egd=egd, mimic=mimic)
    made = _write_gaze(egd, results, len(cases))
    made.sort(key=lambda one: one.case.index)
    _write_tables(out, made)
    planted = {
        "seed": seed,
        "parameters": {
            "patients": patients,
            "pixels": pixels,
            "confounding": confounding,
            "two_studies": two_studies,
            "faults": faults,
        },
        "counts": _count(made, slots),
    }
    write_text(json.dumps(planted, indent=2) + "\n", out / "planted.json")
    return planted


def _check(out: Path, patients: int, pixels: int, confounding: float, two_studies: float) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; name a new one")
    if patients < 6:
        raise UserError(f"--patients {patients}: at least 6 are needed, for three classes and three splits")
    if pixels < 64:
        raise UserError(f"--pixels {pixels}: at least 64 are needed to draw a chest")
    for name, value in (("confounding", confounding), ("two-studies", two_studies)):
        if not 0 <= value <= 1:
            raise UserError(f"--{name} {value}: must lie between 0 and 1")


def _sessions(cases: Sequence[Case], seed: int) -> dict[int, Slot]:
    """When each case is read; every second one of those without gaze is not read at all."""
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


def _reading_order(slot: Slot | None, case: Case) -> tuple[Any, ...]:
    return (slot.session, slot.media) if slot else ("~", case.index)


def _make(
    order: Iterable[Case], slots: dict[int, Slot], workers: int | None, **settings: Any
) -> Iterator[Made]:
    jobs = (delayed(make_case)(case, slots.get(case.index), **settings) for case in order)
    count = workers if workers is not None else cpu_count()
    return iter(Parallel(n_jobs=min(count, MOST), return_as="generator", batch_size=4)(jobs))


def _write_gaze(egd: Path, results: Iterable[Made], total: int) -> list[Made]:
    """Write both gaze tables as the cases come, in the order of reading; return the cases."""
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


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _count(made: Sequence[Made], slots: dict[int, Slot]) -> dict[str, Any]:
    """What a reader of the archive must find: cases kept, and things rejected by reason."""
    kept = [one for one in made if one.case.fault in (None, "duplicate_case")]
    rejections = Counter(one.case.fault for one in made if one.case.fault)
    rejections["calibration_frame"] = sum(slot.calibration is not None for slot in slots.values())
    rejections["off_image_fixation"] = sum(one.off_image for one in kept)
    return {
        "cases": len(kept),
        "readings": len(kept),
        "fixations": sum(one.on_image for one in kept),
        "regions": 4 * len(kept),
        "rejections": {reason: count for reason, count in sorted(rejections.items()) if count},
    }
