"""The columns of egd-cxr 1.0.0, in their order."""

from __future__ import annotations

FINDINGS = (
    "consolidation",
    "enlarged_cardiac_silhouette",
    "linear__patchy_atelectasis",
    "lobar__segmental_collapse",
    "not_otherwise_specified_opacity___pleural__parenchymal_opacity__",
    "pleural_effusion_or_thickening",
    "pulmonary_edema__hazy_opacity",
    "normal_anatomically",
    "elevated_hemidiaphragm",
    "hyperaeration",
    "vascular_redistribution",
)
CHEXPERT = (
    "atelectasis__chx",
    "cardiomegaly__chx",
    "consolidation__chx",
    "edema__chx",
    "enlarged_cardiomediastinum__chx",
    "fracture__chx",
    "lung_lesion__chx",
    "lung_opacity__chx",
    "no_finding__chx",
    "pleural_effusion__chx",
    "pleural_other__chx",
    "pneumonia__chx",
    "pneumothorax__chx",
    "support_devices__chx",
)
DIAGNOSES = tuple(name for i in range(1, 10) for name in (f"dx{i}", f"dx{i}_icd"))

MASTER = (
    "dicom_id",
    "path",
    "study_id",
    "patient_id",
    "stay_id",
    "gender",
    "anchor_age",
    "image_top_pad",
    "image_bottom_pad",
    "image_left_pad",
    "image_right_pad",
    *DIAGNOSES,
    "normal_reports",
    "Normal",
    "CHF",
    "pneumonia",
    *FINDINGS,
    *CHEXPERT,
    "cxr_exam_indication",
)
"""The 59 columns of master_sheet.csv."""

GAZE = (
    "SESSION_ID",
    "MEDIA_ID",
    "DICOM_ID",
    "CNT",
    "Time (in secs)",
    "TIMETICK(f=10000000)",
    "FPOGX",
    "FPOGY",
    "FPOGS",
    "FPOGD",
    "FPOGID",
    "FPOGV",
    "BPOGX",
    "BPOGY",
    "BPOGV",
    "LPCX",
    "LPCY",
    "LPD",
    "LPS",
    "LPV",
    "RPCX",
    "RPCY",
    "RPD",
    "RPS",
    "RPV",
    "BKID",
    "BKDUR",
    "BKPMIN",
    "LPMM",
    "LPMMV",
    "RPMM",
    "RPMMV",
    "SACCADE_MAG",
    "SACCADE_DIR",
    "VID_FRAME",
    "X_ORIGINAL",
    "Y_ORIGINAL",
)
"""The 37 columns of eye_gaze.csv and fixations.csv."""

BOXES = ("dicom_id", "bbox_name", "x1", "x2", "y1", "y2")
TRUTH = (
    "case_id",
    "diagnosis",
    "split",
    "severity",
    "cardiothoracic_ratio",
    "marker",
    "structure",
    "x1",
    "y1",
    "x2",
    "y2",
)
"""The columns of truth.csv, with a row for each structure of a case, boxes in pixels; each case has at least
a row for its marker. Where more than the marker of `confounding` is simulated, a column follows for each
other kind of confounder, with its variant, and `search_only`, 1 where the reader never dwelt on the
abnormality."""

TWINS = ("dicom_id", "twin_of", "path", "confounder", "shows", "original_shows")
"""The columns of twins.csv: the image, the one that it is a twin of, its file, the kind of confounder that
differs, and the classes whose confounder of this kind both show; blank for none."""

SPLIT = ("patient_id", "split")
"""The columns of split.csv, which is written where the split is not the published one."""
