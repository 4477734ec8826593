"""Simulation of one case: draw the patient, expose, burn the marker, simulate the reading, write files."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from radgaze.simulation.anatomy import Pose, Shape, Thorax
from radgaze.simulation.dicom import spoil, write_image
from radgaze.simulation.dictation import Dictated, dictate_reading
from radgaze.simulation.disease import Findings, regions
from radgaze.simulation.exposure import expose, lesion, path_and_disease
from radgaze.simulation.gaze import Pads, Region, Scan, read
from radgaze.simulation.kinds import CLASSES
from radgaze.simulation.overlay import Box
from radgaze.simulation.plan import STREAM_GAZE, STREAM_PATIENT, STREAM_READER, STREAM_STUDY, Case, stream
from radgaze.simulation.readers import IDEAL, Readers, as_recorded
from radgaze.simulation.samples import log_samples
from radgaze.simulation.scene import Rendered, Scene
from radgaze.simulation.twins import Twin, twins_of, write_masks
from radgaze.simulation.wording import describe, dictate

MISSING = ("missing_image", "gaze_without_case")
"""Faults of cases without an image file."""


@dataclass(frozen=True)
class Slot:
    """The time at which a case is read.

    Attributes:
        session: Name of the session.
        media: Position in the session.
        clock: Time of the tracker's clock, in seconds.
        calibration: MEDIA_ID of the calibration frame shown before the image; None for none.
    """

    session: str
    media: int
    clock: float
    calibration: int | None = None


@dataclass(frozen=True)
class Made:
    """Data of a case apart from its image: rows of the tables, CSV lines of the two gaze tables, and numbers
    of fixations on and off the image."""

    case: Case
    master: dict[str, object]
    boxes: list[tuple[object, ...]]
    truth: list[tuple[object, ...]]
    samples: bytes
    fixations: bytes
    on_image: int
    off_image: int
    dictated: Dictated | None = None
    twins: tuple[Twin, ...] = ()


@dataclass(frozen=True)
class Making:
    """How cases are made.

    Attributes:
        seed: Random seed of the data set.
        pixels: Long side of the images, in pixels.
        egd: Folder of egd-cxr.
        mimic: Folder of MIMIC-CXR.
        reflacx: Folder of the archive of dictated readings, which cases with a fault do not have; None for
            none.
        truth: Folder of the true masks; None for none.
        twins: Whether test images have twins.
        readers: Quality of the gaze.
    """

    seed: int
    pixels: int
    egd: Path
    mimic: Path
    reflacx: Path | None = None
    truth: Path | None = None
    twins: bool = False
    readers: Readers = IDEAL


def make_case(case: Case, slot: Slot | None, making: Making) -> Made:
    """Make one case and write its files, which depend only on the case and on how cases are made.

    Args:
        case: The case.
        slot: Time at which it is read; None where it is not read.
        making: How cases are made.
    """
    seed = making.seed
    patient = stream(seed, STREAM_PATIENT, case.patient)
    rng = stream(seed, STREAM_STUDY, case.patient, case.study)
    thorax = Thorax.draw(patient)
    age = int(np.clip(patient.normal(66 if case.diagnosis != "Normal" else 52, 14), 20, 94)) // 10 * 10
    pose = Pose.draw(rng, thorax, making.pixels)
    findings = Findings.draw(rng, case.diagnosis, thorax, pose)
    shape = Shape(thorax, pose, findings.ratio)
    abnormal = regions(findings, shape)
    path, disease = path_and_disease(shape, findings, rng)
    scene = Scene(expose(path, rng), shape, case, seed, rng.uniform(0, 0.03, 2))
    image = scene.render(case.variants)
    sex = "F" if thorax.female else "M"
    twins = _write_images(scene, image, sex, rng, making)
    if making.truth is not None and case.fault not in MISSING:
        heart = any(name == "heart" for name, *_ in abnormal)
        masks = {"lesion": lesion(disease, shape, heart=heart), **image.masks}
        write_masks(making.truth / case.dicom_id, masks)

    pads = Pads.of(pose.width, pose.height)
    reading = _read(case, slot, making, shape, abnormal, image.boxes)
    folder = making.egd / "audio_segmentation_transcripts" / case.dicom_id
    if slot is not None and case.fault != "gaze_without_case":
        _write_regions(folder, shape)
        transcript = json.dumps(dictate(case.diagnosis, findings, reading.seconds), indent=1)
        (folder / "transcript.json").write_text(transcript, encoding="utf-8")

    row = {
        "dicom_id": case.dicom_id,
        "path": case.path,
        "study_id": case.study_id,
        "patient_id": case.patient_id,
        "stay_id": case.stay_id,
        "gender": sex,
        "anchor_age": f"{age} - {age + 10}",
        "image_top_pad": pads.top,
        "image_bottom_pad": pads.bottom,
        "image_left_pad": pads.left,
        "image_right_pad": pads.right,
        **{name: int(name == case.diagnosis) for name in CLASSES},
        **describe(case.diagnosis, findings, rng),
    }
    if case.fault == "no_label":
        row |= dict.fromkeys(CLASSES, case.index % 2)  # none of the three, or all of them
    boxes = [
        (case.dicom_id, name, *(round(value) for value in (x1, x2, y1, y2)))
        for name, (x1, y1, x2, y2) in ((name, _to_image(pose, *box)) for name, box in shape.boxes().items())
    ]
    truth = _truth(case, findings, pose, abnormal, image.boxes)
    if making.truth is not None:
        others = (variant for kind, variant in case.confounders if kind != "marker")
        more = (*others, int(reading.search_only))
        truth = [(*each, *more) for each in truth]
    dictated = None
    if making.reflacx is not None and case.fault is None:
        dictated = dictate_reading(case, shape, abnormal, seed=seed, folder=making.reflacx)
    counts = reading.on_image, reading.off_image
    return Made(case, row, boxes, truth, reading.samples, reading.fixations, *counts, dictated, twins)


def _write_images(
    scene: Scene, image: Rendered, sex: str, rng: np.random.Generator, making: Making
) -> tuple[Twin, ...]:
    """Write the image of a case and those of its twins; return the twins."""
    case, pose = scene.case, scene.shape.pose
    if case.fault in MISSING:
        return ()
    before = deepcopy(rng)  # twins are written with the same draws
    path = making.mimic / case.path
    write_image(path, image.pixels, case, pose, sex, rng, image.shown if case.confounders else None)
    if case.fault == "unreadable_image":
        spoil(path, case.index)
    if not (making.twins and case.split == "test" and case.fault in (None, "duplicate_case")):
        return ()
    twins = twins_of(case, making.seed)
    for twin in twins:
        other = scene.render(twin.variants)
        shown = other.shown if case.confounders else image.pixels
        write_image(
            making.mimic / twin.case.path, other.pixels, twin.case, pose, sex, deepcopy(before), shown
        )
        if making.truth is not None and twin.kind in other.masks:
            write_masks(making.truth / twin.case.dicom_id, {twin.kind: other.masks[twin.kind]})
    return twins


def _truth(
    case: Case, findings: Findings, pose: Pose, abnormal: Sequence[Region], confounders: Mapping[str, Box]
) -> list[tuple[object, ...]]:
    """Make the rows of truth.csv: each confounder and each abnormal region, in pixels of the image."""
    seen = sorted(confounders.items(), key=lambda each: each[0] != "marker")
    seen += [(name, _to_image(pose, *box)) for name, *box in abnormal]
    severity, ratio = round(findings.severity, 4), round(findings.ratio, 4)
    about = (case.dicom_id, case.diagnosis, case.split, severity, ratio, case.marker)
    return [(*about, name, *(round(value, 1) for value in box)) for name, box in seen]


@dataclass(frozen=True)
class Reading:
    """The gaze of a case.

    Attributes:
        samples, fixations: CSV lines of both tables of gaze.
        on_image, off_image: Numbers of fixations.
        seconds: Duration.
        search_only: Whether the reader searched, but did not dwell on the abnormality.
    """

    samples: bytes = b""
    fixations: bytes = b""
    on_image: int = 0
    off_image: int = 0
    seconds: float = 0.0
    search_only: bool = False


def _read(
    case: Case,
    slot: Slot | None,
    making: Making,
    shape: Shape,
    abnormal: Sequence[Region],
    confounders: Mapping[str, Box],
) -> Reading:
    """Simulate the reading of a case; an empty one where it is not read."""
    if slot is None:
        return Reading()
    readers, pads = making.readers, Pads.of(shape.pose.width, shape.pose.height)
    rng, manner = stream(making.seed, STREAM_GAZE, case.index), stream(making.seed, STREAM_READER, case.index)
    frames = []
    if slot.calibration is not None:
        frames.append(_calibration(case, slot.session, slot.calibration, slot.clock - 10, pads, rng))
    search_only = bool(manner.random() < readers.search_only) and len(abnormal) > 0
    marker = confounders["marker"] if readers.avoids_marker else None
    scan = read(shape, () if search_only else abnormal, marker, rng)
    if readers != IDEAL:
        glanced = [confounders[kind] for kind in ("marker", "device") if kind in confounders]
        scan = as_recorded(scan, readers, glanced, pads, manner)
    if case.fault == "no_gaze":  # gaze was recorded, but never on the image
        scan = replace(scan, x=np.full_like(scan.x, -0.02), y=np.full_like(scan.y, 0.5))
    samples = log_samples(
        scan, pads, session=slot.session, media=slot.media, dicom_id=case.dicom_id, start=slot.clock, rng=rng
    )
    frames.append(samples)
    lines = [b"".join(_csv(frame[table]) for frame in frames) for table in (0, 1)]
    x, y = (samples[1][f"{axis}_ORIGINAL"] for axis in "XY")
    # An odd side is shown with a row or column of padding, of which a position is not on the image.
    off = int(((x < 0) | (x >= shape.pose.width) | (y >= shape.pose.height)).sum())
    return Reading(lines[0], lines[1], len(samples[1]) - off, off, len(samples[0]) / 60, search_only)


def _calibration(
    case: Case, session: str, media: int, clock: float, pads: Pads, rng: np.random.Generator
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Gaze on a calibration frame: at the centre of the screen, with the first 39 characters of a real id."""
    x, y = rng.normal(0.5, 0.012, (2, 5))
    scan = Scan(x, y, rng.uniform(0.3, 0.9, 5), np.full(5, 0.03))
    return log_samples(
        scan, pads, session=session, media=media, dicom_id=case.dicom_id[:39], start=clock, rng=rng
    )


