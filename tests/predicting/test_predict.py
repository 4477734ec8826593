"""Predictions of files, arrays and cases are those of the stored images, whatever way they are given."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from radgaze.dicom.read import read_image
from radgaze.errors import UserError
from radgaze.evaluation.referral.selective import Referral, ReferralValidation
from radgaze.models.output import Output
from radgaze.predicting.inputs import StoredCases, Subject
from radgaze.predicting.options import PredictOptions
from radgaze.predicting.predict import predict, predict_subjects, stream
from radgaze.predicting.predictor import Predictor
from radgaze.runs.run import Run
from radgaze.runs.vote import Rule, VoteOptions
from radgaze.runs.voting import make_vote
from radgaze.store.placement import Frame
from radgaze.store.store import Store
from tests.predicting.conftest import file_of, trained
from tests.store.cohorts import make_cohort
from tests.stores import prepare

CPU = PredictOptions(device="cpu")


def of_test(run: Run) -> pl.DataFrame:
    return run.predictions().filter(split="test")


def recorded(run: Run) -> NDArray[np.float64]:
    table: NDArray[np.float64] = of_test(run).select(pl.col("^probability_.*$")).to_numpy()
    return table


def test_a_test_image_is_predicted_from_its_file_as_in_the_run(archive: Path, run: Run) -> None:
    files = [file_of(archive, case) for case in of_test(run)["case_id"]]
    made = predict(run, files, CPU)
    np.testing.assert_allclose(made.probabilities, recorded(run), atol=1e-6)
    assert made.names == tuple(f"image-{k:03d}" for k in range(1, len(files) + 1))
    assert made.errors == (None,) * len(files)
    assert repr(made).startswith(f"Prediction of {len(files)} images")
    assert "array" not in repr(made)
    assert [names[0] for names in made.predicted] == [run.classes[k] for k in recorded(run).argmax(1)]


def test_reading_a_case_does_not_go_through_all_others(run: Run) -> None:
    class Counted(list[str]):
        passes = 0

        def __iter__(self) -> Iterator[str]:
            Counted.passes += 1
            return super().__iter__()

    stored = StoredCases.of(run, run.model(), run.store)
    ids = stored.dataset.case_ids
    stored.dataset.case_ids = Counted(ids)
    assert [stored.subject(name, name).case_id for name in ids] == ids
    assert Counted.passes == 0
    with pytest.raises(UserError, match="no such case here: elsewhere"):
        stored.subject("x", "elsewhere")


@pytest.mark.parametrize("images", [None, 3, np.float32(0.5)])
def test_what_is_no_image_and_no_collection_is_refused(images: Any, run: Run) -> None:
    with pytest.raises(UserError, match=f"`images` must be a path, .* got a {type(images).__name__}"):
        predict(run, images, CPU)


def test_cases_and_arrays_and_tensors_are_predicted_alike(archive: Path, run: Run) -> None:
    ids = of_test(run)["case_id"].to_list()
    greys = [read_image(file_of(archive, case)) for case in ids]
    for given in (
        ids,
        greys,
        [torch.from_numpy(each) for each in greys],
        [each[None] for each in greys],
        [each[None, None].astype(np.float64) for each in greys],
        (each for each in greys),
    ):
        made = predict(run, given, CPU)
        np.testing.assert_allclose(made.probabilities, recorded(run), atol=1e-6)
    twice = predict(run, [ids[0], greys[1], ids[0]], CPU)
    assert twice.names == (ids[0], "image-001", ids[0])
    np.testing.assert_allclose(twice.probabilities, recorded(run)[[0, 1, 0]], atol=1e-6)


def test_a_prepared_batch_is_predicted_as_it_is(run: Run) -> None:
    batch = next(iter(run.batches("test", 3)))
    made = predict(run, batch.image, CPU, prepared=True)
    np.testing.assert_allclose(made.probabilities, recorded(run)[:3], atol=1e-6)
    with torch.no_grad():
        output = run.model()(batch.image)
    assert made.mask is not None
    np.testing.assert_allclose(made.mask, output.mask[:, 0].sigmoid(), atol=1e-6)
    assert predict(run, batch.image, CPU, prepared=True, masks=False).mask is None
    with pytest.raises(UserError, match="must be floats of 32 × 32 pixels"):
        predict(run, np.zeros((64, 64), np.float32), CPU, prepared=True)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_whole_numbers_are_taken_as_those_of_a_picture(kind: type, run: Run, tmp_path: Path) -> None:
    most = 250 if kind is np.uint8 else 4000
    values: NDArray[np.integer] = np.random.default_rng(0).integers(20, most, (50, 70)).astype(kind)
    Image.fromarray(values).save(tmp_path / "a.png")
    of_file = predict(run, tmp_path / "a.png", CPU).probabilities
    np.testing.assert_array_equal(predict(run, values, CPU).probabilities, of_file)
    np.testing.assert_array_equal(predict(run, torch.from_numpy(values), CPU).probabilities, of_file)


def test_the_batch_size_changes_nothing_and_few_images_are_drawn_ahead(run: Run) -> None:
    images = np.random.default_rng(0).random((7, 40, 50))
    one, five = (predict(run, images, PredictOptions("cpu", size)) for size in (1, 5))
    np.testing.assert_allclose(one.probabilities, five.probabilities, atol=1e-6)
    assert one.mask is not None
    assert five.mask is not None
    np.testing.assert_allclose(one.mask, five.mask, atol=1e-5)
    drawn = 0

    def endless() -> Iterator[NDArray[np.float64]]:
        nonlocal drawn
        while True:
            drawn += 1
            yield images[0]

    parts = stream(run, endless(), PredictOptions("cpu", 2))
    assert len(next(parts)) == 2
    assert drawn <= 3


def test_an_unreadable_image_keeps_its_place(archive: Path, run: Run, tmp_path: Path) -> None:
    good, bad = file_of(archive, "case-00"), tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    made = predict(run, [bad, good, bad, good], PredictOptions("cpu", 2))
    alone = predict(run, good, CPU)
    assert [error is not None for error in made.errors] == [True, False, True, False]
    assert np.isnan(made.probabilities[[0, 2]]).all()
    np.testing.assert_allclose(made.probabilities[1], alone.probabilities[0], atol=1e-6)
    assert made.predicted[0] == ()
    assert made.mask is not None
    assert np.isnan(made.mask[0]).all()
    table = made.to_frame()
    assert table["predicted"].to_list() == [None, made.predicted[1][0], None, made.predicted[3][0]]
    assert table["probability_CHF"].null_count() == 2
    assert "decision" not in table.columns
    only = predict(run, [bad], CPU)
    assert only.mask is None
    assert only.to_frame()["error"].null_count() == 0


def test_the_run_s_rule_decides_as_it_does_on_the_probabilities(run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    told = ReferralValidation(cases=8, errors=1, coverage=0.5, frr=0.5, risk=0.1)
    p = recorded(run)
    gini = (p**2).sum(1)
    doubt = (1 - gini) / gini  # Granese et al. 2021
    threshold = float(np.median(doubt))
    Referral(run.classes, "softmax", "alpha", 1.0, 0.0, threshold, "coverage", 0.5, 1.0, told).write(copy)
    made = predict(Run.open(copy), of_test(run)["case_id"].to_list(), CPU)
    assert made.accept is not None
    clear = np.abs(doubt - threshold) > 1e-6
    np.testing.assert_array_equal(made.accept[clear], (doubt <= threshold)[clear])
    assert set(made.accept.tolist()) == {True, False}
    table = made.to_frame()
    assert table["decision"].to_list() == ["accept" if each else "refer" for each in made.accept]
    np.testing.assert_allclose(table["score"], doubt, rtol=1e-4)


def test_a_vote_is_predicted_by_its_rule(archive: Path, store: Store, run: Run, tmp_path: Path) -> None:
    other = trained(store, tmp_path / "other", seed=7)
    files = [file_of(archive, case) for case in of_test(run)["case_id"]]
    rules: tuple[Rule, ...] = ("mean", "majority")
    for rule in rules:
        made = make_vote([run, other], VoteOptions(tmp_path / rule, rule=rule))
        result = predict(made, files, CPU)
        np.testing.assert_allclose(result.probabilities, recorded(made), atol=1e-6)
        assert result.mask is not None
        each = [predict(one, files, CPU).mask for one in (run, other)]
        masks = np.stack(cast("list[NDArray[np.float32]]", each))
        expected = masks.mean(0) if rule == "mean" else (masks > 0.5).mean(0)
        np.testing.assert_allclose(result.mask, expected, atol=1e-6)


def test_a_run_without_its_store_reads_files_as_the_store_was_read(tmp_path: Path) -> None:
    """The store has another size and other grey values than the defaults of `prepare`."""
    cohort = make_cohort(tmp_path / "images", cases=24)
    store = prepare(cohort, tmp_path / "store", size=48, voi="none", workers=1)
    run = trained(store, tmp_path / "run")
    files = [file_of(tmp_path, case) for case in of_test(run)["case_id"]]
    store.path.rename(tmp_path / "elsewhere")
    np.testing.assert_allclose(
        predict(Run.open(run.path), files, CPU).probabilities, recorded(run), atol=1e-6
    )


class Constant(nn.Module):
    """A network of given logits, whatever the image."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([logits]))

    def forward(self, images: Tensor) -> Output:
        return Output(self.logits.expand(len(images), -1), None)


