"""Simulation of an archive: plan the cases, make them in parallel, and write the tables of egd-cxr 1.0.0."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NotRequired, TypedDict

from joblib import Parallel, cpu_count, delayed

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.files import write_text
from radgaze.simulation import dictation
from radgaze.simulation.dictation import write_rows
from radgaze.simulation.kinds import CLASSES
from radgaze.simulation.options import SimulationOptions
from radgaze.simulation.plan import STREAM_SESSION, STREAM_TEST, Case, plan_cases, stream
from radgaze.simulation.readers import IDEAL
from radgaze.simulation.study import Made, Making, Slot, make_case
from radgaze.simulation.tables import BOXES, GAZE, MASTER, SPLIT, TRUTH, TWINS
from radgaze.simulation.twins import Twin
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
    twins: NotRequired[int]


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
    # absolute, since joblib keeps its processes, in the directory where they were started
    out, seed = Path(options.out).absolute(), options.seed
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{options.out} exists and is not an empty folder; name a new one")
    making = _making(options, out)
    cases = plan_cases(options)
    for folder in (making.egd, making.mimic):
        folder.mkdir(parents=True, exist_ok=True)
    slots = _sessions([case for case in cases if not case.added], seed)
    slots |= _sessions([case for case in cases if case.added], seed, STREAM_TEST, first=len(slots))
    order = sorted(cases, key=lambda case: _reading_order(slots.get(case.index), case))
    jobs = (delayed(make_case)(case, slots.get(case.index), making) for case in order)
    workers = min(options.workers or cpu_count(), MOST)
    results = iter(Parallel(n_jobs=workers, return_as="generator", batch_size=4)(jobs))
    made = _write_gaze(making.egd, results, len(cases))
    made.sort(key=lambda one: one.case.index)
    _write_tables(out, made, options)
    if making.reflacx is not None:
        _write_dictated(out, making.reflacx, made)
    planted: Planted = {
        "seed": seed,
        "parameters": _parameters(options),
        "counts": _count(made, slots),
    }
    write_text(json.dumps(planted, indent=2) + "\n", out / "planted.json")
    return planted


def _making(options: SimulationOptions, out: Path) -> Making:
    """How the cases are made, with true masks where there is more than the marker of `confounding`."""
    return Making(
        seed=options.seed,
        pixels=options.pixels,
        egd=out / "egd",
        mimic=out / "mimic",
        reflacx=out / "reflacx" if options.reflacx else None,
        truth=out / "truth" if _has_more_truth(options) else None,
        twins=options.twins,
        readers=options.quality,
    )


def _has_more_truth(options: SimulationOptions) -> bool:
    return bool(options.confounder) or options.twins or options.quality != IDEAL


def _parameters(options: SimulationOptions) -> dict[str, object]:
    """The options that change the data set; later ones only where they differ from their defaults."""
    names = ("patients", "pixels", "confounding", "two_studies", "faults")
    parameters = {name: getattr(options, name) for name in names}
    if options.confounder:
        parameters["confounder"] = options.strengths
    if options.quality != IDEAL:
        parameters["readers"] = asdict(options.quality)
    if options.test_patients is not None:
        parameters["test_patients"] = options.test_patients
    if options.twins:
        parameters["twins"] = True
    return parameters


def _sessions(cases: Sequence[Case], seed: int, *key: int, first: int = 0) -> dict[int, Slot]:
    """Slot in which each case is read, by its index; every second case without gaze has none.

    The first session is the one after those of `first` cases.
    """
    silent = [case.index for case in cases if case.fault == "no_gaze"][::2]
    read = [case.index for case in cases if case.index not in silent]
    rng = stream(seed, STREAM_SESSION, *key)
    begun = -(-first // SESSION)
    rng.shuffle(read)
    slots, media = {}, 0
    for place, index in enumerate(read):
        session = f"s{begun + place // SESSION + 1:02d}"
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


def _write_tables(out: Path, made: Sequence[Made], options: SimulationOptions) -> None:
    egd = out / "egd"
    listed = [one for one in made if one.case.fault != "gaze_without_case"]
    rows = [
        [one.master[name] for name in MASTER]
        for one in listed
        for _ in range(2 if one.case.fault == "duplicate_case" else 1)
    ]
    _write(egd / "master_sheet.csv", MASTER, rows)
    _write(egd / "bounding_boxes.csv", BOXES, [box for one in listed for box in one.boxes])
    kinds = [kind for kind in options.strengths if kind != "marker"]
    columns = (*TRUTH, *kinds, "search_only") if _has_more_truth(options) else TRUTH
    _write(out / "truth.csv", columns, [row for one in listed for row in one.truth])
    if options.twins:
        _write(egd / "twins.csv", TWINS, [_twin_row(twin) for one in listed for twin in one.twins])
    if options.test_patients is not None:
        splits = dict.fromkeys((one.case.patient_id, one.case.split) for one in listed)
        _write(egd / "split.csv", SPLIT, splits)
    criteria = [name for name in MASTER if not name.startswith("image_") and name not in CLASSES]
    for diagnosis, name in (("CHF", "CHF"), ("Normal", "normals"), ("pneumonia", "pneumonia")):
        chosen = [[one.master[key] for key in criteria] for one in listed if one.case.diagnosis == diagnosis]
        _write(egd / "inclusion_exclusion_criteria_outputs" / f"{name}.csv", criteria, chosen)


def _twin_row(twin: Twin) -> tuple[object, ...]:
    """Row of twins.csv."""
    shows = "" if twin.shows is None else twin.shows
    return twin.case.dicom_id, twin.twin_of, twin.case.path, twin.kind, shows, twin.original_shows


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
    counts: Counts = {
        "cases": len(accepted),
        "readings": len(accepted),
        "fixations": sum(one.on_image for one in accepted),
        "regions": 4 * len(accepted),
        "rejections": {reason: count for reason, count in sorted(rejections.items()) if count},
    }
    if twins := sum(len(one.twins) for one in accepted):
        counts["twins"] = twins
    return counts
