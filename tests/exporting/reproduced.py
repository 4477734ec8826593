"""Program of someone without radgaze, who read `model.json`; with numpy, Pillow, pydicom and onnxruntime.

It is for plain files: a window, rescale, MONOCHROME1 or 2; and is run in a process of its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import pydicom
from PIL import Image


def main(folder: Path, *files: str) -> None:
    assert sys.modules.get("radgaze") is None
    about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    way = about["preparation"]
    session = onnxruntime.InferenceSession(folder / about["file"])
    names = [output.name for output in session.get_outputs()]
    inputs = np.stack([read(file, way) for file in files])
    made = dict(zip(names, session.run(None, {"image": inputs}), strict=True))
    p = made["probabilities"]
    answer = {"classes": about["classes"], "probabilities": p.tolist()}
    if about["calibration"] is not None:
        z = np.log(p.astype(float)) / about["calibration"]["temperature"]
        answer["calibrated"] = (np.exp(z) / np.exp(z).sum(1, keepdims=True)).tolist()
    if about["reject"] is not None:
        answer["accept"] = made["accept"].tolist()
        g = (p.astype(float) ** 2).sum(1)
        answer["by_hand"] = ((1 - g) / g <= about["reject"]["threshold"]).tolist()
    print(json.dumps(answer))


def read(file: str, way: dict[str, object]) -> np.ndarray:
    dataset = pydicom.dcmread(file)
    x = dataset.pixel_array * float(dataset.get("RescaleSlope", 1)) + float(
        dataset.get("RescaleIntercept", 0)
    )
    c, w = float(dataset.WindowCenter), float(dataset.WindowWidth)
    x = np.clip((x - (c - 0.5)) / (w - 1) + 0.5, 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        x = 1 - x
    rows, columns = x.shape
    side, size = int(str(way["square"])), int(str(way["size"]))
    scale = side / max(rows, columns)
    w2, h2 = int(columns * scale + 1e-6), int(rows * scale + 1e-6)
    region = (0, 0, min(w2 / scale, columns), min(h2 / scale, rows))
    small = np.asarray(
        Image.fromarray(x.astype(np.float32)).resize((w2, h2), Image.Resampling.BICUBIC, box=region)
    )
    image = Image.fromarray(np.rint(255 * np.clip(small, 0, 1)).astype(np.uint8))
    assert way["fit"] == "stretch"
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), np.float32)[None] / np.float32(
        255
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
