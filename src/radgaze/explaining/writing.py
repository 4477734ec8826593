"""An explained image on disk: arrays, pictures, a contact sheet, and what they are in JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from radgaze.attribution.registry import PRESETS
from radgaze.files import write_text, written
from radgaze.reporting.panels import Case, Panel, gaze_of, mosaic, over, radiograph
from radgaze.reporting.style import save

if TYPE_CHECKING:
    from radgaze.explaining.explanation import Explained

DONE = "explanation.json"
"""Written last: where it is, the rest is whole."""
IN_A_ROW = 5


def write(one: Explained, out: Path, record: dict[str, Any]) -> Path:
    """Write an image's maps.npz, <method>.png, sheet.png and explanation.json; return its folder."""
    folder = out / one.subject.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DONE).unlink(missing_ok=True)
    case = _case(one)
    several = len(one.targets) > 1
    arrays = {"image": one.subject.image[0].numpy().astype(np.float32)}
    pictures = dict[str, str]()
    for (method, of), values in one.maps.items():
        name = f"{method}-{_slug(of)}" if several else method
        arrays[f"{method}/{of}"] = values.astype(np.float32)
        pixels = over(case, values, PRESETS[method].title, "").pixels
        assert pixels is not None
        with written(folder / f"{name}.png") as aside:
            Image.fromarray(pixels).save(aside, format="PNG")
        pictures[f"{name}.png"] = f"{PRESETS[method].title} of {of}"
    if one.mask is not None:
        arrays["mask"] = one.mask.astype(np.float32)
    if one.subject.gaze is not None:
        arrays["gaze"] = one.subject.gaze.astype(np.float32)
    with written(folder / "maps.npz") as aside, aside.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    save(mosaic(_rows(one, case)), folder / "sheet.png")
    text = json.dumps(_described(one, record, pictures), indent=2, ensure_ascii=False)
    write_text(text + "\n", folder / DONE)
    return folder


def _described(one: Explained, record: dict[str, Any], pictures: dict[str, str]) -> dict[str, Any]:
    frame, size = one.subject.frame, one.subject.image.shape[-1]
    geometry = frame.geometry(one.subject.fit, size)
    described = {
        **record,
        "image": one.subject.name,
        "probabilities": one.probabilities,
        "predicted": one.predicted,
        "classes": list(one.targets),
        "pictures": pictures,
        "arrays": {
            "file": "maps.npz",
            "keys": "<method>/<class>, image and, where there are any, mask and gaze; (rows, columns)",
            "size": [size, size],
            "original_pixels": "(x, y) from the top left corner, pixel centres at +0.5",
            "x": f"x_map = x * {geometry.scale_x!r} + {geometry.shift_x!r}",
            "y": f"y_map = y * {geometry.scale_y!r} + {geometry.shift_y!r}",
            "original": {"rows": frame.rows, "columns": frame.columns},
        },
    }
    if one.decision is not None:
        described["decision"] = {
            "verdict": "accept" if one.decision.accept else "refer",
            "reason": one.decision.reason,
            "score": one.decision.score,
        }
    if one.subject.truth is not None:
        described["truth"] = list(one.subject.truth)
    return described


def _case(one: Explained) -> Case:
    subject = one.subject
    return Case(
        case_id=subject.name,
        image=subject.image[0].numpy(),
        heatmap=None,
        grad_cam=None,
        gaze=subject.gaze,
        mask=one.mask,
        truth=", ".join(subject.truth or ()),
        predicted=one.predicted,
        probability=one.probabilities[one.predicted],
        aspect=subject.frame.columns / subject.frame.rows if subject.fit == "stretch" else 1.0,
    )


def _rows(one: Explained, case: Case) -> list[tuple[str, list[Panel]]]:
    """The contact sheet: the radiograph with what is known of it, then a block of maps for each class."""
    first = [radiograph(case)]
    if one.subject.gaze is not None:
        first.append(gaze_of(case))
    if one.mask is not None:
        first.append(over(case, one.mask, "Mask", ""))
    said = [f"{name} {p:.2f}" for name, p in one.probabilities.items()]
    if one.decision is not None:
        said.append("accepted" if one.decision.accept else "to be referred")
    if one.subject.truth is not None:
        said.append("true: " + (", ".join(one.subject.truth) or "none"))
    rows = list[tuple[str, list[Panel]]]()
    if len(one.targets) > 1:
        rows.append(("\n".join(said), first))
        first, said = [], []
    for of in one.targets:
        panels = first + [
            over(case, values, PRESETS[method].title, "")
            for (method, target), values in one.maps.items()
            if target == of
        ]
        for start in range(0, len(panels), IN_A_ROW):
            words = [*said, "", f"maps of\n{of}"] if start == 0 else []
            rows.append(("\n".join(words).strip(), panels[start : start + IN_A_ROW]))
    return rows


def _slug(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name)
