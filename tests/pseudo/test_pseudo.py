"""Masks of a run's maps: where they come from, whom they mark, and that another run learns from them."""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.models.config import ModelConfig
from radgaze.options import FieldError
from radgaze.pseudo import grabcut, making
from radgaze.pseudo import maps as pseudo_maps
from radgaze.pseudo.making import pseudo
from radgaze.pseudo.maps import ClassMap
from radgaze.pseudo.options import PseudoOptions
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.runs.vote import VoteOptions
from radgaze.runs.voting import make_vote
from radgaze.store.digest import file_digest
from radgaze.store.placement import Frame
from radgaze.store.store import Store
from radgaze.store.verification import verify
from radgaze.training.train import train
from tests.store.cohorts import CLASSES, make_cohort
from tests.stores import prepare
from tests.training.conftest import TINY


def new_regions(made: Store) -> pl.DataFrame:
    table = made.regions.table.with_row_index("row")
    return table.filter(pl.col("label").is_in(list(CLASSES)))


def expected_mask(run: Run, case_id: str, method: str, threshold: float) -> np.ndarray:
    """The mask of a case by another way: the generator alone, enlarged by hand."""
    (batch,) = run.batches("train", 1, [case_id])
    model = run.model()
    true = batch.label.argmax(1)
    if method == "mask":
        with torch.no_grad():
            values = model(batch.image).mask.sigmoid()[0, 0].numpy()
    elif method == "gaze":
        values = batch.gaze_maps()[0, 0].numpy()
    else:
        values = run.generator(model, method)(batch.image, true)[0, 0].numpy()
    row = run.store.cases.row(by_predicate=pl.col("case_id") == case_id, named=True)
    frame = Frame(row["rows"], row["columns"], run.store.size)
    if method != "mask":
        values = values / values.max()
    return frame.restored(values, run.config.input.fit) >= threshold


@pytest.mark.parametrize("method", ["grad_cam", "mask", "gaze", "guided_backprop"])
def test_masks_are_the_thresholded_maps_of_the_true_class(method: str, run: Run, tmp_path: Path) -> None:
    threshold = 0.45
    made = pseudo(run, PseudoOptions(tmp_path / "out", methods=method, threshold=threshold, device="cpu"))
    assert verify(made) == []
    regions = new_regions(made)
    splits = dict(run.store.cases.select("case_id", "split").iter_rows())
    assert {splits[case_id] for case_id in regions["case_id"]} == {"train"}
    truth = {row["case_id"]: row for row in run.store.cases.iter_rows(named=True)}
    assert regions.height > 3
    for row, case_id, label in regions.select("row", "case_id", "label").iter_rows():
        assert truth[case_id][f"label_{label}"] == 1
        differ = made.regions[row] != expected_mask(run, case_id, method, threshold)
        assert differ.mean() < 0.002, case_id  # rounding at the threshold
    assert made.manifest["pseudo"]["map"] == method