@pytest.mark.parametrize(
    ("logits", "names"),
    [((2.0, -1.0, 0.0), ("Normal", "pneumonia")), ((-1.0, -2.0, -3.0), ()), ((2.0, float("nan"), 0.0), None)],
)
def test_of_classes_that_do_not_exclude_each_other_all_from_a_half_on_are_predicted(
    logits: tuple[float, ...], names: tuple[str, ...] | None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "exclusive", False)
    monkeypatch.setattr("radgaze.predicting.predictor.probabilities", lambda x, kind: x.sigmoid())
    predictor = Predictor(Run(run.path, run.config), [Constant(*logits)], None)
    subject = Subject("a", torch.zeros(1, 32, 32), (), None, None, None, Frame(32, 32, 32), "stretch")
    (made,) = predict_subjects(predictor, iter([subject]), 4, masks=True)
    assert made.predicted == (names or (),)
    assert made.mask is None
    assert (made.errors[0] is None) == (names is not None)
    if names == ():
        assert made.in_words(0) == "no class"
        assert made.to_frame()["predicted"].to_list() == [""]


def test_whether_classes_exclude_each_other_is_told_by_the_labels(run: Run, tmp_path: Path) -> None:
    objective = replace(run.config.objective, classification="sigmoid")
    one_each = Run(tmp_path, replace(run.config, objective=objective))
    table = run.predictions()
    assert run.exclusive
    table.write_parquet(tmp_path / "predictions.parquet")
    shutil.copytree(run.path / "model", tmp_path / "model")
    assert one_each.exclusive
    table.with_columns(label_CHF=pl.lit(1)).write_parquet(tmp_path / "predictions.parquet")
    assert not Run(tmp_path, one_each.config).exclusive


@pytest.mark.parametrize(
    ("images", "said"),
    [
        ([], "must not be empty"),
        (np.zeros(9), r"must be grey, of shape \(H, W\)"),
        (np.zeros((9, 9, 3)), r"got \(9, 9, 3\)"),
        (np.zeros((2, 3, 9, 9)), r"got \(2, 3, 9, 9\)"),
        (np.zeros((0, 9)), "must not be empty"),
        (np.full((9, 9), 255.0), "from 0 .black. to 1 .white., got values from 255 to 255"),
        (np.full((9, 9), np.nan), "must be finite"),
        (np.full((9, 9), "a"), "must be an array of numbers"),
        ("nowhere.dcm", "no such file or folder, and no case"),
    ],
)
def test_what_is_no_image_is_refused(images: object, said: str, run: Run) -> None:
    with pytest.raises(UserError, match=said):
        predict(run, images, CPU)  # type: ignore[arg-type]
