"""The whole way through the command line, on a phantom of a few patients."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml

from radgaze.cli import main
from radgaze.cli.demo import demonstrate, make_store
from radgaze.cli.demo_sizes import QUICK
from radgaze.errors import UserError

PATIENTS = ["--patients", "60", "--seed", "3", "--pixels", "96", "--workers", "1"]
TINY = [
    "--model.encoder=tu-test_efficientnet",
    "--model.weights=none",
    "--model.decoder_channels=[16,8,8,4,4]",
    "--input.size=32",
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--optimisation.batch_size=16",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom, its store, and three runs."""
    here = tmp_path_factory.mktemp("way")
    raw, store = str(here / "raw"), str(here / "store")
    assert main(["phantom", raw, *PATIENTS]) == 0
    given = ["--egd", f"{raw}/egd", "--mimic", f"{raw}/mimic", "--out", store]
    assert main(["prepare", "egd", *given, "--size", "64"]) == 0
    for experiment in ("baseline", "set3_guided", "temporal"):
        chosen = ["--experiment", experiment, "--data", store, "--out", str(here / experiment)]
        assert main(["train", *chosen, "--evaluate=false", *TINY]) == 0
    return here


def test_the_manifest_counts_what_the_phantom_planted(folder: Path) -> None:
    counts = json.loads((folder / "store" / "manifest.json").read_text())["counts"]
    planted = json.loads((folder / "raw" / "planted.json").read_text())["counts"]
    found = {reason: count for reason, count in counts["rejections"].items() if count}
    assert found == planted["rejections"]
    assert {name: counts[name] for name in ("cases", "readings", "fixations")} == {
        name: planted[name] for name in ("cases", "readings", "fixations")
    }


def test_the_store_is_inspected(folder: Path, tmp_path: Path) -> None:
    assert main(["inspect", str(folder / "store"), "--out", str(tmp_path), "--each", "1"]) == 0
    found = json.loads((tmp_path / "inspect.json").read_text())
    counts = json.loads((folder / "store" / "manifest.json").read_text())["counts"]
    assert found["counts"][-1]["cases"] == found["counts"][-1]["with_masks"] == counts["cases"]
    rejected = {row["reason"]: row["count"] for row in found["rejections"]}
    assert rejected == {reason: count for reason, count in counts["rejections"].items() if count}
    assert {row["label"] for row in found["masks"]} == {
        "left lung",
        "right lung",
        "mediastinum",
        "aortic knob",
    }


def test_a_run_is_evaluated_and_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = folder / "set3_guided"
    assert main(["evaluate", str(run), "--resamples", "50"]) == 0
    test = json.loads((run / "metrics.json").read_text())["test"]
    assert set(test["auc"]) == {"macro", "Normal", "CHF", "pneumonia"}
    assert set(test["auc"]["macro"]) >= {"value", "low", "high"}
    assert set(test["agreement"]["heatmap"]) == {"nss", "cc", "kl", "sim", "auc_judd", "shuffled_auc"}
    assert (run / "report.html").is_file()
    assert list((run / "figures").glob("*.png"))
    assert "own lungs" in (run / "report.html").read_text()
    shown = capsys.readouterr().out
    assert shown.rstrip().endswith(str(run / "report.html"))


@pytest.mark.slow
def test_a_run_that_reads_gaze_is_evaluated_and_reported(folder: Path) -> None:
    run = folder / "temporal"
    assert main(["evaluate", str(run), "--resamples", "50"]) == 0
    test = json.loads((run / "metrics.json").read_text())["test"]
    assert set(test["auc"]) == {"macro", "Normal", "CHF", "pneumonia"}
    assert {"heatmap", "grad_cam"} <= set(test["agreement"])
    assert test["agreement"]["mask"] is None
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert "reads the gaze on a case beside its image" in (run / "report.html").read_text()


