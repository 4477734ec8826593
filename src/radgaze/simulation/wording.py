"""Texts of the archive: indications, reports, dictation, diagnoses and findings of a case."""

from __future__ import annotations

import numpy as np

from radgaze.simulation.disease import Findings
from radgaze.simulation.tables import CHEXPERT, DIAGNOSES, FINDINGS

INDICATIONS = {
    "CHF": (
        '___-year-old with shortness of breath, evaluate for "volume overload".',
        "Dyspnea on exertion and leg swelling.\nQuestion of pulmonary edema.",
        "History of heart failure, orthopnea, please evaluate for edema",
    ),
    "pneumonia": (
        "Cough and fever, evaluate for pneumonia.",
        'Fever, productive cough.\nEvaluate for "infiltrate", effusion.',
        "___M with hypoxia and leukocytosis, ? consolidation",
    ),
    "Normal": (
        "Chest pain, evaluate for acute process.",
        "Pre-operative evaluation.\nNo known cardiopulmonary disease.",
        "___F with syncope, rule out acute cardiopulmonary process",
    ),
}
NORMAL_REPORT = (
    "FINDINGS: The lungs are clear, without focal consolidation, effusion or pneumothorax.\n"
    ' The cardiomediastinal silhouette is "normal".\n\nIMPRESSION: No acute cardiopulmonary process.',
    "The heart size is normal. The lungs are clear. No pleural effusion. No acute osseous abnormality.",
    "PA and lateral views of the chest. No focal opacity.\n IMPRESSION: Normal chest radiograph.",
)
DX = {
    "CHF": (("CONGESTIVE HEART FAILURE, UNSPECIFIED", "4280"), ("Heart failure, unspecified", "I509")),
    "pneumonia": (("PNEUMONIA,ORGANISM UNSPECIFIED", "486"), ("Pneumonia, unspecified organism", "J189")),
    "Normal": (("CHEST PAIN NOS", "78650"), ("Syncope and collapse", "R55")),
}
OTHER_DX = (
    ("HYPERTENSION NOS", "4019"),
    ("DIABETES UNCOMPL ADULT", "25000"),
    ("Hyperlipidemia, unspecified", "E785"),
    ("ATRIAL FIBRILLATION", "42731"),
    ("Anemia, unspecified", "D649"),
)


def describe(diagnosis: str, findings: Findings, rng: np.random.Generator) -> dict[str, object]:
    """Make the diagnoses, findings, report and indication of a case for the master sheet; None is a blank."""
    row: dict[str, object] = dict.fromkeys((*DIAGNOSES, *CHEXPERT, "normal_reports"))
    row |= dict.fromkeys(FINDINGS, 0)
    dx = [DX[diagnosis][int(rng.integers(2))]]
    dx += [OTHER_DX[i] for i in rng.permutation(len(OTHER_DX))[: rng.integers(0, 5)]]
    for place, (words, code) in enumerate(dx, start=1):
        row[f"dx{place}"], row[f"dx{place}_icd"] = words, code
    fluid = max(findings.effusion) > 0
    if diagnosis == "CHF":
        row |= {
            "enlarged_cardiac_silhouette": 1,
            "pulmonary_edema__hazy_opacity": int(max(findings.haze) > 0.1),
            "vascular_redistribution": int(findings.upper > 0.4),
            "pleural_effusion_or_thickening": int(fluid),
            "cardiomegaly__chx": 1,
            "edema__chx": 1 if findings.severity > 0.5 else -1,
            "pleural_effusion__chx": 1 if fluid else 0,
        }
    elif diagnosis == "pneumonia":
        row |= {
            "consolidation": int(findings.severity > 0.4),
            FINDINGS[4]: 1,
            "linear__patchy_atelectasis": int(rng.random() < 0.15),
            "lung_opacity__chx": 1,
            "pneumonia__chx": 1 if findings.severity > 0.4 else -1,
            "pleural_effusion__chx": 0,
        }
    else:
        row |= {"normal_anatomically": 1, "no_finding__chx": 1}
        row["normal_reports"] = NORMAL_REPORT[int(rng.integers(len(NORMAL_REPORT)))]
    row["cxr_exam_indication"] = INDICATIONS[diagnosis][int(rng.integers(3))]
    return row


def dictate(diagnosis: str, findings: Findings, seconds: float) -> dict[str, object]:
    """Make the content of transcript.json, the dictation of a reading that takes a number of seconds."""
    if diagnosis == "CHF":
        phrases = [
            "the heart is enlarged",
            "there is perihilar haze" if max(findings.haze) > 0.1 else "mild congestion",
        ]
        phrases += ["with pleural effusion"] if max(findings.effusion) > 0 else ["no pleural effusion"]
    elif diagnosis == "pneumonia":
        sides = sorted(
            {"right" if opacity.side < 0 else "left" for opacity in findings.opacities}, reverse=True
        )
        phrases = [f"there is an opacity in the {side} lung" for side in sides] + ["concerning for pneumonia"]
    else:
        phrases = ["the lungs are clear", "the heart size is normal", "no pleural effusion or pneumothorax"]
    step = seconds / (len(phrases) + 1)
    stamped = [
        {"phrase": phrase, "begin_time": round((i + 0.4) * step, 2), "end_time": round((i + 1.2) * step, 2)}
        for i, phrase in enumerate(phrases)
    ]
    return {"full_text": ". ".join(phrases) + ".", "time_stamped_text": stamped}
