"""A tiny REFLACX and MIMIC-CXR tree, with every trap of the real one: CRLF, phases that name findings
differently, five readers of one image, patients in two splits, discarded and blank gaze, positions off the
image, a zoomed view.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.store.cohorts import write_dicom

ROWS, COLUMNS = 120, 90
ABOUT = (
    "id",
    "split",
    "eye_tracking_data_discarded",
    "image",
    "dicom_id",
    "subject_id",
    "image_size_x",
    "image_size_y",
)
PHASE_1 = ("Atelectasis", "Consolidation", "Mass", "Nodule", "Other", "Pleural effusion", "Support devices")
PHASE_2 = (
    "Atelectasis",
    "Consolidation",
    "Lung nodule or mass",
    "Other",
    "Pleural abnormality",
    "Support devices",
)
ONE, TWO, THREE, LOST, SMALL, UNSEEN = ("d-one", "d-two", "d-three", "d-lost", "d-small", "d-unseen")
SUBJECTS = {ONE: 101, TWO: 102, THREE: 101, LOST: 103, SMALL: 104, UNSEEN: 105}

# phase, id, split, discarded, image, labels in the order of the phase
READINGS: tuple[tuple[int, str, str, str, str, tuple[object, ...]], ...] = (
    (1, "P101R000001", "train", "False", ONE, (4, 0, 0, 3, "", 0, "True")),
    (1, "P102R000002", "train", "False", ONE, (3, 1, 0, 0, "hernia|clip", 0, "False")),
    (1, "P103R000003", "train", "False", ONE, (0, 2, 5, 0, "", 2, "False")),
    (1, "P104R000004", "train", "True", ONE, (2, 0, 0, 0, "", 0, "False")),
    (1, "P101R000005", "validate", "False", TWO, (0, 5, 0, 0, "", 3, "False")),
    (2, "P201R000006", "validate", "False", TWO, (0, 5, 0, "", 0, "False")),
    (3, "P300R000007", "test", "False", THREE, (0, 0, 4, "", 0, "False")),
    (3, "P300R000008", "train", "False", LOST, (5, 0, 0, "", 0, "False")),
    (3, "P300R000009", "train", "False", SMALL, (5, 0, 0, "", 0, "False")),
    (3, "P300R000010", "train", "True", UNSEEN, (0, 0, 0, "", 5, "False")),
)
Look = tuple[float, float, float | str, float | str, float | str, float | str, tuple[int, int, int, int]]
WHOLE = (0, 0, COLUMNS, ROWS)
# start, end, x, y, degree x, degree y, and what is shown
GAZE: dict[str, tuple[Look, ...]] = {
    "P101R000001": (
        (0.5, 0.9, 30.5, 40.25, 10, 12, WHOLE),
        (0.1, 0.4, 20, 30, 10, 12, WHOLE),
        (1.0, 1.2, -4, 30, 10, 12, WHOLE),
        (1.3, 1.5, "", "", 10, 12, WHOLE),
        (1.6, 2.0, 60, 70, 20, 24, (40, 50, 85, 110)),
    ),
    "P102R000002": ((0.2, 0.5, 25, 35, 10, 12, WHOLE), (0.6, 0.7, 200, 35, 10, 12, WHOLE)),
    "P103R000003": ((0.2, 0.8, 28, 33, 10, 12, WHOLE),),
    "P104R000004": ((0.2, 0.8, 28, 33, 10, 12, WHOLE),),
    "P101R000005": ((0.0, 0.8, 45, 60, 9, 9, WHOLE), (0.9, 1.1, 50, 60, "", "", WHOLE)),
    "P201R000006": ((0.0, 0.3, 44, 61, 9, 9, WHOLE),),
    "P300R000007": ((0.0, 0.3, 10, 110, 9, 9, WHOLE),),
    "P300R000008": ((0.0, 0.3, 10, 110, 9, 9, WHOLE),),
    "P300R000009": ((0.0, 0.3, 10, 110, 9, 9, WHOLE),),
}
# xmin, ymin, xmax, ymax, certainty, findings that it marks
ELLIPSES: dict[str, tuple[tuple[int, int, int, int, int, tuple[str, ...]], ...]] = {
    "P101R000001": ((10, 20, 40, 60, 4, ("Atelectasis",)), (5, 5, 15, 15, 3, ("Nodule",))),
    "P102R000002": ((12, 22, 42, 62, 2, ("Atelectasis",)),),
    "P103R000003": ((30, 30, 50, 50, 5, ("Mass", "Nodule")),),
    "P104R000004": ((-20, -20, -5, -5, 5, ("Atelectasis",)), (8, 8, 9, 9, 5, ("Support devices",))),
    "P300R000007": ((80, 100, 100, 130, 4, ("Lung nodule or mass",)),),
    "P300R000010": ((1, 2, 30, 40, 5, ("Pleural abnormality",)),),
}
CHESTS = {"P101R000001": (5, 6, 80, 110), "P300R000010": (4, 4, 85, 115)}

GAZE_HEADER = (
    "timestamp_start_fixation,timestamp_end_fixation,x_position,y_position,pupil_area_normalized,"
    "angular_resolution_x_pixels_per_degree,angular_resolution_y_pixels_per_degree,window_width,window_level,"
    "xmin_shown_from_image,ymin_shown_from_image,xmax_shown_from_image,ymax_shown_from_image,"
    "xmin_in_screen_coordinates,ymin_in_screen_coordinates,xmax_in_screen_coordinates,ymax_in_screen_coordinates"
)


def path_of(case: str, subject: int) -> str:
    """Below MIMIC-CXR's folder."""
    return f"files/p10/p10000{subject}/s5000/{case}.dcm"


