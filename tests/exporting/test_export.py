"""An exported file computes what the run predicts and explains, in software that knows nothing of radgaze."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from radgaze import models
from radgaze.errors import UserError
from radgaze.exporting import checking, files, network
from radgaze.exporting.export import Export, export
from radgaze.exporting.files import run_onnx
from radgaze.exporting.folder import PART, new_folder
from radgaze.exporting.options import ExportOptions
from radgaze.predicting.options import PredictOptions
from radgaze.predicting.predict import predict
from radgaze.runs.run import Run
from radgaze.runs.vote import VoteOptions
from radgaze.runs.voting import make_vote
from radgaze.store.store import Store
from tests.exporting import reproduced
from tests.exporting.conftest import trained

pytest.importorskip("onnxruntime", reason="the extra export is not installed")
pytest.importorskip("onnxscript", reason="the extra export is not installed")

CPU = PredictOptions(device="cpu")
ALONE = """
import runpy, sys
sys.modules["radgaze"] = None  # importing it is an error
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def alone(script: Path, *arguments: object, cwd: Path | None = None) -> str:
    """Run a script in a process in which radgaze cannot be imported; return its output."""
    command = [sys.executable, "-W", "ignore", "-c", ALONE, str(script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def exported(run: Run, out: Path, to: Any = "onnx", **given: Any) -> Export:
    return export(run, ExportOptions(to=to, out=out, **given))


@pytest.fixture(scope="module")
def onnx(run: Run, archive: Path) -> Export:
    return exported(run, archive / "onnx")


@pytest.fixture(scope="module")
def plain(store: Store, archive: Path) -> Run:
    """A network without a decoder."""
    return trained(store, archive / "plain", "no_decoder")


@pytest.fixture(scope="module")
def other(store: Store, archive: Path) -> Run:
    return trained(store, archive / "other", seed=7)


def files_of(archive: Path) -> list[Path]:
    return sorted((archive / "images").glob("*.dcm"))[:7]


def test_onnx_computes_what_the_run_predicts_and_explains(onnx: Export, run: Run) -> None:
    assert onnx.outputs == ("probabilities", "logits", "mask", "heatmap", "uncertainty", "accept")
    assert onnx.check is not None
    assert onnx.check.source == "test cases of the run's store"
    assert max(onnx.check.largest_difference.values()) <= 1e-4
    assert (
        json.loads((onnx.path / "check.json").read_text())["largest_difference"]
        == onnx.check.largest_difference
    )
    serve = run_onnx(onnx.path / "model.onnx")
    draw = np.random.default_rng(0)
    for count in (1, 2, 5):
        images = draw.random((count, 1, 32, 32), np.float32)
        made = serve({"image": images})
        prediction = predict(run, torch.from_numpy(images), CPU, prepared=True)
        np.testing.assert_allclose(made["probabilities"], prediction.probabilities, atol=1e-5)
        assert prediction.mask is not None
        np.testing.assert_allclose(made["mask"][:, 0], prediction.mask, atol=1e-5)
        np.testing.assert_array_equal(made["accept"], prediction.accept)
        heat = run.generator(run.model())(torch.from_numpy(images))
        np.testing.assert_allclose(made["heatmap"], heat.numpy(), atol=1e-4)
        assert made["heatmap"].max() == pytest.approx(1)


def test_other_software_predicts_a_dicom_file_by_what_the_json_says(
    onnx: Export, run: Run, archive: Path
) -> None:
    images = files_of(archive)
    answer = json.loads(alone(Path(reproduced.__file__), onnx.path, *images))
    prediction = predict(run, images, CPU)
    np.testing.assert_allclose(answer["probabilities"], prediction.probabilities, atol=1e-5)
    assert answer["classes"] == list(run.classes)
    assert (
        answer["accept"]
        == answer["by_hand"]
        == list(prediction.accept if prediction.accept is not None else [])
    )
    assert len(set(answer["accept"])) == 2
    T = json.loads((onnx.path / "model.json").read_text())["calibration"]["temperature"]
    odds = prediction.probabilities ** (1 / T)
    np.testing.assert_allclose(answer["calibrated"], odds / odds.sum(1, keepdims=True), atol=1e-5)


SCRIPT = """
import json, sys, torch
folder, *files = sys.argv[1:]
sys.path.insert(0, folder)
from preparation import prepared
about = json.load(open(folder + "/model.json", encoding="utf-8"))
path = folder + "/" + about["file"]
model = torch.jit.load(path) if path.endswith(".ts") else torch.export.load(path).module()
with torch.no_grad():
    made = model(torch.stack([torch.from_numpy(prepared(file, about["preparation"])) for file in files]))
print(json.dumps({name: x.tolist() for name, x in zip(about["outputs"], made, strict=True)}))
"""


def folders_in(path: Path) -> list[str]:
    """The parts of an archive that name a folder of this machine."""
    folders = [str(Path(place).parent).encode() for place in (__file__, files.__file__, torch.__file__)]
    with zipfile.ZipFile(path) as archive:
        return [name for name in archive.namelist() if any(each in archive.read(name) for each in folders)]


@pytest.mark.parametrize("to", ["torchscript", pytest.param("pt2", marks=pytest.mark.slow)])
def test_torch_runs_a_file_without_radgaze(to: str, run: Run, tmp_path: Path, archive: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    images = files_of(archive)
    made = exported(run, tmp_path / "out", to)
    assert made.outputs == ("probabilities", "logits", "mask", "heatmap", "uncertainty", "accept")
    assert not folders_in(made.path / {"torchscript": "model.ts", "pt2": "model.pt2"}[to])
    answer = json.loads(alone(tmp_path / "script.py", made.path, *images))
    predicted = predict(run, images, CPU)
    np.testing.assert_allclose(answer["probabilities"], predicted.probabilities, atol=1e-5)
    assert predicted.accept is not None
    assert answer["accept"] == predicted.accept.tolist()


def test_an_archive_of_torch_export_has_no_pickle(plain: Run, tmp_path: Path) -> None:
    made = exported(plain, tmp_path / "pt2", "pt2", heatmap="none")
    with zipfile.ZipFile(made.path / "model.pt2") as archive:
        names = archive.namelist()
        assert any("weight" in name for name in names)
        for name in names:
            content = archive.read(name)
            assert not content or not name.endswith((".pkl", ".pt", ".pth")), name
            assert not content.startswith((b"\x80\x02", b"\x80\x04", b"\x80\x05", b"PK")), name


OTHERS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "no_decoder": ("no_decoder", {"input": {"size": 64}}, "cam", "all"),
    "multi_label": ("set3_guided", {"objective": {"classification": "sigmoid"}}, "grad_cam", "CHF"),
    "pylon": ("pylon", {"input": {"size": 64}}, "pylon", "predicted"),
    "vit": ("no_decoder", {"model": {"encoder": "tu-test_vit"}}, "auto", "predicted"),
    "relevance": ("no_decoder", {"model": {"encoder": "tu-test_vit"}}, "relevance", "predicted"),
    "resnet": ("no_decoder", {"model": {"encoder": "tu-test_resnet"}}, "guided_backprop", "predicted"),
}


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("no_decoder", "torchscript"),
        *(
            pytest.param(name, "torchscript", marks=pytest.mark.slow)
            for name in OTHERS
            if name != "no_decoder"
        ),
        *(pytest.param(name, "onnx", marks=pytest.mark.slow) for name in OTHERS),
    ],
)
def test_other_networks_are_exported(name: str, to: str, store: Store, tmp_path: Path) -> None:
    experiment, given, heatmap, target = OTHERS[name]
    run = trained(store, tmp_path / "run", experiment, **given)
    made = exported(run, tmp_path / "out", to, heatmap=heatmap, target=target)
    masks = {"mask"} if experiment in {"set3_guided", "pylon"} else set()
    assert set(made.outputs) == {"probabilities", "logits", "heatmap"} | masks
    assert made.check is not None
    assert max(made.check.largest_difference.values()) <= 1e-4