def test_the_origin_of_the_masks_is_recorded_without_a_path(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["pseudo", str(run.path), "--methods", "grad_cam", "--device", "cpu", "--validation"]
    assert main([*words, "--out", str(out)]) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["pseudo"]["runs"] == [
        {
            "name": "run",
            "experiment": "baseline",
            "seed": 42,
            "weights_sha256": file_digest(run.path / "model" / "model.safetensors"),
        }
    ]
    assert manifest["pseudo"]["splits"] == ["train", "validate"]
    assert str(tmp_path.parent.parent) not in (out / "manifest.json").read_text()
    assert main(["verify", str(out)]) == 0
    marked = set(new_regions(Store.open(out))["case_id"])
    test = set(run.store.cases.filter(split="test")["case_id"])
    assert not marked & test
    gaze = set(run.store.readings["case_id"])
    assert set(Store.open(out).readings["case_id"]) == gaze - marked


def test_only_positive_leaves_normal_cases_as_they_are(run: Run, tmp_path: Path) -> None:
    options = PseudoOptions(tmp_path / "out", methods="guided_backprop", only_positive=True, device="cpu")
    made = pseudo(run, options)
    assert "Normal" not in set(new_regions(made)["label"])
    normal = run.store.cases.filter(pl.col("label_Normal") == 1)
    before = run.store.readings.join(normal, on="case_id", how="semi")
    assert made.readings.join(normal, on="case_id", how="semi").equals(before)
    assert not before.is_empty()
    with pytest.raises(UserError, match="`normal` names all classes"):
        pseudo(run, replace(options, normal=CLASSES, out=tmp_path / "none"))


def test_another_run_learns_from_the_masks_as_its_gaze(run: Run, tmp_path: Path) -> None:
    made = pseudo(run, PseudoOptions(tmp_path / "out", methods="grad_cam", threshold=0.5, device="cpu"))
    small = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    gaze = {"boxes": "attention", "sigma": 0.01}
    config = settings.resolve("baseline", data=str(made.path), gaze=gaze, **small)
    learner = train(config, tmp_path / "learner")
    case_id = new_regions(made)["case_id"][0]
    (batch,) = learner.batches("train", 1, [case_id])
    G = batch.gaze_maps()[0, 0].numpy()
    inside = expected_mask(run, case_id, "grad_cam", 0.5)
    frame = Frame(64, 64, 64)
    small_mask = frame.resized(inside.view(np.uint8) * np.uint8(255), "stretch", 32) >= 128
    assert bool(batch.has_gaze[0])
    assert G[small_mask].mean() > 4 * G[~small_mask].mean()


def test_the_same_command_leaves_the_copy_and_another_is_refused(run: Run, tmp_path: Path) -> None:
    options = PseudoOptions(tmp_path / "out", methods="grad_cam", device="cpu")
    made = pseudo(run, options)
    before = {path: path.stat().st_mtime_ns for path in made.path.rglob("*")}
    pseudo(run, options)
    assert {path: path.stat().st_mtime_ns for path in made.path.rglob("*")} == before
    with pytest.raises(UserError, match=r"made with other settings \(threshold 0.2 and not 0.7\)"):
        pseudo(run, replace(options, threshold=0.7))


def test_a_case_whose_map_is_empty_keeps_its_gaze_and_the_last_line_counts_the_others(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One map is empty and one below the threshold; these cases have masks of organs, which do not count."""
    maps, organs = pseudo_maps.class_maps, set(run.store.regions.table["case_id"])
    spoilt: list[str] = []

    def some_empty(run: Run, options: PseudoOptions) -> Iterator[ClassMap]:
        for each in maps(run, options):
            if len(spoilt) < 2 and each.case_id in organs:
                spoilt.append(each.case_id)
                if len(spoilt) == 2:
                    yield replace(each, values=each.values * 0.1)
            else:
                yield each

    monkeypatch.setattr(making, "class_maps", some_empty)
    made = pseudo(run, PseudoOptions(tmp_path / "out", methods="gaze", device="cpu"))
    marked = set(new_regions(made)["case_id"])
    gaze, left = (set(each.readings["case_id"]) for each in (run.store, made))
    assert set(spoilt) <= left
    assert left == gaze - marked
    assert set(made.regions.table["case_id"]) == organs | marked
    asked = len(set(run.store.cases.filter(split="train")["case_id"]) & gaze)
    told = " ".join(capsys.readouterr().err.split())
    assert f"of {asked} cases: {len(marked)} of them have a mask, the other 2 stay as they are" in told


def test_boxes_that_stand_in_for_gaze_are_not_marked_as_gaze(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "images", cases=16, shape=(64, 64))
    of_case = [pl.when(pl.col(f"label_{name}") > 0).then(pl.lit(name)) for name in CLASSES]
    labels = cohort.cases.select("case_id", own=pl.coalesce(of_case))
    boxes = cohort.boxes.join(labels, on="case_id").with_columns(label="own").select(cohort.boxes.columns)
    store = prepare(replace(cohort, boxes=boxes), tmp_path / "store", size=64, workers=1)
    given = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}, "gaze": {"boxes": "attention"}}
    config = settings.resolve("no_decoder", data=str(store.path), **given)
    run = train(config, tmp_path / "run", predictions=False)
    made = pseudo(run, PseudoOptions(tmp_path / "out", methods="gaze", device="cpu"))
    marked, looked_at = set(new_regions(made)["case_id"]), set(store.readings["case_id"])
    assert marked
    assert marked <= looked_at
    boxed = store.boxes.filter(~pl.col("case_id").is_in(looked_at))
    assert not boxed.is_empty()
    assert made.boxes.join(boxed, on="case_id", how="semi").height == boxed.height


def test_a_model_without_a_mask_is_refused_before_any_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelConfig, "has_mask", property(lambda self: False))
    monkeypatch.setattr(pseudo_maps, "progress", lambda *given, **more: pytest.fail("a bar began"))
    with pytest.raises(UserError, match="has no mask; name a heatmap generator with `methods`"):
        pseudo(run, PseudoOptions(tmp_path / "out", methods="mask", device="cpu"))
    assert not list(tmp_path.iterdir())


def test_one_result_whatever_the_batch(run: Run, tmp_path: Path) -> None:
    made = [
        pseudo(run, PseudoOptions(tmp_path / f"{n}", methods="grad_cam", device="cpu", batch_size=n))
        for n in (1, 7)
    ]
    one, other = (new_regions(store) for store in made)
    assert one["case_id"].equals(other["case_id"])
    for row in one["row"]:
        assert (made[0].regions[row] != made[1].regions[row]).mean() < 0.002


def test_the_maps_of_a_vote_make_masks_too(run: Run, tmp_path: Path) -> None:
    wanted = {**TINY, "seed": 7, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    other = train(settings.resolve("baseline", data=run.config.data, **wanted), tmp_path / "other")
    vote = make_vote([run, other], VoteOptions(tmp_path / "vote"))
    made = pseudo(vote, PseudoOptions(tmp_path / "out", methods="mask", threshold=0.45, device="cpu"))
    manifest = json.loads((made.path / "manifest.json").read_text())
    names = [each["name"] for each in manifest["pseudo"]["runs"]]
    assert names == ["run", "other"]
    masks = []
    case_id = new_regions(made)["case_id"][0]
    (batch,) = run.batches("train", 1, [case_id])
    for each in (run, other):
        with torch.no_grad():
            masks.append(each.model()(batch.image).mask.sigmoid()[0, 0].numpy())
    expected = Frame(64, 64, 64).restored(np.mean(masks, 0), "stretch") >= 0.45
    assert (made.regions[new_regions(made)["row"][0]] != expected).mean() < 0.002


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "oracle"], "there is no heatmap generator 'oracle'"),
        (["--threshold", "0"], "--threshold must be above 0"),
        (["--methods", "mask", "--threshold", "1"], "lower it"),
        (["--methods", "pylon"], "gives no class maps"),
        (["--surely-outside", "0.3"], "--surely-outside must be below --surely-inside 0.3, got 0.3"),
    ],
)
def test_a_mistake_is_told_in_a_line(
    arguments: list[str], said: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pseudo", str(run.path), *arguments, "--device", "cpu", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in " ".join(error.split())
    assert not list(tmp_path.glob("out*"))


def test_grabcut_follows_the_edge_of_a_disc() -> None:
    """A map that is too small and off the middle of a bright disc becomes the disc."""
    pytest.importorskip("cv2")
    y, x = np.mgrid[:64, :64]
    disc = (y - 32) ** 2 + (x - 32) ** 2 < 15**2
    noise = np.random.default_rng(0).normal(0, 0.03, disc.shape)
    image = (0.3 + 0.4 * disc + noise).clip(0, 1).astype(np.float32)
    values = np.exp(-((y - 28) ** 2 + (x - 35) ** 2) / (2 * 12**2)).astype(np.float32)

    def dice(mask: np.ndarray) -> float:
        return float(2 * (mask & disc).sum() / (mask.sum() + disc.sum()))

    cut = grabcut.grabcut(image, values, 0.4)
    assert dice(values >= 0.4) < 0.85
    assert dice(cut) > 0.95
    np.testing.assert_array_equal(cut, grabcut.grabcut(image, values, 0.4))
    assert not grabcut.grabcut(image, np.zeros_like(values), 0.4).any()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": 3}, "`epochs` needs `refine=irnet`"),
        ({"seed": 1, "refine": "grabcut"}, "`seed` needs `refine=irnet`"),
        ({"surely_inside": 0.7}, "`surely_inside` needs `refine=irnet`"),
        ({"surely_outside": 0.2}, "`surely_outside` needs `refine=irnet`"),
        ({"normal": ["Nothing"]}, "`normal` needs `only_positive`"),
    ],
)
def test_an_option_without_the_one_that_it_is_of_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(FieldError, match=re.escape(said)):
        PseudoOptions("out", **given)


def test_grabcut_without_opencv_is_told_before_any_work(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., object] = builtins.__import__

    def absent(name: str, *rest: object, **more: Mapping[str, object]) -> object:
        if name == "cv2":
            raise ImportError("no cv2")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UserError, match=r"radgaze\[grabcut\]"):
        pseudo(run, PseudoOptions(tmp_path / "out", methods="grad_cam", refine="grabcut", device="cpu"))
    assert not list(tmp_path.iterdir())


def test_grabcut_marks_the_copy(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    options = PseudoOptions(tmp_path / "out", methods="grad_cam", refine="grabcut", device="cpu")
    made = pseudo(run, options)
    assert verify(made) == []
    assert made.manifest["pseudo"]["refine"] == "grabcut"


def test_irnet_marks_the_copy_the_same_each_time(run: Run, tmp_path: Path) -> None:
    options = PseudoOptions(
        tmp_path / "a", methods="gaze", refine="irnet", epochs=2, batch_size=6, device="cpu"
    )
    made = [pseudo(run, replace(options, out=tmp_path / name)) for name in ("a", "b")]
    assert verify(made[0]) == []
    assert made[0].manifest["pseudo"] == made[1].manifest["pseudo"]
    assert made[0].manifest["pseudo"]["epochs"] == 2
    assert (made[0].path / "regions.parquet").read_bytes() == (made[1].path / "regions.parquet").read_bytes()
    plain = pseudo(run, PseudoOptions(tmp_path / "plain", methods="gaze", batch_size=6, device="cpu"))
    pairs = zip(new_regions(made[0])["row"], new_regions(plain)["row"], strict=True)
    assert any((made[0].regions[one] != plain.regions[other]).any() for one, other in pairs)
