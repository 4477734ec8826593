"""Predict a folder of images with the bundle: a table with a row for each image."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from .network import Network
from .preparation import prepared

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff")


class Prepare:
    """Transform of a path into an input (1, S, S), as `model.json` states.

    Args:
        about: The content of `model.json`.
    """

    def __init__(self, about: Mapping[str, object]) -> None:
        preparation = about["preparation"]
        assert isinstance(preparation, dict)
        self.preparation = preparation

    def __call__(self, item: Mapping[str, str]) -> dict[str, object]:
        """Read the image of an item."""
        return {"file": item["file"], "image": torch.from_numpy(prepared(item["file"], self.preparation))}


def images(folder: str | Path) -> list[dict[str, str]]:
    """The images in a folder, in order."""
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"there is no image in {folder}")
    return [{"file": str(path)} for path in paths]


def write_table(
    network: Network,
    batches: Iterable[Mapping[str, Tensor | list[str]]],
    about: Mapping[str, object],
    file: str | Path,
) -> Path:
    """Predict the batches, and write the table: number of the image, probabilities, reject decision."""
    rows, number = list[dict[str, object]](), 0
    classes = about["classes"]
    assert isinstance(classes, list)
    with torch.no_grad():
        for batch in batches:
            made = network.outputs(torch.as_tensor(batch["image"]))
            for i in range(len(batch["file"])):
                number += 1
                row: dict[str, object] = {"image": f"image-{number:03d}"}
                p = made["probabilities"][i].tolist()
                row |= {f"probability_{name}": p[k] for k, name in enumerate(classes)}
                if "accept" in made:
                    row["decision"] = "accept" if bool(made["accept"][i]) else "refer"
                rows.append(row)
    with Path(file).open("w", newline="", encoding="utf-8") as out:
        table = csv.DictWriter(out, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return Path(file)
