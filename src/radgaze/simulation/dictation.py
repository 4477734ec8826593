"""A dictated reading in the layout of REFLACX 1.0.0: speech and gaze whose timing is known.

The gaze rests on a finding from `LEAD` seconds before the sentence that names it up to the word that does; in
all other times it searches. Which fixation belongs to which finding is therefore known.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radgaze.simulation.anatomy import Pose, Shape
from radgaze.simulation.gaze import Region
from radgaze.simulation.plan import STREAM_DICTATION, Case, stream

LEAD = 1.5
"""Seconds by which the gaze precedes a sentence."""
PAUSE = 2.0
"""Seconds of search between two sentences, before the gaze turns to the next finding."""
FIXATION, SACCADE = 0.26, 0.03
"""Approximate duration of a fixation, and that of the saccade before it, in seconds."""
PER_DEGREE = 1 / 28
"""Image pixels per degree of visual angle, as a share of the image's width."""

LABELS = {
    "opacity": "Consolidation",
    "heart": "Enlarged cardiac silhouette",
    "effusion": "Pleural abnormality",
    "haze": "Pulmonary edema",
}
"""Names of regions, and the findings of REFLACX that they are."""
COLUMNS = (
    "Atelectasis",
    "Consolidation",
    "Enlarged cardiac silhouette",
    "Other",
    "Pleural abnormality",
    "Pneumothorax",
    "Pulmonary edema",
    "Quality issue",
    "Support devices",
)
WORDS = ("word", "timestamp_start_word", "timestamp_end_word")
CORNERS = ("xmin", "ymin", "xmax", "ymax")
SHOWN = tuple(
    f"{name}_{where}" for where in ("shown_from_image", "in_screen_coordinates") for name in CORNERS
)
GAZE = (
    "timestamp_start_fixation",
    "timestamp_end_fixation",
    "x_position",
    "y_position",
    "pupil_area_normalized",
    "angular_resolution_x_pixels_per_degree",
    "angular_resolution_y_pixels_per_degree",
    "window_width",
    "window_level",
    *SHOWN,
)
TRUTH = ("reading_id", "index", "label")

# The word that names the finding ends with a bar.
PRESENT = {
    "Consolidation": (
        "there is a consolidation| in the lung .",
        "focal airspace opacity| is seen with no change since .",
    ),
    "Enlarged cardiac silhouette": (
        "the heart is mildly enlarged| .",
        "enlargement of the cardiac silhouette| with a round contour .",
    ),
    "Pleural abnormality": (
        "there is a pleural effusion| that blunts the angle .",
        "no change of the small pleural effusion| .",
    ),
    "Pulmonary edema": (
        "findings may represent pulmonary edema| of both lungs .",
        "pulmonary edema| is present .",
    ),
}
ABSENT = {
    "Consolidation": "no focal consolidation .",
    "Enlarged cardiac silhouette": "the heart is not enlarged .",
    "Pleural abnormality": "there is no pleural effusion .",
    "Pneumothorax": "pneumothorax is ruled out .",
    "Pulmonary edema": "without pulmonary edema .",
}
NEUTRAL = ("the bones are intact .", "this is a frontal view .")

Row = tuple[object, ...]


@dataclass(frozen=True)
class Dictated:
    """A dictated reading besides its files.

    Attributes:
        metadata: Row of metadata_phase_3.csv.
        truth: Rows of truth_reflacx.csv: the fixations that are on a finding while it is dictated.
    """

    metadata: Row
    truth: list[Row]


@dataclass(frozen=True)
class Look:
    """A time in which the gaze is on one place.

    Attributes:
        begin, end: Times in seconds.
        boxes: Boxes (u1, v1, u2, v2) in mm that it is on.
        label: Finding that it belongs to, or "" while it searches.
    """

    begin: float
    end: float
    boxes: Sequence[Sequence[float]]
    label: str = ""


