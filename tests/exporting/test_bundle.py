"""A bundle is run by MONAI itself, in a process without radgaze, and predicts what the run predicts."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from radgaze.exporting.export import export
from radgaze.exporting.options import ExportOptions
from radgaze.predicting.options import PredictOptions
from radgaze.predicting.predict import predict
from radgaze.runs.run import Run
from tests.exporting.test_export import alone, files_of

pytest.importorskip("monai", reason="the extra export is not installed")

TEXTS = ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description")
OBJECTS = ("required_packages_version", "network_data_format")
SCHEMA = {
    "type": "object",
    "required": [*TEXTS, *OBJECTS, "authors", "copyright"],
    "properties": {
        **{name: {"type": "string"} for name in TEXTS},
        **{name: {"type": "object"} for name in (*OBJECTS, "changelog", "eval_metrics")},
    },
}
"""What MONAI's schema, which `verify_metadata` downloads, requires of the first level."""

SCRIPT = """
import sys
sys.path.insert(0, ".")
from monai.bundle import run, verify_metadata, verify_net_in_out
images, out, schema = sys.argv[1:]
metadata, inference = "configs/metadata.json", "configs/inference.json"
verify_metadata(meta_file=metadata, filepath=schema)
verify_net_in_out("network_def", meta_file=metadata, config_file=inference)
run(config_file=inference, dataset_dir=images, output_file=out)
"""


@pytest.mark.slow
def test_monai_runs_a_bundle_in_a_process_without_radgaze(run: Run, archive: Path, tmp_path: Path) -> None:
    bundle = export(run, ExportOptions(to="monai", out=tmp_path / "bundle")).path
    (tmp_path / "images").mkdir()
    for path in files_of(archive):
        shutil.copy(path, tmp_path / "images")
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "script.py").write_text(SCRIPT)
    alone(
        tmp_path / "script.py", tmp_path / "images", tmp_path / "p.csv", tmp_path / "schema.json", cwd=bundle
    )
    with (tmp_path / "p.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    prediction = predict(run, [tmp_path / "images"], PredictOptions(device="cpu"))
    made = [[float(row[f"probability_{name}"]) for name in run.classes] for row in rows]
    np.testing.assert_allclose(made, prediction.probabilities, atol=1e-5)
    assert prediction.accept is not None
    assert [row["decision"] == "accept" for row in rows] == prediction.accept.tolist()