@pytest.mark.parametrize(
    ("rule", "heatmap", "to"),
    [
        ("mean", "guided_backprop", "torchscript"),
        pytest.param("majority", "none", "torchscript", marks=pytest.mark.slow),
        pytest.param("mean", "guided_backprop", "onnx", marks=pytest.mark.slow),
        pytest.param("majority", "grad_cam", "onnx", marks=pytest.mark.slow),
    ],
)
def test_a_vote_is_one_graph(rule: Any, heatmap: str, to: str, run: Run, other: Run, tmp_path: Path) -> None:
    vote = make_vote([run, other], VoteOptions(tmp_path / "vote", rule=rule))
    made = exported(vote, tmp_path / "out", to, heatmap=heatmap)
    assert made.outputs == ("probabilities", "mask", "heatmap")[: 2 if heatmap == "none" else 3]
    with pytest.raises(UserError, match="is a vote and has no weights of its own"):
        exported(vote, tmp_path / "hub", "hub")
    assert not (tmp_path / "hub").exists()


def test_a_hub_folder_is_loaded_again(run: Run, store: Store, tmp_path: Path) -> None:
    made = exported(run, tmp_path / "hub", "hub")
    assert {path.name for path in made.path.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    network, classes = models.load(made.path)
    images = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(network(images).logits, run.model()(images).logits)
    assert classes == run.classes
    again = trained(store, tmp_path / "again", model={"weights": str(made.path)})
    assert again.config.model.weights == str(made.path)


def test_a_hub_folder_names_no_file_of_this_machine(run: Run, store: Store, tmp_path: Path) -> None:
    start = exported(run, tmp_path / "Secretname_19450508", "hub").path
    ids = tmp_path / "Secretname.txt"
    ids.write_text("none of the cases\n")
    model = {"weights": str(start), "pretraining_ids": str(ids), "weights_dir": str(tmp_path / "Secretname")}
    made = exported(trained(store, tmp_path / "run", model=model), tmp_path / "hub", "hub")
    for path in made.path.iterdir():
        content = path.read_bytes()
        assert b"Secretname" not in content, path.name
        assert str(tmp_path).encode() not in content, path.name
    assert "| Starting weights | a local file |" in (made.path / "README.md").read_text()
    models.load(made.path)


def test_what_cannot_be_exported_is_told_with_what_can(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"smooth_grad cannot be exported: it draws .*guided_backprop"):
        exported(run, tmp_path / "out", heatmap="smooth_grad")
    with pytest.raises(UserError, match="must be auto, none or a method, got grad_cm; did you mean grad_cam"):
        exported(run, tmp_path / "out", heatmap="grad_cm")
    with pytest.raises(UserError, match="`target` must be one of predicted, all, Normal"):
        exported(run, tmp_path / "out", target="norm")
    assert not (tmp_path / "out").exists()


def test_a_file_that_computes_something_else_is_not_left_behind(
    plain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.write_pt2

    def wrong(model: Any, path: Path) -> Any:
        runs = write(model, path)
        return lambda arrays: {name: 1.001 * value for name, value in runs(arrays).items()}

    monkeypatch.setattr("radgaze.exporting.export.write_pt2", wrong)
    with pytest.raises(UserError, match=r"the output probabilities .* differs from the run's by"):
        exported(plain, tmp_path / "new" / "out", "pt2", heatmap="none")
    assert not (tmp_path / "new").exists()


def test_a_heatmap_that_a_format_cannot_hold_is_left_out_or_told(
    plain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = files.write_torchscript

    def picky(model: Any, path: Path) -> Any:
        if model.method is not None:
            raise RuntimeError("step 3/3") from ValueError("no function for\nthis operation")
        return write(model, path)

    monkeypatch.setattr("radgaze.exporting.export.write_torchscript", picky)
    words = "heatmap grad_cam cannot be written as torchscript: no function for this operation$"
    with pytest.raises(UserError, match=words):
        exported(plain, tmp_path / "named", "torchscript", heatmap="grad_cam")
    assert not (tmp_path / "named").exists()
    assert "heatmap" not in exported(plain, tmp_path / "auto", "torchscript").outputs
    assert "the heatmap is left out" in capsys.readouterr().err


def test_a_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / PART).mkdir(parents=True)  # of a killed process
    (out / PART / "old").touch()
    with new_folder(out) as folder:
        (folder / "new").touch()
    assert [path.name for path in out.iterdir()] == ["new"]
    with pytest.raises(UserError, match="holds files"), new_folder(out):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_programs_do_not_write_one_new_folder(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as folder:
        (folder / "first").touch()
        with pytest.raises(UserError, match="is being written"), new_folder(tmp_path / "out"):
            pass
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["first"]


def test_the_check_says_why_it_had_no_test_cases(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network.exported(run, ExportOptions(to="onnx", out=run.path / "model", heatmap="none"))
    monkeypatch.setattr(Run, "batches", lambda *_: iter(()))
    assert checking._images(model)[1] == "random numbers: its store has no test cases"

    def missing(*_: object) -> None:
        raise UserError("no store")

    monkeypatch.setattr(Run, "batches", missing)
    assert checking._images(model)[1] == "random numbers: its store is missing"
