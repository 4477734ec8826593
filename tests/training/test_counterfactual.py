"""Training on changed images: which are changed and how, the same in every run, and none but in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from radgaze import models
from radgaze.errors import Stopped, UserError
from radgaze.options import FieldError
from radgaze.runs import settings, training_images
from radgaze.runs.config import Config, CounterfactualConfig
from radgaze.runs.data import dataset
from radgaze.runs.run import Run
from radgaze.runs.run_store import open_store
from radgaze.store.batch import Batch, collate
from radgaze.store.lungs import draw_lung_shape
from radgaze.store.store import Store
from radgaze.training import module as module_of_training
from radgaze.training.checks import check_gaze, check_unchanged
from radgaze.training.counterfactual import Changed, change, check_regions, regions
from radgaze.training.loading import StoreData
from radgaze.training.module import GazeGuided
from radgaze.training.train import train
from tests.store.cohorts import make_cohort
from tests.stores import prepare
from tests.training.conftest import Configure

EXCHANGE = CounterfactualConfig(kind="exchange")


def data_of(config: Config) -> StoreData:
    return StoreData(open_store(config), config)


def batch_of(config: Config, epoch: int = 0) -> Batch:
    cases = data_of(config).train_cases
    cases.set_epoch(epoch)
    return collate([cases[i] for i in range(len(cases))])


def predictions(run: Run) -> bytes:
    return (run.path / "predictions.parquet").read_bytes()


@pytest.fixture(scope="module")
def partly(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """32 cases, of which every fourth has no gaze, and a third no masks of the lungs."""
    folder = tmp_path_factory.mktemp("partly")
    cohort = make_cohort(folder / "images", cases=32, shape=(64, 64))
    boxes = pl.DataFrame(
        {"case_id": ["case-00", "case-01"], "label": ["CHF", "CHF"], "x1": [0.0, 8.0], "y1": [0.0, 16.0]}
    ).with_columns(x2=pl.col("x1") + 24, y2=pl.col("y1") + 8)
    return prepare(replace(cohort, boxes=boxes), folder / "store", size=64, workers=1)


@pytest.fixture
def partial(config: Configure, partly: Store) -> Config:
    """Settings of the baseline on the store of partial gaze."""
    return config("baseline", data=str(partly.path))


def test_a_case_without_gaze_stays_as_it_is_and_is_counted(partial: Config) -> None:
    batch = batch_of(partial)
    assert 0 < batch.has_gaze.sum() < len(batch)
    changed = change(batch, EXCHANGE)
    assert torch.equal(changed.changed, batch.has_gaze)
    assert torch.equal(changed.without_region, ~batch.has_gaze)
    assert torch.equal(changed.batch.image[~batch.has_gaze], batch.image[~batch.has_gaze])
    assert (changed.batch.image != batch.image).flatten(1).any(1)[batch.has_gaze].all()
    assert [int(each) for each in changed.counts.values()] == [
        int(batch.has_gaze.sum()),
        int((~batch.has_gaze).sum()),
        0,
    ]
    for each in ("label", "points", "weights", "boxes", "case_id"):
        assert getattr(changed.batch, each) is getattr(batch, each)


def test_the_region_of_gaze_is_where_the_map_of_the_batch_is_high(partial: Config) -> None:
    batch = batch_of(partial)
    inside, _ = regions(batch, replace(EXCHANGE, threshold=0.3))
    assert torch.equal(inside, (batch.gaze_maps() >= 0.3) & batch.has_gaze.view(-1, 1, 1, 1))
    other = replace(batch, points=batch.points.flip(2))  # as a control of gaze does it
    assert not torch.equal(regions(other, EXCHANGE)[0], regions(batch, EXCHANGE)[0])


def test_boxes_of_another_class_are_no_region(partial: Config) -> None:
    batch = batch_of(partial)
    inside, has_region = regions(batch, replace(EXCHANGE, region="boxes"))
    place = batch.case_id.index("case-01")  # of class CHF, and case-00 is not
    assert has_region.nonzero()[:, 0].tolist() == [place]
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[8:12, 4:16] = True  # half of the pixels of the original
    assert torch.equal(inside[place, 0], expected)


def test_lungs_are_the_cases_own_masks_and_else_the_fixed_shape(partial: Config, partly: Store) -> None:
    wanted = replace(partial, counterfactual=replace(EXCHANGE, region="lungs"))
    batch = batch_of(wanted)
    inside, has_region = regions(batch, wanted.counterfactual)
    assert has_region.all()
    table = partly.regions.table.with_row_index("row")
    for i, case_id in enumerate(batch.case_id):
        rows = table.filter(pl.col("case_id") == case_id)["row"].to_list()
        if not rows:
            assert torch.equal(inside[i, 0], torch.from_numpy(draw_lung_shape((32, 32))).bool())
            continue
        union = np.any([partly.regions[row] for row in rows], axis=0)
        mean = union.reshape(32, 2, 32, 2).mean((1, 3))  # bilinear with antialiasing reaches further
        own = inside[i, 0].numpy()
        assert own[mean == 1].mean() > 0.9
        assert own[mean == 0].mean() < 0.1
    with pytest.raises(ValueError, match="without lungs"):
        regions(batch_of(partial), wanted.counterfactual)


@pytest.mark.parametrize("kind", ["exchange", "fill", "noise", "blur"])
def test_what_is_in_the_region_stays_and_the_rest_is_replaced(kind: str, partial: Config) -> None:
    batch = batch_of(partial)
    wanted = settings.resolve("baseline", counterfactual={"kind": kind, "keep": "own"}).counterfactual
    found = change(batch, wanted)
    inside, has_region = regions(batch, wanted)
    assert torch.equal(found.batch.image[inside], batch.image[inside])
    outside = ~inside & has_region.view(-1, 1, 1, 1)
    assert (found.batch.image[outside] != batch.image[outside]).float().mean() > 0.9
    if kind == "fill":
        grey = batch.image.mean((2, 3), keepdim=True).expand_as(batch.image)
        torch.testing.assert_close(found.batch.image[outside], grey[outside])
    if kind == "noise":
        assert found.batch.image.min() >= 0
        values = found.batch.image[outside]
        assert abs(float(values.mean()) - 0.5) < 0.05  # the images are noise from 0 to 1
    if kind == "blur":
        assert found.batch.image[outside].std() < 0.3 * batch.image[outside].std()


def test_choices_follow_from_seed_epoch_and_case_alone(partial: Config) -> None:
    half = replace(EXCHANGE, share=0.5)
    batch = batch_of(partial)
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(1)).tolist()
    cases = data_of(partial).train_cases
    again = change(collate([cases[i] for i in order]), half)
    first = change(batch, half)
    assert 0 < first.changed.sum() < batch.has_gaze.sum()
    assert torch.equal(again.changed, first.changed[order])
    assert torch.equal(again.batch.image, first.batch.image[order])
    next_epoch = change(batch_of(partial, epoch=1), half)
    assert not torch.equal(next_epoch.changed, first.changed)
    other_seed = change(batch_of(replace(partial, seed=43)), half)
    assert not torch.equal(other_seed.changed, first.changed)
    whole = [change(batch_of(partial, epoch), EXCHANGE).batch.image for epoch in (0, 1)]
    assert not torch.equal(*whole)  # another partner


def test_a_share_is_that_of_the_images(partial: Config) -> None:
    quarter = replace(EXCHANGE, share=0.25)
    chosen = []
    for epoch in range(40):
        found = change(batch_of(partial, epoch), quarter)
        chosen.append((found.changed | found.without_region | found.without_partner).float())
    share = torch.stack(chosen)
    assert abs(float(share.mean()) - 0.25) < 4 * (0.25 * 0.75 / share.numel()) ** 0.5
    assert share.sum(0).min() > 0  # each case at some time


def test_autocast_changes_nothing(partial: Config) -> None:
    batch = batch_of(partial)
    for kind in ("exchange", "blur", "noise"):
        wanted = settings.resolve(
            "baseline", counterfactual={"kind": kind, "partner": "other_class", "feather": 0.1}
        ).counterfactual
        plain = change(batch, wanted).batch.image
        with torch.autocast("cpu", torch.bfloat16):
            cast = change(batch, wanted).batch.image
        assert cast.dtype == torch.float32
        assert torch.equal(cast, plain)


@pytest.mark.slow
def test_one_seed_gives_one_result_whatever_the_number_of_workers(config: Configure, tmp_path: Path) -> None:
    runs = [
        train(
            config("exchange_guided", input={"augment": True}, trainer={"workers": workers}),
            tmp_path / str(workers),
        )
        for workers in (0, 2)
    ]
    assert predictions(runs[0]) == predictions(runs[1])
    histories = [run.history().drop("seconds") for run in runs]
    assert histories[0].equals(histories[1])
    counts = histories[0].select(name for name in histories[0].columns if name.startswith("counterfactual/"))
    assert counts.columns == [
        f"counterfactual/{name}" for name in ("changed", "without_partner", "without_region")
    ]
    assert counts.sum_horizontal().to_list() == [16.0, 16.0]  # two steps of 8 cases
    assert counts["counterfactual/changed"].min() == 11.0  # 15 of 20 cases have gaze
    sheets = [(run.path / training_images.FILE).read_bytes() for run in runs]
    assert sheets[0] == sheets[1]


def test_a_run_on_its_images_as_they_are_is_another_and_has_no_sheet(
    config: Configure, tmp_path: Path
) -> None:
    wanted = config("exchange")
    changed = train(wanted, tmp_path / "exchange")
    assert (changed.path / training_images.FILE).is_file()
    plain = train(replace(wanted, counterfactual=CounterfactualConfig()), tmp_path / "plain")
    assert predictions(plain) != predictions(changed)
    assert not (plain.path / training_images.FILE).exists()


def test_a_run_that_was_stopped_goes_on_as_it_would_have(
    config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = config("exchange", counterfactual={"share": 0.5}, trainer={"max_epochs": 3})
    whole = train(wanted, tmp_path / "whole")
    step, calls = GazeGuided.training_step, [0]

    def interrupted(self: GazeGuided, batch: Batch, index: int) -> Tensor:
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(GazeGuided, "training_step", interrupted)
        with pytest.raises(Stopped):
            train(wanted, tmp_path / "stopped")
    sheet = (tmp_path / "stopped" / training_images.FILE).read_bytes()
    resumed = train(wanted, tmp_path / "stopped", resume=True)
    assert predictions(resumed) == predictions(whole)
    assert (resumed.path / training_images.FILE).read_bytes() == sheet
    columns = [name for name in whole.history().columns if name.startswith("counterfactual/")]
    assert resumed.history().select(columns).equals(whole.history().select(columns))


def test_validation_and_test_images_are_never_changed_and_heatmaps_are_made_of_what_is_seen(
    config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Tensor] = []
    seen: dict[bool, list[Tensor]] = {True: [], False: []}

    def recorded(batch: Batch, wanted: CounterfactualConfig) -> Changed:
        found = change(batch, wanted)
        made.append(found.batch.image)
        return found

    forward = models.forward

    def watched(model: torch.nn.Module, batch: Batch) -> object:
        seen[model.training].append(batch.image)
        return forward(model, batch)

    monkeypatch.setattr(module_of_training, "change", recorded)
    monkeypatch.setattr(models, "forward", watched)
    wanted = config("exchange_guided", trainer={"max_epochs": 1})
    train(wanted, tmp_path / "run")
    assert len(made) == len(seen[True]) == 2
    assert all(a is b for a, b in zip(made, seen[True], strict=True))  # inside of the heatmap's capture
    held_out = [dataset(open_store(wanted), wanted, split) for split in ("validate", "test")]
    originals = torch.stack([sample.image for cases in held_out for sample in cases]).flatten(1)
    shown = torch.cat(seen[False]).flatten(1)
    same = (shown[:, None] == originals).all(2)
    assert same.any(1).all()
    assert same.any(0).all()


def test_the_picture_has_the_first_images_before_and_after(config: Configure, tmp_path: Path) -> None:
    wanted = config("exchange", counterfactual={"share": 0.5}, trainer={"max_epochs": 1})
    run = train(wanted, tmp_path / "run")
    first = next(iter(data_of(wanted).train_dataloader()))
    found = change(first, wanted.counterfactual)
    images = training_images.read(run.path / training_images.FILE)
    assert len(images) == 8
    for i, shown in enumerate(images):
        for pixels, part in (
            (shown.image, first.image),
            (shown.retained, found.retained),
            (shown.seen, found.batch.image),
        ):
            np.testing.assert_allclose(pixels, 255 * part[i, 0].numpy(), atol=0.51)
    assert [shown.is_changed for shown in images] == found.changed.tolist()
    assert {shown.is_changed for shown in images} == {True, False}


def test_large_images_are_shown_smaller_and_a_damaged_picture_is_named(tmp_path: Path) -> None:
    large = np.arange(600 * 600, dtype=np.uint32).reshape(600, 600).astype(np.uint8)
    path = tmp_path / training_images.FILE
    assert training_images.read(path) == []
    training_images.write([training_images.TrainingImage(large, large, large)] * 3, path)
    assert [each.image.shape for each in training_images.read(path)] == [(256, 256)] * 3
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="damaged"):
        training_images.read(path)


def test_a_store_without_any_region_is_refused_and_few_are_told(partial: Config) -> None:
    cases = data_of(partial).train_cases
    assert check_regions(CounterfactualConfig(), cases) is None
    with pytest.raises(UserError, match=r"none of the \d+ training cases has masks"):
        check_regions(replace(EXCHANGE, region="masks"), cases)
    notice = check_regions(EXCHANGE, cases)
    assert notice is not None
    assert f"only {cases.with_gaze} of {len(cases)}" in notice
    with_lungs = data_of(replace(partial, counterfactual=replace(EXCHANGE, region="lungs"))).train_cases
    own = sum(int(case_id[5:]) % 3 > 0 for case_id in with_lungs.case_ids)
    notice = check_regions(replace(EXCHANGE, region="lungs"), with_lungs)
    assert notice is not None
    assert notice.startswith(f"{own} of {len(cases)} training cases have masks of both lungs")


def test_a_store_without_masks_of_lungs_is_said_to_get_one_shape_for_all(
    config: Configure, tmp_path: Path
) -> None:
    cohort = make_cohort(tmp_path / "images", cases=16, shape=(64, 64))
    bare = replace(cohort, regions=cohort.regions.clear())
    store = prepare(bare, tmp_path / "store", size=64, workers=1)
    lungs = replace(EXCHANGE, region="lungs")
    cases = data_of(config("baseline", data=str(store.path), counterfactual=lungs)).train_cases
    notice = check_regions(lungs, cases)
    assert notice is not None
    assert notice.startswith(f"none of the {len(cases)} training cases has masks of both lungs")
    assert "for the others" not in notice


def test_cases_with_boxes_of_one_class_alone_are_said_to_be_each_others_only_partners(
    config: Configure, tmp_path: Path
) -> None:
    cohort = make_cohort(tmp_path / "images", cases=32, shape=(64, 64))
    ill = cohort.cases.filter(label_pneumonia=1)["case_id"]
    place = {"label": "opacity", "x1": 8.0, "y1": 8.0, "x2": 32.0, "y2": 40.0}
    boxes = pl.DataFrame([{"case_id": case_id, **place} for case_id in ill])
    store = prepare(replace(cohort, boxes=boxes), tmp_path / "store", size=64, workers=1)
    cases = data_of(config("baseline", data=str(store.path))).train_cases
    sick = cases.labels.argmax(1) == store.classes.index("pneumonia")
    assert 1 < sick.sum() < len(cases)

    both = replace(EXCHANGE, region="boxes")
    batch = collate([cases[i] for i in range(len(cases))])
    # The images of one class, painted black, show whose pixels the others take.
    painted = replace(batch, image=torch.where(sick.view(-1, 1, 1, 1), 0.0, 1.0).expand_as(batch.image))
    took = {
        keep: change(painted, replace(both, keep=keep)).batch.image[sick].sum() for keep in ("both", "own")
    }
    assert took["both"] == 0 < took["own"]

    notice = check_regions(both, cases)
    assert notice is not None
    assert f"Of those with boxes {int(sick.sum())} have the same classes" in notice
    asked_for = replace(both, partner="same_class")
    for other in (replace(both, keep="own"), replace(both, kind="fill"), asked_for, EXCHANGE):
        notice = check_regions(other, cases)
        assert notice is not None
        assert "same classes" not in notice


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "swap"}, "kind"),
        ({"share": 0.0}, "`counterfactual.share` must be above 0 and at most 1, got 0.0"),
        ({"threshold": 1.5}, "`counterfactual.threshold` must be above 0 and at most 1, got 1.5"),
        ({"feather": 0.6}, "`counterfactual.feather` must be from 0 to 0.5, got 0.6"),
        ({"keep": "all"}, "keep"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(values: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        settings.resolve("exchange", counterfactual=values)


def test_the_section_is_left_out_by_default_and_read_again_where_it_is_given(tmp_path: Path) -> None:
    plain = settings.resolve("baseline")
    assert "counterfactual" not in settings.to_dict(plain)
    settings.write(plain, tmp_path / "plain.yaml")
    assert settings.read(tmp_path / "plain.yaml") == plain
    given = settings.resolve("baseline", counterfactual={"kind": "blur", "feather": 0.1})
    settings.write(given, tmp_path / "given.yaml")
    assert settings.read(tmp_path / "given.yaml") == given
    assert plain.counterfactual is not settings.resolve("baseline").counterfactual
    with pytest.raises(UserError, match=r"counterfactual.kind=blur"):
        check_unchanged(given, plain)
    given.counterfactual.share = 2.0
    with pytest.raises(FieldError, match=r"counterfactual.share"):
        given.check()


@pytest.mark.parametrize("experiment", ["exchange", "exchange_guided"])
def test_published_maps_leave_a_region_to_exchange(
    experiment: str, config: Configure, tmp_path: Path
) -> None:
    """Their lowest grey is 14% of their highest: at a threshold of 5% each image was exchanged for itself."""
    own = config(experiment)
    faithful = config(experiment, "faithful", split={"kind": "store"}, gaze={"sigma": 3.0})
    kept = []
    for wanted in (own, faithful):
        assert wanted.gaze.weight == ("reference" if wanted is faithful else "duration")
        batch = batch_of(wanted)
        inside, has = regions(batch, wanted.counterfactual)
        kept.append(inside[has].float().mean().item())
        changed = change(batch, wanted.counterfactual)
        moved = (changed.batch.image != batch.image).flatten(1).any(1)
        assert torch.equal(moved, changed.changed)
    assert 0 < kept[1] < 1
    assert check_regions(faithful.counterfactual, data_of(faithful).train_cases) is not None
    with pytest.raises(UserError, match=r"have no pixel below 0\.14 of their maximum"):
        check_regions(own.counterfactual, data_of(faithful).train_cases)


@pytest.mark.parametrize(
    ("perturbation", "hard", "refused"),
    [("exchange", False, True), ("keep", True, True), ("keep", False, False)],
)
def test_a_term_whose_region_is_the_whole_of_published_maps_is_refused(
    perturbation: str, hard: bool, refused: bool, config: Configure
) -> None:
    options = {"by": "gaze", "perturbation": perturbation, "threshold": 0.1, "hard": hard}
    terms = {"consistency": {"kind": "perturbed", "weight": 1.0, "options": options}}
    wanted = config(
        "no_decoder", "faithful", split={"kind": "store"}, gaze={"sigma": 3.0}, objective={"terms": terms}
    )
    cases = data_of(wanted).train_cases
    if not refused:
        check_gaze(wanted, cases)
        return
    with pytest.raises(UserError, match=r"terms\.consistency\.options\.threshold=0\.1. has the whole image"):
        check_gaze(wanted, cases)