def dictate_reading(
    case: Case, shape: Shape, abnormal: Sequence[Region], *, seed: int, folder: Path
) -> Dictated:
    """Write a dictated reading of a case; it depends on the seed and the case only.

    Args:
        case: Case that is read.
        shape: Thorax in its pose.
        abnormal: Abnormal regions, see `disease.regions`.
        seed: Random seed of the study.
        folder: Folder of the archive.
    """
    rng = stream(seed, STREAM_DICTATION, case.index)
    pose, reading_id = shape.pose, f"P300R{case.index:06d}"
    places: dict[str, list[Sequence[float]]] = {}
    for name, *box in abnormal:
        places.setdefault(LABELS[name], []).append(box)
    search = [box for name, box in shape.boxes().items() if name.endswith("zone")]
    words, looks = _timeline(_sentences(places, rng), places, search, rng)
    fixations, truth = _fixations(looks, pose, rng)
    files = folder / "main_data" / reading_id
    write_rows(files / "timestamps_transcription.csv", WORDS, words)
    write_rows(files / "fixations.csv", GAZE, fixations)
    marked = [
        (*_on_image(pose, box), 5, *(label == name for name in COLUMNS if name != "Other"))
        for label, boxes in places.items()
        for box in boxes
    ]
    names = [name for name in COLUMNS if name != "Other"]
    write_rows(files / "anomaly_location_ellipses.csv", (*CORNERS, "certainty", *names), marked)
    lungs = np.array([_on_image(pose, box) for box in search])
    chest = (*lungs[:, :2].min(0).tolist(), *lungs[:, 2:].max(0).tolist())
    write_rows(files / "chest_bounding_box.csv", CORNERS, [chest])
    values = {"Other": "", "Quality issue": False, "Support devices": False}
    labels = [values.get(name, 5 * (name in places)) for name in COLUMNS]
    image = f"physionet.org/files/mimic-cxr/2.0.0/{case.path}"
    about = (reading_id, case.split, False, image, case.dicom_id, case.patient_id, pose.width, pose.height)
    return Dictated((*about, *labels), [(reading_id, index, label) for index, label in truth])


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as the archive has it, with CRLF at the ends of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(header)
        writer.writerows(rows)


def _sentences(places: dict[str, list[Sequence[float]]], rng: np.random.Generator) -> list[tuple[str, str]]:
    """Draw the sentences of a report, in their order, each with the finding that it affirms or ""."""
    sentences = []
    for label in places:
        wordings = PRESENT[label]
        chosen = rng.permutation(len(wordings))[: 1 + (rng.random() < 0.4)]
        sentences += [(wordings[i], label) for i in chosen]
    absent = [label for label in ABSENT if label not in places]
    sentences += [(ABSENT[absent[i]], "") for i in rng.permutation(len(absent))[:2]]
    sentences += [(NEUTRAL[int(rng.integers(len(NEUTRAL)))], "")]
    return [sentences[i] for i in rng.permutation(len(sentences))]


def _timeline(
    sentences: Sequence[tuple[str, str]],
    places: dict[str, list[Sequence[float]]],
    search: Sequence[Sequence[float]],
    rng: np.random.Generator,
) -> tuple[list[Row], list[Look]]:
    """Time the words of a report and the gaze, in hundredths of a second."""
    words, looks, now = list[Row](), list[Look](), 0.0
    for text, label in sentences:
        turn = round(now + PAUSE + rng.uniform(0, 1.5), 2)
        looks.append(Look(now, turn, search))
        time = named = round(turn + LEAD, 2)
        for word in text.split():
            end = time if word == "." else round(time + rng.uniform(0.2, 0.45), 2)
            words.append((word.rstrip("|"), time, end))
            named, time = (end if word.endswith("|") else named), end
        looks.append(Look(turn, named if label else time, places.get(label, search), label))
        now = looks[-1].end
        if time > now:
            looks.append(Look(now, time, search))
            now = time
    looks.append(Look(now, round(now + PAUSE, 2), search))
    return words, looks


def _fixations(
    looks: Sequence[Look], pose: Pose, rng: np.random.Generator
) -> tuple[list[Row], list[tuple[int, str]]]:
    """Divide the gaze into fixations; list those that belong to a finding by their index."""
    rows, truth = list[Row](), list[tuple[int, str]]()
    view = (0, 0, pose.width, pose.height)
    for look in looks:
        count = max(1, round((look.end - look.begin) / FIXATION))
        edges = np.round(np.linspace(look.begin, look.end, count + 1), 2)
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            u1, v1, u2, v2 = look.boxes[int(rng.integers(len(look.boxes)))]
            u, v = rng.uniform(0.25, 0.75, 2) * (u2 - u1, v2 - v1) + (u1, v1)
            x, y = (float(value) for value in pose.to_pixels(u, v))
            x, y = float(np.clip(x, 0.5, pose.width - 0.5)), float(np.clip(y, 0.5, pose.height - 0.5))
            if look.label:
                truth.append((len(rows), look.label))
            begin = round(min(start + SACCADE, end - 0.01), 2) if start > look.begin else start
            degree = round(pose.width * PER_DEGREE, 3)
            rows.append((begin, end, round(x, 2), round(y, 2), 1.0, degree, degree, 2000, 1000, *view, *view))
    return rows, truth


def _on_image(pose: Pose, box: Sequence[float]) -> tuple[float, float, float, float]:
    u1, v1, u2, v2 = box
    x, y = pose.to_pixels([u1, u2, u1, u2], [v1, v1, v2, v2])
    return (
        round(float(x.min()), 1),
        round(float(y.min()), 1),
        round(float(x.max()), 1),
        round(float(y.max()), 1),
    )
