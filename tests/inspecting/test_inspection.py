"""Compare `inspect` with counts that are computed from the cohort by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from radgaze.evaluation.metrics import agreement
from radgaze.evaluation.statistics.case_means import FEW, LEAST, Mean, mean_interval, means
from radgaze.evaluation.statistics.resampling import Resampling
from radgaze.gaze.maps import static_maps
from radgaze.inspecting import inspection
from radgaze.inspecting.inspection import BETWEEN, GRID, SIDE, Inspection, covered, images_to_read, inspect
from radgaze.inspecting.options import InspectOptions
from radgaze.store.dataset import GazeDataset
from radgaze.store.store import Store
from tests.store.cohorts import CLASSES, make_cohort
from tests.stores import prepare


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("inspected")
    return prepare(make_cohort(folder / "images", 12), folder / "store", size=64, workers=1)


@pytest.fixture(scope="module")
def found(store: Store) -> Inspection:
    return inspect(store, InspectOptions(resamples=50))


def as_json(found: Inspection) -> dict[str, Any]:
    """Values as a reader of the JSON file gets them."""
    read: dict[str, Any] = json.loads(json.dumps(found.as_json()))
    return read


def test_counts_are_those_of_the_tables(store: Store, found: Inspection) -> None:
    assert found.counts["split"].to_list() == ["train", "validate", "test", "all"]
    for split in ("train", "validate", "test"):
        own = store.cases.filter(split=split)
        row = found.counts.filter(split=split).row(0, named=True)
        gazed = {
            case
            for reading, case in store.readings.select("reading_id", "case_id").iter_rows()
            if case in set(own["case_id"]) and reading in set(store.fixations["reading_id"])
        }
        assert (row["cases"], row["patients"]) == (own.height, len(set(own["patient"])))
        masked = set(store.regions.table["case_id"]) & set(own["case_id"])
        counted = (row["with_gaze"], row["with_boxes"], row["with_masks"])
        assert counted == (len(gazed), own.height, len(masked))
        assert [row[name] for name in CLASSES] == [own[f"label_{name}"].sum() for name in CLASSES]
    parts, whole = found.counts.filter(pl.col("split") != "all"), found.counts.row(-1, named=True)
    for name in ("cases", "patients", "with_gaze", *CLASSES):
        assert parts[name].sum() == whole[name]


def test_masks_are_counted_by_label_with_the_share_that_they_cover(store: Store, found: Inspection) -> None:
    assert found.masks.select("label", "masks", "cases").rows() == [
        ("left lung", 8, 8),
        ("right lung", 8, 8),
    ]
    shares = []
    for row, (case_id, label) in enumerate(store.regions.table.select("case_id", "label").iter_rows()):
        case = store.cases.row(by_predicate=pl.col("case_id") == case_id, named=True)
        if label == "left lung":
            whole = case["rows"] * case["columns"] * case["scale"] ** 2
            shares.append(store.regions[row].sum() / whole)
    assert found.masks["area"][0] == pytest.approx(np.median(shares))
    assert 0.4 < found.masks["area"][0] < 0.6
    assert as_json(found)["masks"][0]["label"] == "left lung"


@pytest.mark.parametrize(
    ("shape", "corners", "area"),
    [
        ("box", (0, 0, 50, 50), 0.25),
        ("ellipse", (0, 0, 50, 50), 0.25 * np.pi / 4),
        ("box", (-60, -60, 200, 200), 1.0),
        ("ellipse", (-200, -200, 300, 300), 1.0),
        ("ellipse", (-50, 0, 50, 100), 0.5 * np.pi / 4),
        ("box", (110, 0, 150, 50), 0.0),
    ],
)
def test_the_area_of_a_box_or_ellipse_is_its_share_of_the_radiograph(
    shape: str, corners: tuple[float, ...], area: float, tmp_path: Path
) -> None:
    cohort = make_cohort(tmp_path / "images", 1, shape=(100, 100))
    row = ("case-00", "heart", *map(float, corners), shape)
    boxes = pl.DataFrame([row], schema=[*cohort.boxes.columns, "shape"], orient="row")
    store = prepare(replace(cohort, boxes=boxes), tmp_path / "store", size=64, workers=1)
    (found,) = inspect(store, InspectOptions(resamples=50)).boxes["area"]
    assert found == pytest.approx(area, abs=1e-6)
    assert found <= 1


def test_readings_are_those_of_the_tables(store: Store, found: Inspection) -> None:
    counts = dict(store.fixations.group_by("reading_id").len().iter_rows())
    for reading, on_image in found.readings.select("reading_id", "on_image").iter_rows():
        assert on_image == counts.get(reading, 0)
    assert found.quantiles()["seconds per fixation"]["median"] == store.fixations["duration"].median()
    assert found.readers["readings"].sum() == store.readings.height
    assert found.sizes["cases"].sum() == store.cases.height


def test_coverage_is_the_share_of_pixels_near_a_fixation() -> None:
    draw = np.random.default_rng(0)
    rows, columns, radius = 90, 60, 11.0
    points = draw.random((5, 2)) * (columns, rows)
    near = 0
    for i in range(GRID):
        for j in range(GRID):
            y, x = (i + 0.5) / GRID * rows, (j + 0.5) / GRID * columns
            near += any((x - a) ** 2 + (y - b) ** 2 <= radius**2 for a, b in points)
    assert covered(points, (rows, columns), radius) == near / GRID**2
    assert covered(np.zeros((0, 2)), (rows, columns), radius) == 0
    assert covered(points, (rows, columns), 1000) == 1


def test_an_average_is_of_the_cases_of_its_class_with_gaze_or_boxes(store: Store, found: Inspection) -> None:
    with_gaze = set(store.fixations.join(store.readings, on="reading_id")["case_id"])
    for name, average in found.averages.items():
        own = set(store.cases.filter(pl.col(f"label_{name}") == 1)["case_id"])
        assert average.cases == len(own)  # each has a box, which stands in where there is no gaze
        assert average.of_boxes == len(own - with_gaze)
        assert average.gaze is not None
        assert average.image.shape == average.gaze.shape == (SIDE, SIDE)
        assert 0 < average.gaze.max() <= 1
    assert images_to_read(store) == store.cases.height


def test_the_whole_is_plain_values(found: Inspection) -> None:
    plain = as_json(found)
    assert plain["counts"][-1]["cases"] == 12
    assert not found.several_readers
    assert plain["between"] == []


def test_a_reader_is_measured_under_the_map_of_the_others(tmp_path: Path) -> None:
    """Two readers of one case: the mean of each one's figure under the other's map."""
    shape = (64, 64)
    cohort = make_cohort(tmp_path / "images", 3, shape=shape)
    places = {"a": [(20.0, 20.0), (40.0, 30.0)], "b": [(22.0, 24.0), (50.0, 10.0), (30.0, 50.0)]}
    readings = [
        {"reading_id": r, "case_id": "case-00", "reader": r, "recorded": len(at), "duration": 1.0}
        for r, at in places.items()
    ]
    fixations = [
        {"reading_id": r, "index": i, "x": x, "y": y, "onset": 0.3 * i, "duration": 0.2}
        for r, at in places.items()
        for i, (x, y) in enumerate(at)
    ]
    cohort = replace(
        cohort,
        readings=pl.DataFrame(readings, schema=cohort.readings.schema),
        fixations=pl.LazyFrame(fixations, schema=cohort.fixations.collect_schema()),
    )
    found = inspect(
        prepare(cohort, Path(tmp_path / "store"), size=64, workers=1), InspectOptions(resamples=10)
    )

    import torch

    assert torch.is_grad_enabled()  # whoever goes on to train in this process needs it

    def drawn(reader: str) -> np.ndarray:
        points = torch.tensor(places[reader])[None] * SIDE / 64
        maps = static_maps(points, torch.ones(points.shape[:2]), (SIDE, SIDE), 0.05 * SIDE)
        return maps[0].numpy()

    figures = []
    for own, other in (("a", "b"), ("b", "a")):
        points = np.array(places[own])[None] * SIDE / 64
        F = agreement.fixation_counts(points, np.ones(points.shape[:2]), (SIDE, SIDE))
        figures.append(agreement.measure_agreement(drawn(other), drawn(own), F, F))
    assert found.several_readers == 1
    for metric in BETWEEN:
        expected = np.mean([figure[metric][0] for figure in figures])
        # Rounding, which differs between processors, puts pixels of nearly equal values in another order: an
        # AUC moves by a pixel's share for each.
        pixels = 8 / SIDE**2 if "auc" in metric else None
        value = found.between.filter(metric=metric)["value"][0]
        assert value == pytest.approx(expected, rel=1e-4, abs=pixels), metric
    # One patient tells nothing of others.
    assert found.between["low"].is_null().all()
    assert found.between["high"].is_null().all()


def test_the_agreement_of_readers_on_few_patients_has_the_interval_of_a_mean_of_few(tmp_path: Path) -> None:
    random, cases = np.random.default_rng(3), [f"case-{k:02d}" for k in range(14)]
    cohort = make_cohort(tmp_path / "images", 14, shape=(64, 64))
    readings: list[dict[str, object]] = []
    fixations: list[dict[str, object]] = []
    for case in cases:
        for reader in "ab":
            reading = f"{case}-{reader}"
            at = {"reading_id": reading, "case_id": case, "reader": reader, "recorded": 3, "duration": 1.0}
            readings.append(at)
            for i, (x, y) in enumerate(random.uniform(5, 59, (3, 2)).tolist()):
                fixations.append(
                    {"reading_id": reading, "index": i, "x": x, "y": y, "onset": i, "duration": 1}
                )
    cohort = replace(
        cohort,
        readings=pl.DataFrame(readings, schema=cohort.readings.schema),
        fixations=pl.LazyFrame(fixations, schema=cohort.fixations.collect_schema()),
    )
    store = prepare(cohort, Path(tmp_path / "store"), size=64, workers=1)
    seen: list[tuple[dict[str, np.ndarray], np.ndarray]] = []

    def kept(values: dict[str, np.ndarray], patients: np.ndarray, resampling: Resampling) -> dict[str, Mean]:
        seen.append((values, patients))
        return means(values, patients, resampling)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inspection, "means", kept)
        found = inspect(store, InspectOptions(resamples=10))
    (values, patients), by_case = *seen, store.cases["patient"].to_numpy()
    assert patients.tolist() == by_case.tolist()
    assert LEAST <= len(set(patients)) < FEW
    for metric in BETWEEN:
        row = found.between.row(by_predicate=pl.col("metric") == metric, named=True)
        expected = np.clip(mean_interval(values[metric], patients), *agreement.METRICS[metric].bounds)
        assert (row["low"], row["high"]) == pytest.approx(tuple(expected))


def mapped_files(store: Store) -> set[str]:
    """Files of images and masks of a store that are mapped into the memory of this process."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if str(store.path.resolve()) in line}


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="Linux says which files are mapped")
def test_images_that_were_read_do_not_stay_in_memory(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many files a store has, those of one batch at most are open."""
    monkeypatch.setattr("radgaze.store.partial.SHARD", 2)
    monkeypatch.setattr("radgaze.store.finishing.SHARD", 2)
    many = prepare(make_cohort(tmp_path / "images", 12), tmp_path / "store", size=64, workers=1)
    shards = many.cases["shard"].n_unique()
    assert shards >= 6
    monkeypatch.setattr(inspection, "BATCH", 2)
    opened: list[int] = []
    whole = GazeDataset.close_files

    def close_files(cases: GazeDataset) -> None:
        opened.append(len(mapped_files(many)))
        whole(cases)

    monkeypatch.setattr(GazeDataset, "close_files", close_files)
    left: list[int] = []
    inspect(many, InspectOptions(resamples=50), advance=lambda cases: left.append(len(mapped_files(many))))
    assert max(opened) <= 2 * 2 < shards  # images of two cases, and their masks
    assert set(left) == {0}