def _csv(table: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    table.write_csv(out, include_header=False, float_precision=5)
    return out.getvalue()


def _to_image(pose: Pose, u1: float, v1: float, u2: float, v2: float) -> Box:
    """Axis-aligned box on the image, in pixels, of a box in the patient's frame, clipped to the image."""
    x, y = pose.to_pixels([(u1 + u2) / 2] * 2, [(v1 + v2) / 2] * 2)
    half_x, half_y = (u2 - u1) / 2 * pose.scale, (v2 - v1) / 2 * pose.scale
    left, right = np.clip([x[0] - half_x, x[0] + half_x], 0, pose.width)
    top, bottom = np.clip([y[0] - half_y, y[0] + half_y], 0, pose.height)
    return float(left), float(top), float(right), float(bottom)


def _write_regions(folder: Path, shape: Shape) -> None:
    """Write the four segmentations of the data set as PNGs of the size of the image, without the tilt."""
    folder.mkdir(parents=True, exist_ok=True)
    u, v = shape.grids()
    u, v = u[:, ::4], v[::4]
    air = shape.lungs(u, v) > 12
    masks = {
        "left_lung": air & (u > 0),
        "right_lung": air & (u < 0),
        "mediastanum": ~air & (np.abs(u) < 0.55 * shape.w) & (v > -10) & (v < shape.h + 16),
        "aortic_knob": ~air & (u > 8) & (u < 60) & (np.abs(v - 0.24 * shape.h) < 0.085 * shape.h),
    }
    for name, mask in masks.items():
        image = Image.fromarray(mask.astype(np.uint8) * 255)
        image = image.resize((shape.pose.width, shape.pose.height), Image.Resampling.NEAREST)
        image.save(folder / f"{name}.png", compress_level=1)
