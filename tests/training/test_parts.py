"""Parts of the image as maps of a term: which masks are lungs, which cases count, and runs with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.objectives.attribution_priors import isnet_background
from radgaze.objectives.config import PARTS, Map, ObjectiveConfig, TermConfig
from radgaze.objectives.distances import kl
from radgaze.objectives.step import ForwardPass, MissingError, Outputs
from radgaze.objectives.terms import further
from radgaze.objectives.triangle import Maps, Shares, objective, terms
from radgaze.options import FieldError
from radgaze.runs.data import batches, dataset
from radgaze.sources.cohort import Cohort
from radgaze.store import parts
from radgaze.store.boxes import finding_regions
from radgaze.store.marks import EXPLAINED_BEFORE, is_finding, lung_of
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.store.cohorts import make_cohort
from tests.stores import prepare
from tests.training.conftest import Configure

NAMES = {
    0: ("left lung", "Right_Lung"),
    1: ("lungs",),
    2: ("left lung",),  # one lung alone
    3: ("lung opacity", "heart"),
    4: ("LUNG (right)", "lung, left", "heart"),
}
"""Names of the masks of the cases, by their index modulo 5; every mask is a band of its own."""
HAS_LUNGS = {0, 1, 4}


def masked(folder: Path, names: dict[int, tuple[str, ...]], cases: int = 30) -> Cohort:
    """Cases with masks that are bands of 16 rows, the first from the top."""
    cohort = make_cohort(folder / "images", cases=cases, shape=(64, 64))
    rows = []
    for i, case in enumerate(cohort.cases["case_id"]):
        for k, name in enumerate(names.get(i % 5, ())):
            inside = np.zeros((64, 64), bool)
            inside[16 * k : 16 * (k + 1)] = True
            file = folder / "images" / f"{case}-{k}.png"
            Image.fromarray(inside).save(file)
            rows.append({"case_id": case, "label": name, "file": str(file)})
    regions = pl.DataFrame(rows, schema={"case_id": pl.String, "label": pl.String, "file": pl.String})
    return replace(cohort, regions=regions)


@pytest.fixture(scope="module")
def lunged(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("lunged")
    return prepare(masked(folder, NAMES), folder / "store", size=64, workers=1)


def edge(distance: str = "kl", **options: object) -> ObjectiveConfig:
    named: dict[str, object] = {"first": "heatmap", "second": "lungs", "distance": distance, **options}
    term = TermConfig.__new__(TermConfig)
    TermConfig.__init__(term, weight=1.0, kind="edge", options=named)  # type: ignore[arg-type]
    return ObjectiveConfig(gamma=0.0, classification="softmax", terms={"own": term})


def test_the_names_of_parts_are_those_of_the_store() -> None:
    assert {part.value for part in PARTS} == {parts.LUNGS, parts.EXPLAINED}


@pytest.mark.parametrize(
    ("name", "lung"),
    [
        ("Left Lung", "left"),
        ("right_lung", "right"),
        ("Lungs", "both"),
        ("lung", "both"),
        ("left and right lung", "both"),
        ("Lung fields", "both"),
        ("R lung", "right"),
        ("lung opacity", None),
        ("lung nodule or mass", None),
        ("left lower lung zone", None),
        ("left", None),
        ("heart", None),
    ],
)
def test_a_lung_is_told_by_its_name_however_it_is_written(name: str, lung: str | None) -> None:
    assert lung_of(name) == lung
    if lung:
        assert not is_finding(name)


def test_lungs_are_the_union_of_both_and_one_alone_is_none(lunged: Store, config: Configure) -> None:
    wanted = config("background_lungs", data=str(lunged.path), input={"size": 64})
    cases = dataset(lunged, wanted, "train", parts=True)
    kind = np.array([int(case.removeprefix("case-")) % 5 for case in cases.case_ids])
    expected = np.isin(kind, list(HAS_LUNGS))
    np.testing.assert_array_equal(cases.with_part("lungs"), expected)
    batch = next(batches(cases, 99))
    maps, has = batch.part_maps("lungs")
    np.testing.assert_array_equal(has.numpy(), expected)
    for row, of in zip(maps[:, 0].numpy(), kind, strict=True):
        inside = np.zeros((64, 64))
        inside[: {0: 32, 1: 16, 4: 32}.get(int(of), 0)] = 1
        np.testing.assert_array_equal(row, inside)
    with pytest.raises(ValueError, match="without the part 'explained'"):
        batch.part_maps("explained")
    rows = finding_regions(lunged, lunged.cases)[0]
    assert set(lunged.regions.table["label"].gather(rows)) == {"lung opacity", "heart"}


def test_lungs_move_with_the_augmented_image(lunged: Store, config: Configure) -> None:
    wanted = config("background_lungs", data=str(lunged.path), input={"size": 64})
    still, moved = (
        dataset(lunged, wanted, "train", augment=augment, parts=True) for augment in (False, True)
    )
    i = int(np.flatnonzero(still.with_part("lungs"))[0])
    for epoch in (0, 1):
        moved.set_epoch(epoch)
        sample, before = moved[i], still[i]
        assert sample.parts is not None
        assert before.parts is not None
        assert moved.augment is not None
        assert before.regions is not None
        # The same change of an image that is the lungs themselves, apart from its brightness.
        image = before.parts[0].float().unsqueeze(0) / 255
        own = replace(moved.augment, brightness=0.0, contrast=0.0)
        drawn = own(image, torch.zeros(1, 2), torch.ones(2), moved._seed_of(i, 0), before.regions)[0]
        assert (drawn[0] - sample.parts[0].float() / 255).abs().mean() < 0.01
        assert not torch.equal(sample.parts, before.parts)


def drawn_maps(*, has_gaze: list[bool], has_lungs: list[bool]) -> tuple[torch.Tensor, Maps]:
    draw = torch.Generator().manual_seed(0)
    heat, lungs, gaze, boxes = (torch.rand(4, 1, 8, 8, generator=draw) for _ in range(4))
    heat.requires_grad_()
    return heat, Maps(
        gaze,
        torch.tensor(has_gaze),
        torch.ones(4, 2),
        heatmap=heat,
        boxes=boxes,
        has_boxes=torch.tensor([False, True, True, True]),
        parts={"lungs": (lungs, torch.tensor(has_lungs))},
    )


LOGITS, LABELS = torch.zeros(4, 3), torch.eye(3)[[0, 1, 2, 0]]


@pytest.mark.parametrize(
    ("options", "counted"),
    [
        ({}, [True, True, False, True]),
        ({"second": "gaze", "within": "lungs", "distance": "overlap"}, [True, False, False, True]),
        ({"second": "boxes", "within": "lungs", "distance": "overlap"}, [False, True, False, True]),
    ],
)
def test_a_term_is_the_mean_over_the_cases_that_have_all_of_its_maps(
    options: dict[str, str], counted: list[bool]
) -> None:
    heat, maps = drawn_maps(has_gaze=[True, False, True, True], has_lungs=[True, True, False, True])
    config = edge(**{"distance": "isnet_background", **options})
    found = terms(LOGITS, LABELS, maps, config)["own"]
    torch.autograd.backward(found)
    assert heat.grad is not None
    has = torch.tensor(counted)
    assert torch.equal(heat.grad.abs().amax((1, 2, 3)) > 0, has)
    seen = list[torch.Tensor]()

    def of(cases: torch.Tensor) -> torch.Tensor:
        seen.append(cases)
        return torch.tensor(0.5)

    shared = terms(LOGITS, LABELS, maps, config, Shares(9.0, 7.0, 8.0, of))["own"]
    torch.testing.assert_close(shared, 0.5 * found)
    assert torch.equal(seen[0], has)
    if not options:
        lungs = maps.parts["lungs"][0]
        torch.testing.assert_close(found, isnet_background(heat, lungs)[has].mean())


def test_a_distance_of_matched_maps_takes_lungs_too() -> None:
    heat, maps = drawn_maps(has_gaze=[False] * 4, has_lungs=[True, False, True, True])
    config = edge("kl")
    config.heatmap.match, config.heatmap.margin = "none", 0.0
    found = objective(LOGITS, LABELS, maps, config)["loss"]
    lungs, has = maps.parts["lungs"]
    scaled = heat / heat.amax((1, 2, 3), keepdim=True)
    torch.testing.assert_close(found, kl(scaled, lungs)[has].mean())


def test_a_second_pass_is_perturbed_by_lungs_where_there_are_any() -> None:
    _, maps = drawn_maps(has_gaze=[False] * 4, has_lungs=[True, False, True, True])
    images = torch.rand(4, 1, 8, 8)
    again = list[torch.Tensor]()

    def run(perturbed: torch.Tensor) -> Outputs:
        again.append(perturbed)
        return Outputs(LOGITS)

    term = TermConfig(kind="perturbed", options={"by": "lungs", "perturbation": "keep", "hard": True})
    config = ObjectiveConfig(gamma=0.0, classification="softmax", terms={"own": term})
    forward = ForwardPass(images, Outputs(LOGITS), lambda target: LABELS.argmax(1), run)
    terms(LOGITS, LABELS, maps, config, forward=forward)
    lungs, has = maps.parts["lungs"]
    kept = lungs >= 0.5 * lungs.amax((1, 2, 3), keepdim=True)
    expected = torch.where(kept | ~has.view(-1, 1, 1, 1), images, torch.zeros(()))
    torch.testing.assert_close(again[0], expected)


def test_parts_that_are_missing_or_would_have_to_learn_are_refused() -> None:
    _, maps = drawn_maps(has_gaze=[True] * 4, has_lungs=[True] * 4)
    with pytest.raises(MissingError, match="the term own: the lungs are missing"):
        terms(LOGITS, LABELS, replace(maps, parts={}), edge())
    with pytest.raises(FieldError, match="a map that learns, not lungs"):
        assert further(edge(first="lungs", second="gaze"))


def test_background_over_lungs_trains_and_leaves_out_the_cases_without(
    lunged: Store, config: Configure, tmp_path: Path
) -> None:
    run = train(config("background_lungs", data=str(lunged.path)), tmp_path / "run")
    assert run.history()["train/background"].is_finite().all()
    assert run.predictions().height


def test_a_store_without_lungs_or_without_any_in_training_is_refused(
    config: Configure, tmp_path: Path
) -> None:
    store = prepare(
        masked(tmp_path, {0: ("left lung",), 1: ("heart",)}), tmp_path / "store", size=32, workers=1
    )
    with pytest.raises(UserError, match="holds no masks of both lungs, and the term background uses them"):
        train(config("background_lungs", data=str(store.path)), tmp_path / "run")
    cohort = masked(tmp_path / "other", {0: ("lungs",)})
    tested = cohort.cases.filter(pl.col("split") == "test")["case_id"]
    cohort = replace(cohort, regions=cohort.regions.filter(pl.col("case_id").is_in(tested.implode())))
    assert not cohort.regions.is_empty()
    store = prepare(cohort, tmp_path / "tested", size=32, workers=1)
    with pytest.raises(UserError, match="none of the 16 training cases has masks of both lungs"):
        train(config("background_lungs", data=str(store.path)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_few_cases_with_lungs_are_told(
    config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = prepare(masked(tmp_path, {0: ("lungs",)}), tmp_path / "store", size=32, workers=1)
    once = {"max_epochs": 1}
    train(config("background_lungs", data=str(store.path), trainer=once), tmp_path / "run", predictions=False)
    words = " ".join(capsys.readouterr().err.split())
    assert "training cases have masks of both lungs, and the term background uses them" in words


def test_the_experiments_name_their_parts() -> None:
    assert Map.LUNGS in str(experiments.load("background_lungs"))
    assert Map.EXPLAINED in str(experiments.load("rrr_another"))
    assert not is_finding(EXPLAINED_BEFORE)