@pytest.mark.parametrize("experiment", ["baseline", pytest.param("temporal", marks=pytest.mark.slow)])
def test_a_runs_maps_are_audited(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], experiment: str
) -> None:
    chosen = ["--methods", "guided_backprop,smooth_grad", "--out", str(tmp_path)]
    few = [
        "--cases",
        "5",
        "--probed",
        "2",
        "--steps",
        "2",
        "--stages",
        "2",
        "--passes",
        "2",
        "--resamples",
        "20",
    ]
    assert main(["audit", str(folder / experiment), *chosen, *few]) == 0
    shown = capsys.readouterr().out
    assert shown.rstrip().endswith(str(tmp_path / "audit.html"))
    assert "| smooth_grad (2 passes) |" in shown
    table = pl.read_csv(tmp_path / "audit.csv")
    assert set(table["method"]) == {"guided_backprop", "smooth_grad", "mean_gaze", "lung_shape", "random"}
    own = table.filter(method="guided_backprop")
    assert set(own["aspect"]) == {"agreement", "faithfulness", "sanity", "stability", "cost"}
    assert own["value"].null_count() == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {"audit.png", "sanity.png"}
    assert main(["audit", str(folder / experiment), *chosen, *few]) == 0
    assert "6 of 6 are in" in capsys.readouterr().err
    assert main(["audit", str(folder / experiment), "--methods", "magic", "--out", str(tmp_path)]) == 2
    assert "there is no method 'magic'" in capsys.readouterr().err


def test_any_field_can_be_overridden_and_is_printed_resolved(folder: Path) -> None:
    kept = yaml.safe_load((folder / "baseline" / "config.yaml").read_text())
    assert kept["input"]["size"] == 32
    assert kept["model"]["encoder"] == "tu-test_efficientnet"
    assert kept["objective"]["mask_gaze"]["weight"] == 1.0
    assert kept["objective"]["gamma"] == 0.41731  # not overridden: the experiment's


def test_runs_are_compared(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(folder / name) for name in ("baseline", "set3_guided")]
    assert main(["compare", *runs, "--out", str(tmp_path), "--resamples", "50"]) == 0
    paired = pl.read_csv(tmp_path / "paired.csv")
    assert paired.filter(metric="auc", group="macro")["run"].to_list() == ["set3_guided"]
    assert (tmp_path / "index.html").is_file()
    assert "Macro AUC, set3_guided minus baseline" in capsys.readouterr().out


def test_a_run_that_is_there_is_replaced_only_when_told_to(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--experiment", "baseline", "--data", str(folder / "store"), "--out", str(folder / "baseline")]
    assert main(["train", *chosen, *TINY]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("stop", ["Ctrl-C", "kill"])
def test_a_demo_that_was_stopped_while_it_simulated_goes_on(
    stop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        if stop == "kill":  # nothing is cleared up
            shutil.copytree(tmp_path / "phantom", tmp_path / "left")
        raise KeyboardInterrupt

    monkeypatch.setattr("radgaze.simulation.archive.cpu_count", lambda: 1)
    monkeypatch.setattr("radgaze.cli.demo._prepare", lambda phantom, store: store)
    scale, phantom = replace(QUICK, patients=6, pixels=64), tmp_path / "phantom"
    with monkeypatch.context() as patch:
        patch.setattr("radgaze.simulation.archive._write_tables", stopped)
        with pytest.raises(KeyboardInterrupt):
            make_store(tmp_path, scale=scale)
    if stop == "kill":
        shutil.copytree(tmp_path / "left", phantom, dirs_exist_ok=True)
    make_store(tmp_path, scale=scale)
    names = {each.name for each in phantom.iterdir()}
    assert names >= {"egd", "mimic", "planted.json", "truth.csv"}
    assert not list(phantom.glob(".*"))


@pytest.mark.slow
def test_the_demo_goes_on_where_it_was_and_refuses_a_folder_of_another_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = demonstrate(tmp_path, seed=1, size="quick")
    assert all(page.is_file() for page in pages)
    made = (tmp_path / "baseline" / "predictions.parquet").stat().st_mtime_ns
    capsys.readouterr()
    demonstrate(tmp_path, seed=1, size="quick")
    assert capsys.readouterr().err.count("left as it is") == 4
    assert (tmp_path / "baseline" / "predictions.parquet").stat().st_mtime_ns == made
    with pytest.raises(UserError, match="another seed"):
        demonstrate(tmp_path, seed=2, size="quick")
