"""A folder in the form of the Hugging Face hub: safetensors, config.json and a model card. Nothing is "
"sent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from radgaze.errors import UserError, call
from radgaze.evaluation.referral.selective import Referral
from radgaze.exporting.about import decisions
from radgaze.files import read_json, write_text
from radgaze.models.weight_sources import is_path
from radgaze.predicting.inputs import Preparation
from radgaze.runs.run import Run

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def write_hub(run: Run, folder: Path, card: str) -> None:
    """Write the trained network of a run as a folder, which `radgaze.models.load` reads.

    Args:
        run: The run.
        folder: The folder.
        card: The model card.

    Raises:
        UserError: The run is a vote, which has no weights of its own.
    """
    if run.vote is not None:
        raise UserError(
            f"{run.path} is a vote and has no weights of its own: export each of its runs, or the vote as "
            "one "
            f"graph, {call('export', run.path, to='onnx')}"
        )
    run.model()  # a damaged one is told here
    shutil.copyfile(run.path / "model" / WEIGHTS, folder / WEIGHTS)
    config = read_json(run.path / "model" / CONFIG, lambda content: isinstance(content, dict), "train again")
    made = Preparation.of(run)
    config |= {
        "model": _without_paths(config["model"]),
        "library_name": "radgaze",
        "architectures": [run.config.model.architecture],
        "id2label": {str(k): name for k, name in enumerate(run.classes)},
        "problem_type": (
            "single_label_classification"
            if run.config.objective.classification == "softmax"
            else "multi_label_classification"
        ),
        "decisions": decisions(run, Referral.read(run.path)),
        "preparation": {"square": made.side, "grey_values": made.voi, "fit": made.fit, "size": made.size},
    }
    write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", folder / CONFIG)
    write_text(card, folder / "README.md")


def _without_paths(model: dict[str, object]) -> dict[str, object]:
    """Settings of a network without those that name files of this machine, which nothing needs elsewhere."""
    model = {name: value for name, value in model.items() if name not in ("weights_dir", "pretraining_ids")}
    return {**model, "weights": "none"} if is_path(str(model.get("weights", "none"))) else model
