"""From archives to a report: prepared, verified, merged, inspected, trained on for an epoch, evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from radgaze.cli import main
from tests.sources.test_gazesearch import search

TINY = [
    *("--model.encoder", "tu-test_efficientnet", "--model.weights", "none"),
    *("--model.decoder_channels=[16,8,8,4,4]", "--input.size", "32", "--optimisation.batch_size", "4"),
    *(
        "--trainer.max_epochs",
        "1",
        "--trainer.accelerator",
        "cpu",
        "--split.kind",
        "folds",
        "--split.folds",
        "3",
    ),
]


def archive(folder: Path, names: list[str]) -> list[str]:
    """GazeSearch's list and its images."""
    (folder / "images").mkdir(parents=True)
    draw, searches = np.random.default_rng(ord(names[0][0])), []
    for k, name in enumerate(names):
        Image.fromarray(draw.integers(0, 255, (60, 50), dtype=np.uint8)).save(
            folder / "images" / f"{name}.png"
        )
        for task in ("Edema", "Fracture", "Nodule")[: 1 + k % 3]:
            x, y = draw.integers(0, 224, (2, 4)).tolist()
            searches.append(
                search(name, task, x, y, [0.2] * 4, "train", condition="present" if k % 2 else "absent")
            )
    (folder / "list.json").write_text(json.dumps(searches))
    return ["--gazesearch", str(folder / "list.json"), "--images", str(folder / "images")]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_gazesearch_archives_are_prepared_merged_and_trained_on(tmp_path: Path) -> None:
    for name in ("one", "two"):
        given = archive(tmp_path / name, [f"{name}-{k}" for k in range(18)])
        out = ["--out", str(tmp_path / f"{name}-store"), "--size", "64"]
        assert main(["prepare", "gazesearch", *given, *out]) == 0
    stores = [str(tmp_path / f"{name}-store") for name in ("one", "two")]
    whole = str(tmp_path / "whole")
    assert main(["prepare", "merge", *stores, "--map", "Nodule=Mass", "--out", whole]) == 0
    assert main(["verify", whole]) == 0
    assert main(["inspect", whole, "--out", str(tmp_path / "inspection")]) == 0
    found = json.loads((tmp_path / "inspection" / "inspect.json").read_text())
    assert found["classes"] == ["Edema", "Fracture", "Mass"]
    assert found["counts"][-1]["cases"] == 36
    run = tmp_path / "run"
    assert main(["train", "--experiment", "set3_guided", "--data", whole, "--out", str(run), *TINY]) == 0
    assert (run / "report.html").is_file()
    assert main(["evaluate", str(run), "--reject", "--resamples", "20"]) == 0
