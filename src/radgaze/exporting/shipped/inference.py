"""Predict a folder of images with the bundle: a table with a row for each image."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from .network import Network
from .preparation import prepared

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff")


class Prepare:
    """Transform of a path into an input (1, S, S), as `model.json` states.

    Args:
        about: The content of `model.json`.
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.preparation = about["preparation"]

    def __call__(self, item: Mapping[str, str]) -> dict[str, Any]:
        """Read the image of an item."""
        return {"file": item["file"], "image": torch.from_numpy(prepared(item["file"], self.preparation))}


def images(folder: str | Path) -> list[dict[str, str]]:
    """The images in a folder, in order."""
    found = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"there is no image in {folder}")
    return [{"file": str(path)} for path in found]


def write_table(
    network: Network, batches: Iterable[Mapping[str, Any]], about: Mapping[str, Any], file: str | Path
) -> Path:
    """Predict the batches, and write the table: number of the image, probabilities, reject decision."""
    rows, number = [], 0
    with torch.no_grad():
        for batch in batches:
            made = network.outputs(torch.as_tensor(batch["image"]))
            for i in range(len(batch["file"])):
                number += 1
                row: dict[str, Any] = {"image": f"image-{number:03d}"}
                p = made["probabilities"][i].tolist()
                row |= {f"probability_{name}": p[k] for k, name in enumerate(about["classes"])}
                if "accept" in made:
                    row["decision"] = "accept" if bool(made["accept"][i]) else "refer"
                rows.append(row)
    with Path(file).open("w", newline="", encoding="utf-8") as out:
        table = csv.DictWriter(out, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return Path(file)
