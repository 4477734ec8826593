"""A bundle of MONAI: TorchScript with configurations that MONAI runs, in a process without radgaze."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from radgaze.errors import UserError
from radgaze.evaluation.results import MACRO, METRICS, read_results
from radgaze.exporting import shipped
from radgaze.exporting.about import about
from radgaze.exporting.checking import Check, checked
from radgaze.exporting.extras import check_extras
from radgaze.exporting.files import write_torchscript
from radgaze.exporting.network import Exported, refused
from radgaze.files import write_text
from radgaze.records import as_json

SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
SCRIPTS = ("__init__.py", "inference.py", "network.py", "preparation.py")


def write_bundle(model: Exported, folder: Path, card: str) -> Check:
    """Write a bundle, and compare its network with the run.

    Raises:
        UserError: MONAI is not installed, or the network takes gaze beside the image.
        CheckError: The network computes other values than the run.
    """
    check_extras("monai")
    if len(model.inputs) > 1:
        raise refused(
            model.run, "a bundle of MONAI has one image as input, and this network takes gaze as well"
        )
    for name in ("configs", "docs", "models", "scripts"):
        (folder / name).mkdir()
    runs = write_torchscript(model, folder / "models" / "model.ts")
    check = checked(model, runs, "monai")
    described = about(model, "models/model.ts")
    write_text(as_json(described), folder / "configs" / "model.json")
    write_text(as_json(metadata(model)), folder / "configs" / "metadata.json")
    write_text(as_json(INFERENCE), folder / "configs" / "inference.json")
    write_text(as_json(check.plain()), folder / "docs" / "check.json")
    write_text(card, folder / "docs" / "README.md")
    source = Path(shipped.__file__).parent
    for name in SCRIPTS:
        shutil.copyfile(source / name, folder / "scripts" / name)
    return check


INFERENCE: dict[str, object] = {
    "imports": [
        "$import json",
        "$import pathlib",
        "$import scripts.inference as inference",
        "$import scripts.network as network",
    ],
    "bundle_root": ".",
    "dataset_dir": "$@bundle_root + '/images'",
    "output_file": "$@bundle_root + '/predictions.csv'",
    "batch_size": 8,
    "about": "$json.loads((pathlib.Path(@bundle_root) / 'configs' / "
    "'model.json').read_text(encoding='utf-8'))",
    "datalist": "$inference.images(@dataset_dir)",
    "network_def": "$network.load(@bundle_root)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [{"_target_": "scripts.inference.Prepare", "about": "@about"}],
    },
    "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
    "dataloader": {
        "_target_": "DataLoader",
        "dataset": "@dataset",
        "batch_size": "@batch_size",
        "shuffle": False,
        "num_workers": 0,
    },
    "run": ["$inference.write_table(@network_def, @dataloader, @about, @output_file)"],
}
"""The configuration of inference. The engines of MONAI need ignite; its loader and parser do without."""


def metadata(model: Exported) -> dict[str, object]:
    """The content of `metadata.json`, by MONAI's schema."""
    run, size = model.run, model.run.config.input.size
    tensor = {"dtype": "float32", "value_range": [0, 1]}
    return {
        "schema": SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": "exported by radgaze"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {name: _version(name) for name in ("pillow", "pydicom")},
        "name": run.experiment,
        "task": "Classification of frontal chest radiographs",
        "description": "A classifier trained by radgaze, for research only. docs/README.md is its model "
        "card.",
        "authors": "not stated",
        "copyright": "see docs/README.md",
        "data_type": "dicom, png, jpeg or tiff",
        "image_classes": "one channel of greys from 0 (black) to 1 (white), see configs/model.json",
        "pred_classes": f"probability of each class: {', '.join(run.classes)}",
        "eval_metrics": _figures(model),
        "intended_use": "Research use only. Not a medical device; no clinical validation.",
        "references": [],
        "network_data_format": {
            "inputs": {
                "image": {
                    **tensor,
                    "type": "image",
                    "format": "magnitude",
                    "modality": "DX",
                    "num_channels": 1,
                    "spatial_shape": [size, size],
                    "is_patch_data": False,
                    "channel_def": {"0": "grey"},
                }
            },
            "outputs": {
                "pred": {
                    **tensor,
                    "type": "probabilities",
                    "format": "classification",
                    "num_channels": len(run.classes),
                    "spatial_shape": [],
                    "is_patch_data": False,
                    "channel_def": {str(k): name for k, name in enumerate(run.classes)},
                }
            },
        },
    }


def _figures(model: Exported) -> dict[str, float]:
    """The figures of the run; empty where it is not evaluated."""
    if not (model.run.path / METRICS).is_file():
        return {}
    try:
        auc = read_results(model.run.path).test.auc.get(MACRO)
    except UserError:
        return {}
    named = (
        {} if auc is None else {"macro_auc": auc.value, "macro_auc_low": auc.low, "macro_auc_high": auc.high}
    )
    return {name: value for name, value in named.items() if value is not None}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
