"""Write an explanation: arrays, pictures, a contact sheet, and their description in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from math import isfinite, nan
from pathlib import Path

import numpy as np
from PIL import Image

from radgaze.attribution.registry import PRESETS
from radgaze.explaining.explanation import Explanation
from radgaze.explaining.record import (
    ArraysRecord,
    DecisionRecord,
    ExplanationRecord,
    ExplanationSettings,
    OriginalSize,
)
from radgaze.files import written
from radgaze.records import read as read_record
from radgaze.records import write as write_record
from radgaze.reporting.case_panels import Case, Panel, gaze_of, mosaic, over, radiograph
from radgaze.reporting.page import slugs
from radgaze.reporting.style import save

DONE = "explanation.json"
"""The file that is written last: where it exists, the other files are complete."""
ARRAYS, SHEET = "maps.npz", "sheet.png"
ADVICE = "name another folder, or set `overwrite=True`"
IN_A_ROW = 5


def write(explanation: Explanation, out: Path, settings: ExplanationSettings) -> Path:
    """Write an image's maps.npz, <method>.png, sheet.png and explanation.json; return its folder."""
    folder = out / explanation.subject.name
    folder.mkdir(parents=True, exist_ok=True)
    clear(folder)
    case = _case(explanation)
    several = len(explanation.targets) > 1
    arrays = {"image": explanation.subject.image[0].numpy().astype(np.float32)}
    parts, pictures = slugs(explanation.targets), dict[str, str]()
    for (method, target), values in explanation.maps.items():
        name = f"{method}-{parts[target]}" if several else method
        arrays[f"{method}/{target}"] = values.astype(np.float32)
        pixels = over(case, values, PRESETS[method].title, "").pixels
        assert pixels is not None
        with written(folder / f"{name}.png") as aside:
            Image.fromarray(pixels).save(aside, format="PNG")
        pictures[f"{name}.png"] = f"{PRESETS[method].title} of {target}"
    if explanation.mask is not None:
        arrays["mask"] = explanation.mask.astype(np.float32)
    if explanation.subject.gaze is not None:
        arrays["gaze"] = explanation.subject.gaze.astype(np.float32)
    with written(folder / ARRAYS) as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    save(mosaic(sheet(explanation, case)), folder / SHEET)
    write_record(_record(explanation, settings, pictures), folder / DONE)
    return folder


def clear(folder: Path) -> None:
    """Remove what `write` wrote to the folder of an image, whatever the methods and classes were.

    A file that is left would pass for a map of the image whose maps are written next, or that has none.
    """
    (folder / DONE).unlink(missing_ok=True)  # first: it says that the others are complete
    for name in (ARRAYS, SHEET):
        (folder / name).unlink(missing_ok=True)
    for picture in folder.glob("*.png"):
        if picture.stem.partition("-")[0] in PRESETS:
            picture.unlink()


def prediction_in_words(folder: Path) -> str:
    """Describe the prediction of an image, from the explanation in its folder.

    Raises:
        UserError: The explanation is damaged.
    """
    record = read_record(ExplanationRecord, folder / DONE, ADVICE)
    p, decision = record.probabilities[record.predicted], record.decision
    words = f"{record.predicted} {nan if p is None else p:.2f}"
    return words if decision is None else f"{words}, {decision.verdict}"


def _record(
    explanation: Explanation, settings: ExplanationSettings, pictures: Mapping[str, str]
) -> ExplanationRecord:
    subject, decision = explanation.subject, explanation.decision
    probabilities = {name: _finite(value) for name, value in explanation.probabilities.items()}
    return ExplanationRecord(
        **{each.name: getattr(settings, each.name) for each in fields(settings)},
        image=subject.name,
        probabilities=probabilities,
        predicted=explanation.predicted,
        classes=explanation.targets,
        pictures=dict(pictures),
        arrays=_arrays(explanation),
        decision=None
        if decision is None
        else DecisionRecord(
            "accept" if decision.accept else "refer", decision.reason, _finite(decision.score)
        ),
        truth=subject.truth,
    )


def _arrays(explanation: Explanation) -> ArraysRecord:
    frame, size = explanation.subject.frame, explanation.subject.image.shape[-1]
    geometry = frame.geometry(explanation.subject.fit, size)
    return ArraysRecord(
        file=ARRAYS,
        keys="<method>/<class>, image and, where there are any, mask and gaze; (rows, columns)",
        size=(size, size),
        original_pixels="(x, y) from the top left corner, pixel centres at +0.5",
        x=f"x_map = x * {geometry.scale_x!r} + {geometry.shift_x!r}",
        y=f"y_map = y * {geometry.scale_y!r} + {geometry.shift_y!r}",
        original=OriginalSize(frame.rows, frame.columns),
    )


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _case(explanation: Explanation) -> Case:
    subject = explanation.subject
    return Case(
        case_id=subject.name,
        image=subject.image[0].numpy(),
        heatmap=None,
        grad_cam=None,
        gaze=subject.gaze,
        mask=explanation.mask,
        truth=", ".join(subject.truth or ()),
        predicted=explanation.predicted,
        probability=explanation.probabilities[explanation.predicted],
        aspect=subject.frame.columns / subject.frame.rows if subject.fit == "stretch" else 1.0,
    )


def sheet(explanation: Explanation, case: Case | None = None) -> list[tuple[str, list[Panel]]]:
    """Make the rows of a contact sheet: the radiograph with its prediction, then a block for each class."""
    case = case or _case(explanation)
    first = [radiograph(case)]
    if explanation.subject.gaze is not None:
        first.append(gaze_of(case))
    if explanation.mask is not None:
        first.append(over(case, explanation.mask, "Mask", ""))
    label = _label(explanation)
    rows = list[tuple[str, list[Panel]]]()
    if len(explanation.targets) > 1:
        rows.append(("\n".join(label), first))
        first, label = [], []
    for target in explanation.targets:
        panels = first + [
            over(case, values, PRESETS[method].title, "")
            for (method, explained), values in explanation.maps.items()
            if explained == target
        ]
        for start in range(0, len(panels), IN_A_ROW):
            words = [*label, "", f"maps of\n{target}"] if start == 0 else []
            rows.append(("\n".join(words).strip(), panels[start : start + IN_A_ROW]))
    return rows


def _label(explanation: Explanation) -> list[str]:
    """Probabilities, decision and true classes, a line each."""
    lines = [f"{name} {p:.2f}" for name, p in explanation.probabilities.items()]
    if explanation.decision is not None:
        lines.append("accepted" if explanation.decision.accept else "to be referred")
    if explanation.subject.truth is not None:
        lines.append("true: " + (", ".join(explanation.subject.truth) or "none"))
    return lines