def write_tree(folder: Path, more: int = 0) -> tuple[Path, Path]:
    """Write both archives, with so many more plain readings of phase 3; return their folders."""
    reflacx, mimic = folder / "reflacx", folder / "mimic"
    main = reflacx / "main_data"
    main.mkdir(parents=True)
    readings, subjects, gaze = list(READINGS), dict(SUBJECTS), dict(GAZE)
    for k in range(more):
        case, reading = f"d-more-{k:02}", f"P300R1{k:05}"
        labels = tuple(5 * (k % 3 == place) for place in range(3))
        split = ("train", "train", "validate", "test")[k // 3 % 4]
        readings.append((3, reading, split, "False", case, (*labels, "", 5 * (k % 2), "False")))
        subjects[case] = 200 + k
        gaze[reading] = ((0.1, 0.5, 20 + k, 40, 9, 9, WHOLE), (0.6, 0.8, 40, 60 + k, 9, 9, WHOLE))
    for phase in (1, 2, 3):
        names = PHASE_1 if phase == 1 else PHASE_2
        rows = [
            (
                *(reading, split, gone),
                "physionet.org/files/mimic-cxr/2.0.0/" + path_of(case, subjects[case]),
                *(case, subjects[case], COLUMNS, ROWS, *labels),
            )
            for own, reading, split, gone, case, labels in readings
            if own == phase
        ]
        _write(main / f"metadata_phase_{phase}.csv", (*ABOUT, *names), rows)
        for own, reading, *_ in readings:
            if own == phase:
                _write_reading(main / reading, reading, names, gaze)
    draw = np.random.default_rng(0)
    for case, subject in subjects.items():
        if case != LOST:
            path = mimic / path_of(case, subject)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_dicom(path, draw.random((ROWS // 2, COLUMNS) if case == SMALL else (ROWS, COLUMNS)))
    return reflacx, mimic


def _write_reading(
    folder: Path, reading: str, names: Sequence[str], gaze: dict[str, tuple[Look, ...]]
) -> None:
    folder.mkdir()
    if reading in gaze:
        rows = [
            (start, end, x, y, 1.0, dx, dy, 1500, 600, *shown, 0, 0, 1, 1)
            for start, end, x, y, dx, dy, shown in gaze[reading]
        ]
        _write(folder / "fixations.csv", GAZE_HEADER.split(","), rows)
    findings = [name for name in names if name != "Other"]
    marked = [
        (*corners, certainty, *(name in of for name in findings))
        for *corners, certainty, of in ELLIPSES.get(reading, ())
    ]
    header = ("xmin", "ymin", "xmax", "ymax", "certainty", *findings)
    _write(folder / "anomaly_location_ellipses.csv", header, marked)
    if reading in CHESTS:
        _write(folder / "chest_bounding_box.csv", ("xmin", "ymin", "xmax", "ymax"), [CHESTS[reading]])


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    lines = [",".join(map(str, row)) for row in (header, *rows)]
    path.write_bytes("\r\n".join([*lines, ""]).encode())
