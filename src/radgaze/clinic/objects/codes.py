"""Coded terms: of classes, where a terminology has one for the class's name, and of what radgaze states.

`docs/clinic.md` has the same table, which a test compares. SNOMED CT and DICOM terms are those of DICOM
PS3.16 (its context groups 6101–6105, 3413, 3700, 222 and others); RadLex has terms for further findings.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

PRIVATE = "99RADGAZE"
"""Designator of radgaze's own coding scheme."""
LONGEST_MEANING = 64


class Term(NamedTuple):
    """A coded term.

    Attributes:
        value: Code Value.
        scheme: Coding Scheme Designator.
        meaning: Code Meaning.
    """

    value: str
    scheme: str
    meaning: str


NORMAL = Term("17621005", "SCT", "Normal")
HEART_FAILURE = Term("42343007", "SCT", "Congestive heart failure")
EDEMA = Term("19242006", "SCT", "Pulmonary edema")
EFFUSION = Term("60046008", "SCT", "Pleural effusion")
PNEUMOTHORAX = Term("36118008", "SCT", "Pneumothorax")
CARDIOMEGALY = Term("8186001", "SCT", "Cardiomegaly")
NODULE = Term("27925004", "SCT", "Nodule")
MASS = Term("4147007", "SCT", "Mass")
INFILTRATE = Term("112121", "DCM", "Infiltrate")
FIBROSIS = Term("112674009", "SCT", "Fibrosis")
PNEUMONIA = Term("RID5350", "RADLEX", "pneumonia")
ATELECTASIS = Term("RID28493", "RADLEX", "atelectasis")
CONSOLIDATION = Term("RID43255", "RADLEX", "consolidation")
EMPHYSEMA = Term("RID4799", "RADLEX", "emphysema")
FRACTURE = Term("RID4650", "RADLEX", "fracture")
OPACITY = Term("RID28530", "RADLEX", "opacity")

CLASSES: dict[str, Term] = {
    **dict.fromkeys(("normal", "no finding", "no findings", "healthy"), NORMAL),
    **dict.fromkeys(("chf", "congestive heart failure"), HEART_FAILURE),
    **dict.fromkeys(("edema", "oedema", "pulmonary edema"), EDEMA),
    **dict.fromkeys(("pleural effusion", "effusion"), EFFUSION),
    "pneumothorax": PNEUMOTHORAX,
    **dict.fromkeys(("cardiomegaly", "enlarged heart"), CARDIOMEGALY),
    **dict.fromkeys(("nodule", "pulmonary nodule", "lung nodule"), NODULE),
    **dict.fromkeys(("mass", "lung mass"), MASS),
    **dict.fromkeys(("infiltrate", "infiltration"), INFILTRATE),
    **dict.fromkeys(("fibrosis", "pulmonary fibrosis"), FIBROSIS),
    "pneumonia": PNEUMONIA,
    "atelectasis": ATELECTASIS,
    "consolidation": CONSOLIDATION,
    **dict.fromkeys(("emphysema", "pulmonary emphysema"), EMPHYSEMA),
    "fracture": FRACTURE,
    **dict.fromkeys(("opacity", "lung opacity"), OPACITY),
}
"""Terms of classes, by their names in lower case with spaces for underscores and hyphens."""

TITLE = Term("126000", "DCM", "Imaging Measurement Report")
PROCEDURE = Term("399208008", "SCT", "Plain chest X-ray")
CHEST = Term("816094009", "SCT", "Chest")
PROBABILITY = Term("122157", "DCM", "Probability")
NO_UNITS = Term("1", "UCUM", "no units")
FAMILY = Term("123110", "DCM", "Artificial Intelligence")
COMMENT = Term("121106", "DCM", "Comment")
YES = Term("373066001", "SCT", "Yes")
NO = Term("373067005", "SCT", "No")
RELATION = Term("309825002", "SCT", "Spatial and Relational Concept")

PREDICTED = Term("predicted", PRIVATE, "Class is predicted")
DECISION = Term("decision", PRIVATE, "Decision of the reject option")
ACCEPT = Term("accept", PRIVATE, "Prediction accepted")
REFER = Term("refer", PRIVATE, "Refer to a reader")
UNDECIDED = Term("no-rule", PRIVATE, "No reject option was chosen for this model")
REASON = Term("reason", PRIVATE, "Reason of the decision")
CALIBRATION = Term("calibration", PRIVATE, "Calibration of the probability")
UNCALIBRATED = Term("uncalibrated", PRIVATE, "Not calibrated")
TEMPERATURE = Term("temperature", PRIVATE, "Temperature scaling on validation cases")
CALIBRATED = Term("p-calibrated", PRIVATE, "Probability after temperature scaling")
USE = Term("intended-use", PRIVATE, "Intended use")
RESEARCH = Term("research-only", PRIVATE, "Research use only, not for diagnosis")
OUTPUT = Term("model-output", PRIVATE, "Output of a classifier")
HEATMAP = Term("heatmap", PRIVATE, "Heatmap of a class")
HEATMAP_REGION = Term("heatmap-region", PRIVATE, "Region of a heatmap above its threshold")
MASK = Term("mask", PRIVATE, "Mask of the decoder")
MASK_REGION = Term("mask-region", PRIVATE, "Region of a mask above its threshold")


def term_of(name: str) -> Term:
    """Return the term of a class: that of a terminology, or a private one whose meaning is the name."""
    standard = CLASSES.get(" ".join(name.lower().replace("_", " ").replace("-", " ").split()))
    if standard is not None:
        return standard
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return Term(f"class-{digest}", PRIVATE, meaning(name))


def meaning(text: str) -> str:
    """A text as it may stand in a Code Meaning: one line, no backslash, at most 64 characters."""
    line = " ".join("".join(c if c.isprintable() and c != "\\" else " " for c in text).split())
    return line if len(line) <= LONGEST_MEANING else f"{line[: LONGEST_MEANING - 1]}…"
