"""A tiny egd-cxr and MIMIC-CXR tree written by hand, with every trap of the real one."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

ROWS, COLUMNS = 120, 81
"""Of every image; columns are odd, so the source pads them to 82 and positions may lie past the edge."""

SHEET_HEADER = (
    "dicom_id,path,study_id,patient_id,stay_id,gender,anchor_age,image_top_pad,image_bottom_pad,"
    "image_left_pad,image_right_pad,dx1,dx1_icd,normal_reports,Normal,CHF,pneumonia,consolidation,pneumonia__chx,"
    "cxr_exam_indication"
)
GAZE_HEADER = (
    "SESSION_ID,MEDIA_ID,DICOM_ID,CNT,Time (in secs),TIMETICK(f=10000000),FPOGX,FPOGY,FPOGS,FPOGD,FPOGID,"
    "FPOGV,BPOGX,BPOGY,BPOGV,LPCX,LPCY,LPD,LPS,LPV,RPCX,RPCY,RPD,RPS,RPV,BKID,BKDUR,BKPMIN,LPMM,LPMMV,RPMM,RPMMV,"
    "SACCADE_MAG,SACCADE_DIR,VID_FRAME,X_ORIGINAL,Y_ORIGINAL"
)


def ident(name: str) -> str:
    """A 44-character id, recognisable by its first letter."""
    return "-".join(name * 8 for _ in range(5))


SEEN, TWIN, BLANK, BOTH, LOST, UNREAD, ASIDE, BROKEN, STRANGER = (ident(letter) for letter in "abcdefghi")
# SEEN's patient has TWIN too. Each row: id, patient, Normal, CHF, pneumonia.
SHEET: tuple[tuple[str, int, str, str, str], ...] = (
    (SEEN, 12345678, "0", "1", "0"),
    (BLANK, 15800001, "0", "0", ""),
    (BOTH, 15800002, "1", "1", "0"),
    (SEEN, 12345678, "0", "1", "0"),
    (LOST, 15800003, "0", "0", "1"),
    (UNREAD, 15800004, "0", "0", "1"),
    (ASIDE, 15800005, "1", "0", "0"),
    (TWIN, 12345678, "1", "0", "0"),
    (BROKEN, 15800006, "1", "0", "0"),
)
# session, media, id, CNT, FPOGY, FPOGS, FPOGD, X_ORIGINAL, Y_ORIGINAL
GAZE: tuple[tuple[object, ...], ...] = (
    ("s1", 1, SEEN[:39], 10, 0.5, 0.0, 0.4, 40, 60),
    ("s1", 1, SEEN[:39], 20, 0.5, 0.5, 0.4, 41, 61),
    ("s1", 2, SEEN, 5, 0.25, 0.1, 0.3, 20, 30),
    ("s1", 2, SEEN, 9, 0.9, 0.5, 0.2, -2, -2),
    ("s1", 2, SEEN, 14, 0.5, 0.8, 0.25, 0, 0),
    ("s1", 2, SEEN, 20, 0.5, 1.2, 0.25, 81, 50),
    ("s1", 2, SEEN, 31, 0.5, 1.6, 0.5, 80, 119),
    ("s1", 3, ASIDE, 4, 0.5, 0.1, 0.2, -1, -3),
    ("s1", 3, ASIDE, 8, 0.99, 0.4, 0.2, 5, 120),
    ("s1", 4, STRANGER, 8, 0.5, 0.4, 0.2, 5, 9),
    ("s2", 1, STRANGER, 8, 0.5, 0.4, 0.2, 5, 9),
    ("s1", 21, SEEN[:39], 8, 0.5, 0.4, 0.2, 5, 9),
    ("s2", 2, TWIN + "0", 8, 0.5, 0.4, 0.2, 5, 9),
    ("s2", 3, TWIN, 30, 0.5, 2.0, 0.2, 33, 44),
    ("s2", 3, TWIN, 7, 0.5, 0.25, 0.5, 11, 22),
    ("s1", 5, TWIN, 3, 0.5, 0.5, 0.125, 7, 8),
    ("s1", 6, BROKEN, 3, 0.5, 0.5, 0.1, 7, 8),
    ("s1", 6, BROKEN, 6, 0.5, 0.9, 0.1, -2, -2),
    ("s1", 7, BLANK, 3, 0.5, 0.5, 0.1, 7, 8),
    ("s1", 8, LOST, 3, 0.5, 0.5, 0.1, 7, -8),
)
MASKS = {
    SEEN: ("left_lung", "right_lung", "mediastanum", "aortic_knob"),
    TWIN: ("left_lung", "right_lung"),
    LOST: ("left_lung",),
    STRANGER: ("left_lung",),
}
"""Those of TWIN are spoilt: one is cut off, one is of another image."""
BOXES = (
    (SEEN, "right lung", 1, 30, 2, 40),
    (LOST, "left lung", 1, 2, 3, 4),
    (TWIN, "left lung", 5, 60, 7, 80),
)


def write_tree(folder: Path) -> tuple[Path, Path]:
    """Write both archives; return their folders."""
    egd, mimic = folder / "egd", folder / "mimic"
    egd.mkdir(parents=True)
    patients = {case_id: patient for case_id, patient, *_ in SHEET}
    paths = {c: f"files/p{str(p)[:2]}/p{p}/s5{c[:7]}/{c}.dcm" for c, p in patients.items()}
    sheet = [
        {
            "dicom_id": case_id,
            "path": paths[case_id],
            "patient_id": patient,
            "anchor_age": "20 - 30",
            "image_top_pad": 0,
            "image_bottom_pad": 0,
            "dx1": 'Pneumonia, "unspecified"\norganism',
            "Normal": normal,
            "CHF": failure,
            "pneumonia": pneumonia,
            "pneumonia__chx": "-1.0",
            "cxr_exam_indication": "___-year-old,\r\nwith cough.\n\nPlease evaluate.",
        }
        for case_id, patient, normal, failure, pneumonia in SHEET
    ]
    write_csv(egd / "master_sheet.csv", SHEET_HEADER.split(","), sheet)
    wanted = (
        "SESSION_ID",
        "MEDIA_ID",
        "DICOM_ID",
        "CNT",
        "FPOGY",
        "FPOGS",
        "FPOGD",
        "X_ORIGINAL",
        "Y_ORIGINAL",
    )
    gaze = [dict(zip(wanted, row, strict=True)) for row in GAZE]
    write_csv(egd / "fixations.csv", GAZE_HEADER.split(","), gaze)
    names = ("dicom_id", "bbox_name", "x1", "x2", "y1", "y2")
    write_csv(egd / "bounding_boxes.csv", names, [dict(zip(names, box, strict=True)) for box in BOXES])
    for case_id, path in paths.items():
        if case_id != LOST:
            (mimic / path).parent.mkdir(parents=True, exist_ok=True)
            write_image(mimic / path)
        if case_id == BROKEN:
            (mimic / path).write_bytes(b"no image" * 100)
    write_masks(egd / "audio_segmentation_transcripts")
    return egd, mimic


def write_masks(folder: Path) -> None:
    """Write a mask for each organ: the upper left, upper right, lower left, lower right quarter."""
    for case_id, names in MASKS.items():
        (folder / case_id).mkdir(parents=True)
        for k, name in enumerate(names):
            mask = np.zeros((ROWS, COLUMNS), np.uint8)
            mask[k // 2 * ROWS // 2 :, k % 2 * COLUMNS // 2 :][: ROWS // 2, : COLUMNS // 2] = 255
            Image.fromarray(mask.T if (case_id, k) == (TWIN, 1) else mask).save(
                folder / case_id / f"{name}.png"
            )
    broken = folder / TWIN / "left_lung.png"
    broken.write_bytes(broken.read_bytes()[:60])


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_image(path: Path) -> None:
    """A 12-bit DX file with a gradient."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    file = Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Modality, file.PatientID = "DX", path.parts[-3]
    file.Rows, file.Columns = ROWS, COLUMNS
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.PixelData = np.linspace(0, 4095, ROWS * COLUMNS).astype("<u2").tobytes()
    file.save_as(path, enforce_file_format=True)
