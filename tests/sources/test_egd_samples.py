"""Raw samples of egd-cxr: filtered to what the tracker found, placed where it placed them, and shifted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import polars as pl
import pytest

from radgaze.errors import UserError
from radgaze.gaze import GazeMaps
from radgaze.simulation import SimulationOptions, simulate
from radgaze.sources import egd
from radgaze.sources.egd import EgdOptions
from radgaze.sources.egd.files import read_gaze, read_samples
from radgaze.sources.egd.screen import on_image, shifted
from radgaze.sources.sizes import image_sizes
from radgaze.store.dataset import GazeDataset, collate
from tests.stores import prepare

Tree = tuple[Path, Path]


class Thresholds(TypedDict, total=False):
    dispersion: float
    velocity: float
    least_duration: float
    pixels_per_degree: float


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    folder = tmp_path_factory.mktemp("samples")
    simulate(SimulationOptions(folder, patients=14, pixels=64, seed=3, workers=1))
    return folder / "egd", folder / "mimic"


@pytest.mark.parametrize("kind", ["idt", "ivt"])
def test_filtered_samples_are_about_the_trackers_fixations(
    made: Tree, kind: Literal["idt", "ivt"], tmp_path: Path
) -> None:
    """They belong to the same readings, and their maps agree."""
    tracked, filtered = (
        egd.read(EgdOptions(*made)),
        egd.read(EgdOptions(*made, gaze="samples", filter=kind)),
    )
    assert filtered.cases["case_id"].to_list() == tracked.cases["case_id"].to_list()
    assert 0.7 < len(filtered.fixations.collect()) / len(tracked.fixations.collect()) < 1.3
    stores = [
        prepare(cohort, tmp_path / name, size=64, workers=1)
        for cohort, name in ((tracked, "a"), (filtered, "b"))
    ]
    maps = []
    for store in stores:
        cases = GazeDataset(store, None, size=48, gaze=GazeMaps(sigma=0.05, unit="share"))
        maps.append(collate([cases[i] for i in range(len(cases))]).gaze_maps().flatten(1).numpy())
    alike = [np.corrcoef(a, b)[0, 1] for a, b in zip(*maps, strict=True)]
    assert min(alike) > 0.9
    assert stores[1].manifest["parameters"]["filter"] == kind
    assert "filter" not in stores[0].manifest["parameters"]


def test_from_the_screen_to_the_image_is_the_mapping_of_the_authors(made: Tree) -> None:
    """`int` of it is what they recorded, as X_ORIGINAL and Y_ORIGINAL."""
    sheet = pl.read_csv(made[0] / "master_sheet.csv", infer_schema_length=None)
    sides = {f"image_{side}_pad": side for side in ("top", "bottom", "left", "right")}
    pads = sheet.select(pl.col("dicom_id").alias("case_id"), *sides).rename(sides).unique("case_id")
    cohort = egd.read(EgdOptions(*made))
    store_sizes = dict.fromkeys(cohort.cases["case_id"], 64)
    assert store_sizes

    sizes = image_sizes(cohort.cases).drop_nulls()
    gaze = read_gaze(made[0]).join(pads, on="case_id").join(sizes, on="case_id")
    placed = on_image(gaze)
    inside = placed.filter("inside")
    assert inside.height > 200
    # FPOG is written with five digits, which may carry a position over a pixel's border.
    for recorded, found in (("recorded_x", "x"), ("recorded_y", "y")):
        off = (inside[found].floor() - inside[recorded]).abs()
        assert (off <= 1).all()
        assert mean(off == 0) > 0.98
    assert mean(placed.filter(~pl.col("inside"))["recorded_x"] < 0) > 0.9


def mean(numbers: pl.Series) -> float:
    found = numbers.mean()
    assert isinstance(found, float)
    return found


def test_the_calibration_shift_is_the_middle_less_the_mean_of_the_last_looks() -> None:
    whole, short = "x" * 44, "x" * 39
    gaze = pl.DataFrame(
        {
            "session": ["s", "s", "s", "s", "t", "s"],
            "media": ["1", "1", "21", "2", "1", "21"],
            "case_id": [short, short, short, whole, whole, short],
            "place": [0, 1, 2, 3, 4, 5],
            "screen_x": [0.1, 0.52, 0.9, 0.3, 0.3, 0.54],
            "screen_y": [0.1, 0.47, 0.9, 0.6, 0.6, None],
        }
    )
    found = shifted(gaze, whole=44)
    # Last looks: (0.52, 0.47), and (0.9, 0.9), since the one after it was lost.
    moved = found.filter((pl.col("case_id") == whole) & (pl.col("session") == "s")).row(0, named=True)
    assert moved["screen_x"] == pytest.approx(0.3 + 0.5 - (0.52 + 0.9) / 2)
    assert moved["screen_y"] == pytest.approx(0.6 + 0.5 - (0.47 + 0.9) / 2)
    alone = found.filter(session="t").row(0, named=True)
    assert (alone["screen_x"], alone["screen_y"]) == (0.3, 0.6)


def test_a_shift_moves_fixations_and_samples_alike(made: Tree) -> None:
    plain, moved = egd.read(EgdOptions(*made)), egd.read(EgdOptions(*made, calibration_shift=True))
    assert moved.parameters["calibration_shift"]
    seen = image_sizes(plain.cases).drop_nulls()["case_id"].to_list()  # one cannot be read
    own = plain.readings.filter(pl.col("case_id").is_in(seen))["reading_id"].to_list()
    both = plain.fixations.join(moved.fixations, on=("reading_id", "index"), suffix="_moved").collect()
    both = both.filter(pl.col("reading_id").is_in(own))
    assert both.height > 100
    steps = (both["x_moved"] - both["x"]).round(2)
    assert (steps.abs() < 12).all()  # of 64 pixels: the tracker was not far off
    assert mean(steps.abs()) > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dispersion": 0.0}, "`dispersion` must be above 0, got 0.0"),
        ({"velocity": -1.0}, "`velocity` must be above 0, got -1.0"),
        ({"least_duration": -0.1}, "`least_duration` must be at least 0"),
        ({"pixels_per_degree": 0.0}, "`pixels_per_degree` must be above 0"),
    ],
)
def test_thresholds_that_make_no_sense_are_told(options: Thresholds, said: str, made: Tree) -> None:
    with pytest.raises(UserError, match=said):
        egd.read(EgdOptions(*made, gaze="samples", **options))


def test_settings_that_nothing_uses_are_told() -> None:
    with pytest.raises(UserError, match="`filter` needs `gaze=samples`"):
        EgdOptions("e", "m", filter="ivt")
    with pytest.raises(UserError, match="`dispersion` needs `gaze=samples`"):
        EgdOptions("e", "m", dispersion=3)
    with pytest.raises(UserError, match="`dispersion` is no threshold of `filter=ivt`"):
        EgdOptions("e", "m", gaze="samples", filter="ivt", dispersion=3)
    with pytest.raises(UserError, match="`velocity` is no threshold of `filter=idt`"):
        EgdOptions("e", "m", gaze="samples", velocity=20)
    with pytest.raises(UserError, match="`align_keep` needs `align_report`"):
        EgdOptions("e", "m", align_keep="all")
    with pytest.raises(UserError, match="`split` and `split_file` are two splits"):
        EgdOptions("e", "m", split="stratified", split_file="list.csv")
    EgdOptions("e", "m", filter="idt", dispersion=1, align_keep="class")


def test_a_sample_without_a_time_is_left_out_and_its_reading_kept(
    made: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *rows = (made[0] / "eye_gaze.csv").read_text().splitlines()
    at = header.split(",").index("Time (in secs)")
    shutil.copytree(made[0], tmp_path / "egd", ignore=shutil.ignore_patterns("audio_*"))
    for k, time in ((5, ""), (6, "inf")):
        cells = rows[k].split(",")
        rows[k] = ",".join([*cells[:at], time, *cells[at + 1 :]])
    (tmp_path / "egd" / "eye_gaze.csv").write_text("\n".join([header, *rows, ""]))
    whole = egd.read(EgdOptions(*made, gaze="samples"))
    cohort = egd.read(EgdOptions(tmp_path / "egd", made[1], gaze="samples"))
    assert cohort.readings["reading_id"].equals(whole.readings["reading_id"])
    assert f"2 of {len(rows):,} samples have no time" in " ".join(capsys.readouterr().err.split())


def test_what_is_wrong_with_the_samples_is_told(made: Tree, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"eye_gaze\.csv is missing"):
        read_samples(tmp_path)
    (tmp_path / "eye_gaze.csv").write_text("SESSION_ID,MEDIA_ID\ns,1\n")
    with pytest.raises(UserError, match="has no column DICOM_ID"):
        read_samples(tmp_path)
    text = (made[0] / "eye_gaze.csv").read_text().splitlines()
    fields = text[3].split(",")
    fields[text[0].split(",").index("BPOGX")] = "left"
    (tmp_path / "eye_gaze.csv").write_text("\n".join([*text[:3], ",".join(fields), *text[4:9], ""]))
    with pytest.raises(UserError, match=r"line 4, column BPOGX: it is .left., a number expected"):
        read_samples(tmp_path)
