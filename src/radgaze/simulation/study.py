"""Simulation of one case: draw the patient, expose, burn the marker, simulate the reading, write files."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from radgaze.simulation.anatomy import Pose, Shape, Thorax
from radgaze.simulation.dicom import spoil, write_image
from radgaze.simulation.dictation import Dictated, dictate_reading
from radgaze.simulation.disease import Findings, regions
from radgaze.simulation.exposure import expose, path_length
from radgaze.simulation.gaze import Pads, Region, Scan, read
from radgaze.simulation.marker import burn
from radgaze.simulation.plan import CLASSES, STREAM_GAZE, STREAM_PATIENT, STREAM_STUDY, Case, stream
from radgaze.simulation.samples import log_samples
from radgaze.simulation.wording import describe, dictate

Box = tuple[float, float, float, float]


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


def make_case(
    case: Case,
    slot: Slot | None,
    *,
    seed: int,
    pixels: int,
    egd: Path,
    mimic: Path,
    reflacx: Path | None = None,
) -> Made:
    """Make one case and write its files, which depend only on the seed, the size and the case.

    Args:
        case: The case.
        slot: Time at which it is read; None where it is not read.
        seed: Random seed of the data set.
        pixels: Long side of the image, in pixels.
        egd: Folder of egd-cxr.
        mimic: Folder of MIMIC-CXR.
        reflacx: Folder of the archive of dictated readings, which cases with a fault do not have; None for
            none.
    """
    patient = stream(seed, STREAM_PATIENT, case.patient)
    rng = stream(seed, STREAM_STUDY, case.patient, case.study)
    thorax = Thorax.draw(patient)
    age = int(np.clip(patient.normal(66 if case.diagnosis != "Normal" else 52, 14), 20, 94)) // 10 * 10
    pose = Pose.draw(rng, thorax, pixels)
    findings = Findings.draw(rng, case.diagnosis, thorax, pose)
    shape = Shape(thorax, pose, findings.ratio)
    abnormal = regions(findings, shape)
    image, marker = burn(expose(path_length(shape, findings, rng), rng), case.marker, rng)
    sex = "F" if thorax.female else "M"
    if case.fault not in ("missing_image", "gaze_without_case"):
        write_image(mimic / case.path, image, case, pose, sex, rng)
        if case.fault == "unreadable_image":
            spoil(mimic / case.path, case.index)

    pads = Pads.of(pose.width, pose.height)
    samples, fixations, on, off, seconds = _read(case, slot, seed, shape, abnormal, marker, pads)
    folder = egd / "audio_segmentation_transcripts" / case.dicom_id
    if slot is not None and case.fault != "gaze_without_case":
        _write_regions(folder, shape)
        transcript = json.dumps(dictate(case.diagnosis, findings, seconds), indent=1)
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
    truth = _truth(case, findings, pose, abnormal, marker)
    dictated = None
    if reflacx is not None and case.fault is None:
        dictated = dictate_reading(case, shape, abnormal, seed=seed, folder=reflacx)
    return Made(case, row, boxes, truth, samples, fixations, on, off, dictated)


def _truth(
    case: Case, findings: Findings, pose: Pose, abnormal: Sequence[Region], marker: Box
) -> list[tuple[object, ...]]:
    """Make the rows of truth.csv: the marker and each abnormal region, in pixels of the image."""
    seen: list[tuple[str, Box]] = [("marker", marker)]
    seen += [(name, _to_image(pose, *box)) for name, *box in abnormal]
    severity, ratio = round(findings.severity, 4), round(findings.ratio, 4)
    about = (case.dicom_id, case.diagnosis, case.split, severity, ratio, case.marker)
    return [(*about, name, *(round(value, 1) for value in box)) for name, box in seen]


def _read(
    case: Case, slot: Slot | None, seed: int, shape: Shape, abnormal: list[Region], marker: Box, pads: Pads
) -> tuple[bytes, bytes, int, int, float]:
    """Samples and fixations as CSV lines, numbers of fixations on and off the image, and duration (s)."""
    if slot is None:
        return b"", b"", 0, 0, 0.0
    rng = stream(seed, STREAM_GAZE, case.index)
    frames = []
    if slot.calibration is not None:
        frames.append(_calibration(case, slot.session, slot.calibration, slot.clock - 10, pads, rng))
    scan = read(shape, abnormal, marker, rng)
    if case.fault == "no_gaze":  # gaze was recorded, but never on the image
        scan = replace(scan, x=np.full_like(scan.x, -0.02), y=np.full_like(scan.y, 0.5))
    samples = log_samples(
        scan, pads, session=slot.session, media=slot.media, dicom_id=case.dicom_id, start=slot.clock, rng=rng
    )
    frames.append(samples)
    lines = [b"".join(_csv(frame[table]) for frame in frames) for table in (0, 1)]
    off = int((samples[1]["X_ORIGINAL"] < 0).sum())
    return lines[0], lines[1], len(samples[1]) - off, off, len(samples[0]) / 60


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
