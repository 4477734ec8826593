"""Images to folders of maps, from the command line, with a run of a second."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from radgaze import models
from radgaze.attribution.registry import PRESETS
from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.explaining.explanation import Explanation
from radgaze.explaining.folders import folders
from radgaze.explaining.making import explain, explained
from radgaze.explaining.methods import chosen
from radgaze.explaining.options import ExplainFilesOptions, ExplainOptions
from radgaze.explaining.writing import write
from radgaze.predicting.finding import Requested
from radgaze.predicting.inputs import Subject, read
from radgaze.predicting.predict import predict
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.store.dataset import GazeDataset
from radgaze.store.digest import file_digest
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.store.cohorts import make_cohort, write_dicom
from tests.stores import prepare
from tests.training.conftest import TINY

FEW = "guided_backprop,grad_cam"
HIDDEN = ("Secretname", "s3cretnumber", "secretaccession", "19450508")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explaining")


@pytest.fixture(scope="module")
def store(archive: Path) -> Store:
    return prepare(make_cohort(archive / "images", cases=24), archive / "store", size=64, workers=1)


@pytest.fixture(scope="module")
def run(archive: Path, store: Store) -> Run:
    wanted = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    return train(settings.resolve("set3_guided", data=str(store.path), **wanted), archive / "run")


def arrays(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "maps.npz") as found:
        return dict(found)


def described(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    return content


def test_a_file_of_the_store_is_seen_as_its_case_is(archive: Path, store: Store, run: Run) -> None:
    """The DICOM goes the way that `prepare` and the data set go, to the byte."""
    row = store.cases.row(3, named=True)
    path = archive / "images" / "p10003-s50003.dcm"
    model = run.model()
    of_file, of_case = read(
        [Requested("image-001", path), Requested("x", case_id=row["case_id"])], run, model
    )
    assert isinstance(of_file, Subject)
    assert isinstance(of_case, Subject)
    cases = GazeDataset(store, None, size=32, gaze=None)
    assert torch.equal(of_file.image, cases[3].image)
    assert torch.equal(of_case.image, cases[3].image)
    assert (of_file.truth, of_case.truth) == (None, ("Normal",))
    assert (of_file.frame.rows, of_file.frame.columns) == (row["rows"], row["columns"])


def test_all_that_is_promised_is_there_and_nothing_of_the_patient(
    archive: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = archive / "images" / "p10000-s50000.dcm"
    case = run.store.cases["case_id"][1]
    out = tmp_path / "maps"
    assert main(["explain", str(run.path), str(path), case, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{path}: {out / 'image-001' / 'sheet.png'}" in said  # which is which, for the user's eyes alone
    model = models.scoring(run.model())
    names = chosen(["all"], model, 32)
    able = set(PRESETS) - {"pylon", "attention", "attention_rollout", "relevance"}
    assert set(names) == able - {"cam"}  # of 32 pixels a single one is left to be pooled
    assert set(chosen(["all"], model, 64)) == able
    for folder in (out / "image-001", out / case):
        found, text = arrays(folder), described(folder)
        predicted = text["predicted"]
        assert {f"{name}/{predicted}" for name in names} <= set(found)
        for key, values in found.items():
            assert values.shape == (32, 32), key
            assert values.dtype == np.float32
            assert values.min() >= 0
            assert values.max() <= 1
        assert sum(text["probabilities"].values()) == pytest.approx(1)
        assert text["probabilities"][predicted] == max(text["probabilities"].values())
        for name in (*(f"{name}.png" for name in names), "sheet.png"):
            with Image.open(folder / name) as picture:
                assert min(picture.size) > 100
    assert "mask" in found
    assert "gaze" in found
    assert described(out / case)["truth"] == ["CHF"]
    whole = b"".join(p.read_bytes() for p in out.rglob("*") if p.is_file())
    for words in (*HIDDEN, "p10000", str(archive)):
        assert words.encode() not in whole


def test_maps_are_those_of_the_generators_for_each_class_asked_for(run: Run, tmp_path: Path) -> None:
    case = run.store.cases["case_id"][0]
    explain(run, [case], tmp_path, ExplainFilesOptions(methods=tuple(FEW.split(",")), target="all"))
    found, model = arrays(tmp_path / case), models.scoring(run.model())
    image = torch.from_numpy(found["image"])[None, None]
    for name in FEW.split(","):
        for k, of in enumerate(run.classes):
            expected = PRESETS[name].create(model)(image, k)[0, 0]
            np.testing.assert_allclose(found[f"{name}/{of}"], expected, atol=1e-5)
            assert (tmp_path / case / f"{name}-{of}.png").is_file()


def test_geometry_leads_from_the_original_to_the_map(run: Run, tmp_path: Path) -> None:
    case = run.store.cases.row(2, named=True)
    explain(run, [case["case_id"]], tmp_path, ExplainFilesOptions(methods=("grad_cam",)))
    told = described(tmp_path / case["case_id"])["arrays"]
    for axis, length in (("x", case["columns"]), ("y", case["rows"])):
        factor, shift = (float(n) for n in told[axis].partition("* ")[2].split(" + "))
        # Stretched, the image fills the map but for the part of a pixel that the square cut off.
        assert shift == 0
        assert 31.5 < factor * length < 33
    assert told["original"] == {"rows": case["rows"], "columns": case["columns"]}


def test_a_folder_is_explained_without_what_is_no_image(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    (folder / "deeper").mkdir(parents=True)
    write_dicom(folder / "a.dcm", np.random.default_rng(0).random((40, 50)))
    (folder / "b.txt").write_text("no image")
    (folder / "bmi.csv").write_text("BMI,sex\n23,f\n")  # "BM" is how a BMP picture begins
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(200))
    grey = np.random.default_rng(1).integers(0, 255, (30, 40), dtype=np.uint8)
    Image.fromarray(grey).save(folder / "deeper" / "c.png")
    (folder / ".hidden").write_text("")
    out = tmp_path / "out"
    assert main(["explain", str(run.path), str(folder), "--methods", FEW, "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert sorted(p.name for p in out.iterdir()) == ["image-001", "image-002"]
    assert "3 files passed over, being no image: DICOMDIR, b.txt, bmi.csv" in " ".join(said.err.split())
    told = described(out / "image-002")
    predicted = f"{told['predicted']} {told['probabilities'][told['predicted']]:.2f}"
    assert f"c.png: {out / 'image-002' / 'sheet.png'}: {predicted}\n" in said.out
    kept = tmp_path / "kept"
    main(["explain", str(run.path), str(folder), "--methods", FEW, "--keep-names", "--out", str(kept)])
    assert sorted(p.name for p in kept.iterdir()) == ["a", "c"]


def test_the_folder_of_a_file_is_named_after_it_also_where_its_name_is_not_utf_8(
    run: Run, tmp_path: Path
) -> None:
    image, out = tmp_path / os.fsdecode(b"M\xfcller.png"), tmp_path / "kept"
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(image)
    options = ["--methods", "backprop", "--keep-names", "--out", str(out)]
    assert main(["explain", str(run.path), str(image), *options]) == 0
    assert described(out / "M\\udcfcller")["image"] == "M\\udcfcller"


@pytest.mark.parametrize(("file", "name"), [(".x.png", "x"), ("..png", "png"), ("...", "image")])
def test_maps_of_a_file_whose_name_begins_with_a_dot_have_a_folder_of_their_own(
    file: str, name: str, run: Run, tmp_path: Path
) -> None:
    """Else the output folder itself would be theirs, and be cleared of what is named as a map."""
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(tmp_path / file, format="PNG")
    assert [each.name for each in folders([str(tmp_path / file)], run, keep_names=True)] == [name]


def test_a_broken_image_of_a_folder_is_named_with_its_format_and_the_others_are_explained(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    grey = np.random.default_rng(1).integers(0, 255, (30, 40), dtype=np.uint8)
    for name in ("a.png", "b.png"):
        Image.fromarray(grey).save(folder / name)
    (folder / "b.png").write_bytes(b"\0" + (folder / "b.png").read_bytes()[1:])
    out = tmp_path / "out"
    assert main(["explain", str(run.path), str(folder), "--methods", FEW, "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "b.png is left out: not_a_picture: the file is named as PNG, but does not begin as PNG" in said
    assert "DICOM" not in said
    assert [p.name for p in out.iterdir()] == ["image-001"]


def test_classes_that_differ_in_punctuation_have_a_picture_each(run: Run, tmp_path: Path) -> None:
    case = run.store.cases["case_id"][0]
    made = explained(run, [case], ExplainOptions(methods=("grad_cam",), target="all", device="cpu"))
    one = made.parts[0]
    assert isinstance(one, Explanation)
    names = dict(zip(one.targets, ("Normal", "Nodule <1cm", "Nodule >1cm"), strict=True))
    renamed = replace(
        one,
        probabilities={names[name]: p for name, p in one.probabilities.items()},
        targets=tuple(names.values()),
        maps={(method, names[name]): values for (method, name), values in one.maps.items()},
    )
    folder = write(renamed, tmp_path, made.settings)
    pictures = described(folder)["pictures"]
    assert set(pictures.values()) == {f"Grad-CAM of {name}" for name in names.values()}
    assert {path.name for path in folder.glob("grad_cam-*.png")} == set(pictures)


def test_what_is_done_is_left_and_other_settings_are_refused(run: Run, tmp_path: Path) -> None:
    cases = run.store.cases["case_id"].to_list()[:3]
    explain(run, cases[:2], tmp_path, ExplainFilesOptions(methods=("grad_cam",)))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.png")}
    outcome = explain(run, cases, tmp_path, ExplainFilesOptions(methods=("grad_cam",)))
    assert len(outcome.written) == 3
    assert {p: p.stat().st_mtime_ns for p in before} == before
    with pytest.raises(UserError, match="other settings"):
        explain(run, cases, tmp_path, ExplainFilesOptions(methods=("backprop",)))
    explain(run, cases, tmp_path, ExplainFilesOptions(methods=("backprop",), overwrite=True))
    assert set(described(tmp_path / cases[0])["methods"]) == {"backprop"}


def test_no_number_of_an_earlier_call_keeps_its_maps_when_a_shorter_or_stopped_one_overwrites_them(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, out = np.random.default_rng(2), tmp_path / "out"
    for name in "abc":
        Image.fromarray(draw.integers(0, 255, (30, 40), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    a, b, c = (str(tmp_path / f"{name}.png") for name in "abc")
    again = ExplainFilesOptions(methods=("grad_cam",), overwrite=True)

    def with_maps() -> list[str]:
        return sorted(path.parent.name for path in out.rglob("maps.npz"))

    explain(run, [a, b, c], out, again)
    assert with_maps() == ["image-001", "image-002", "image-003"]
    explain(run, [c], out, again)
    assert with_maps() == ["image-001"]
    explain(run, [a, b], out, again)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("radgaze.explaining.making.write", stopped)
    with pytest.raises(KeyboardInterrupt):
        explain(run, [b, a], out, again)
    assert with_maps() == []


def test_maps_of_cases_leave_those_of_files_in_their_folder(run: Run, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(tmp_path / "a.png")
    options, out = ExplainFilesOptions(methods=("grad_cam",), overwrite=True), tmp_path / "out"
    explain(run, [str(tmp_path / "a.png")], out, options)
    explain(run, run.store.cases["case_id"].to_list()[:1], out, options)
    assert (out / "image-001" / "maps.npz").is_file()


def test_no_map_of_another_image_stays_in_a_folder_that_is_overwritten(run: Run, tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 255, (30, 40), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(255 - grey).save(tmp_path / "b.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "b.png").read_bytes()[:100])
    out = tmp_path / "out"

    def files_of(name: str, method: str, target: str = "predicted") -> list[str]:
        options = ExplainFilesOptions(methods=(method,), target=target, device="cpu", overwrite=True)
        explain(run, [str(tmp_path / name)], out, options)
        return sorted(path.name for path in (out / "image-001").iterdir())

    files_of("a.png", "grad_cam", "all")
    always = ["explanation.json", "maps.npz", "sheet.png"]
    assert files_of("b.png", "backprop") == sorted(["backprop.png", *always])
    (out / "image-001" / "notes.txt").write_text("of the user")
    assert files_of("broken.png", "backprop") == ["notes.txt"]


def test_one_seed_gives_one_result_whatever_the_batch(run: Run, tmp_path: Path) -> None:
    cases, methods = run.store.cases["case_id"].to_list()[:3], ("smooth_grad", "lime")
    for name, size in (("a", 1), ("b", 3)):
        explain(
            run,
            cases,
            tmp_path / name,
            ExplainFilesOptions(methods=tuple(methods), batch_size=size, seed=5, reference="cases"),
        )
    for case in cases:
        one, other = arrays(tmp_path / "a" / case), arrays(tmp_path / "b" / case)
        for key in one:
            np.testing.assert_allclose(one[key], other[key], atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.dcm"], "nowhere.dcm: no such file or folder, and no case"),
        (["CASE", "--target", "Cardiomegaly"], "--target must be one of predicted, all, Normal"),
        (["CASE", "--methods", "oracle"], "there is no method 'oracle'"),
        (
            ["CASE", "--methods", "pylon"],
            "the model gives no class maps",
        ),
        (["CASE", "--reference", "white"], "--reference must be one of black, mean"),
        (["CASE", "--device", "abacus"], "abacus"),
        (["CASE", "--batch-size", "0"], "--batch-size must be at least 1, got 0"),
    ],
)
def test_a_mistake_is_told_in_a_line(
    arguments: list[str], said: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = run.store.cases["case_id"][0]
    arguments = [case if word == "CASE" else word for word in arguments]
    assert main(["explain", str(run.path), *arguments, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_name_are_told_apart_by_numbers(run: Run, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_dicom(tmp_path / name / "same.dcm", np.random.default_rng(0).random((30, 30)))
    files = [str(tmp_path / name) for name in "ab"]
    assert [a.name for a in folders(files, run)] == ["image-001", "image-002"]
    with pytest.raises(UserError, match="two images are called same"):
        folders(files, run, keep_names=True)


def test_a_model_that_reads_gaze_takes_cases_and_refuses_files(
    archive: Path, store: Store, tmp_path: Path
) -> None:
    wanted = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    model = {"encoder": "tu-test_efficientnet", "weights": "none"}
    own = {**{k: v for k, v in wanted.items() if k != "model"}, "model": model}
    run = train(settings.resolve("temporal", data=str(store.path), **own), tmp_path / "run")
    case = store.cases["case_id"][0]
    explain(run, [case], tmp_path / "maps", ExplainFilesOptions(methods=("backprop", "occlusion")))
    assert any(key.startswith("occlusion/") for key in arrays(tmp_path / "maps" / case))
    with pytest.raises(UserError, match="files have none"):
        explain(run, [str(archive / "images" / "p10000-s50000.dcm")], tmp_path / "other")
    tested = run.predictions().head(3)
    made = predict(run, tested["case_id"].to_list())
    expected = tested.select(pl.col("^probability_.*$")).to_numpy()
    np.testing.assert_allclose(made.probabilities, expected, atol=1e-5)
    with pytest.raises(UserError, match="arrays have none"):
        predict(run, np.zeros((64, 64)))


@pytest.mark.parametrize("text", ["", '{"version": ', "[]", "[" * 100_000, "\x00"])
def test_a_damaged_explanation_is_told_by_its_name(text: str, run: Run, tmp_path: Path) -> None:
    case = run.store.cases["case_id"][1]
    (tmp_path / case).mkdir()
    (tmp_path / case / "explanation.json").write_text(text)
    with pytest.raises(UserError, match=r"explanation\.json .*`overwrite=True`"):
        explain(run, [case], tmp_path, ExplainFilesOptions(methods=("grad_cam",), device="cpu"))


def test_an_explanation_of_an_earlier_version_is_kept(run: Run, tmp_path: Path) -> None:
    case = run.store.cases["case_id"][0]
    explain(run, [case], tmp_path, ExplainFilesOptions(methods=("grad_cam",)))
    path = tmp_path / case / "explanation.json"
    content = described(tmp_path / case)
    assert content.pop("schema") == 1
    path.write_text(json.dumps(content))
    outcome = explain(run, [case], tmp_path, ExplainFilesOptions(methods=("grad_cam",)))
    assert len(outcome.written) == 1
    assert "schema" not in described(tmp_path / case)


def test_maps_of_other_weights_are_not_taken_for_those_of_the_run(run: Run, tmp_path: Path) -> None:
    case, options = run.store.cases["case_id"][0], ExplainFilesOptions(methods=("grad_cam",))
    shutil.copytree(run.path, tmp_path / "run")
    copied, out = Run.open(tmp_path / "run"), tmp_path / "maps"
    explain(copied, [case], out, options)
    assert described(out / case)["weights"] == [file_digest(run.weights)]
    first = arrays(out / case)[f"grad_cam/{described(out / case)['predicted']}"]
    tensors = load_file(copied.weights)
    save_file(
        {name: each + 0.1 if each.is_floating_point() else each for name, each in tensors.items()},
        copied.weights,
    )
    with pytest.raises(UserError, match="of other weights"):
        explain(copied, [case], out, options)
    explain(copied, [case], out, replace(options, overwrite=True))
    again = arrays(out / case)[f"grad_cam/{described(out / case)['predicted']}"]
    assert not np.array_equal(again, first)
    path, content = out / case / "explanation.json", described(out / case)
    del content["weights"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="of other weights"):
        explain(copied, [case], out, options)
