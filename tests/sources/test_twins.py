from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from radgaze.errors import UserError
from radgaze.simulation import SimulationOptions, simulate
from radgaze.sources import egd, table
from radgaze.sources.cohort import Cohort
from radgaze.store.letterboxing import letterbox
from radgaze.store.twins import as_cases
from tests.stores import prepare


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ladder") / "archive"
    options = SimulationOptions(
        out,
        patients=14,
        seed=6,
        pixels=96,
        confounder=("marker=0.9", "border=1"),
        test_patients=8,
        twins=True,
        workers=1,
    )
    simulate(options)
    return out


def read(archive: Path) -> Cohort:
    return egd.read(egd.EgdOptions(archive / "egd", archive / "mimic"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_source_reads_the_split_and_the_twins_of_a_phantom(archive: Path) -> None:
    cohort = read(archive)
    truth = {row["case_id"]: row for row in rows(archive / "truth.csv")}
    for case_id, split in cohort.cases.select("case_id", "split").iter_rows():
        assert truth[case_id]["split"] == split
    assert cohort.cases.filter(split="test")["patient"].n_unique() >= 8 - 2  # some are rejected
    listed = {row["dicom_id"]: row for row in rows(archive / "egd" / "twins.csv")}
    assert set(cohort.twins["case_id"]) == set(listed)
    for row in cohort.twins.iter_rows(named=True):
        assert row["twin_of"] == listed[row["case_id"]]["twin_of"]
        assert (row["shows"] or "") == listed[row["case_id"]]["shows"]
        assert row["confounder"] == listed[row["case_id"]]["confounder"]
    assert set(cohort.twins["twin_of"]) <= set(cohort.cases.filter(split="test")["case_id"])


def test_in_the_store_too_twins_differ_in_the_confounders_pixels_alone(archive: Path, tmp_path: Path) -> None:
    size = 96
    store = prepare(read(archive), tmp_path / "store", size=size, workers=1)
    twins, of = as_cases(store), {row["case_id"]: row for row in store.twins.iter_rows(named=True)}
    assert len(twins.cases) == len(rows(archive / "egd" / "twins.csv"))
    seen = 0
    for i, (case_id, height, width) in enumerate(
        twins.cases.select("case_id", "rows", "columns").iter_rows()
    ):
        row = of[case_id]
        masks = [
            np.asarray(Image.open(path))
            for name in (case_id, row["twin_of"])
            if (path := archive / "truth" / name / f"{row['confounder']}.png").is_file()
        ]
        box = letterbox(height, width, size)
        covered = np.zeros((size, size), bool)
        part = np.any(masks, axis=0)  # at this size the square has the image's own pixels
        covered[box.pad_y : box.pad_y + box.height, box.pad_x : box.pad_x + box.width] = part
        changed = twins.changed(i)
        assert not (changed & ~binary_dilation(covered, iterations=2)).any()
        seen += bool(changed.any())
    assert seen == len(twins.cases)


def test_a_twin_of_a_rejected_case_and_one_without_a_file_are_rejected(archive: Path, tmp_path: Path) -> None:
    listed = rows(archive / "egd" / "twins.csv")
    original = listed[0]["twin_of"]
    gone = next(row for row in listed if row["twin_of"] != original)
    file = archive / "mimic" / gone["path"]
    kept = file.read_bytes()
    file.unlink()
    keep = tmp_path / "keep.csv"
    others = {row["dicom_id"] for row in rows(archive / "egd" / "master_sheet.csv")} - {original}
    keep.write_text("filename\n" + "\n".join(sorted(others)) + "\n")
    try:
        cohort = egd.read(egd.EgdOptions(archive / "egd", archive / "mimic", keep_ids=keep))
    finally:
        file.write_bytes(kept)
    reasons = dict(cohort.rejections.select("case_id", "reason").iter_rows())
    assert reasons[gone["dicom_id"]] == "missing_image"
    orphans = [row["dicom_id"] for row in listed if row["twin_of"] == original]
    assert [reasons[name] for name in orphans] == ["twin_without_case"] * len(orphans)
    assert cohort.twins.height == len(listed) - 1 - len(orphans)


def made_table(folder: Path, text: str) -> Cohort:
    folder.mkdir(exist_ok=True)
    for k, name in enumerate(("a", "b", "c", "d", "a-marked", "a-plain")):
        Image.fromarray(np.full((20, 16), 30 * k, np.uint8)).save(folder / f"{name}.png")
    (folder / "labels.csv").write_text(text)
    return table.read(table.TableOptions(folder / "labels.csv", key=folder / "key.csv"))


HEAD = "image,patient,label,split,twin_of,confounder,shows,original_shows\n"
CASES = "a.png,p1,ill,test\nb.png,p2,well,train\nc.png,p3,ill,train\nd.png,p4,well,validate\n"
TWINS = "a-marked.png,p1,,,a.png,marker,well,ill\na-plain.png,p1,,,a.png,marker,,ill\n"


def test_a_table_may_declare_twins_of_its_own(tmp_path: Path) -> None:
    cohort = made_table(tmp_path / "source", HEAD + CASES + TWINS)
    assert cohort.cases["case_id"].to_list() == [f"case-{k:06d}" for k in range(1, 5)]
    assert cohort.twins.drop("image").rows() == [
        ("twin-000001", "case-000001", "marker", "well", "ill"),
        ("twin-000002", "case-000001", "marker", None, "ill"),
    ]
    assert [Path(path).name for path in cohort.twins["image"]] == ["a-marked.png", "a-plain.png"]
    assert ("twin-000002", "a-plain.png") in pl.read_csv(tmp_path / "source" / "key.csv").rows()
    store = prepare(cohort, tmp_path / "store", size=16, workers=1)
    assert store.cases.height == 4
    assert as_cases(store).cases["split"].to_list() == ["test", "test"]
    assert int(as_cases(store).images[1].max()) == 150


def test_twins_change_neither_the_cases_nor_their_split(tmp_path: Path) -> None:
    without_split = [line.rpartition(",")[0] for line in CASES.splitlines()]
    head = "image,patient,label,twin_of\n"
    alone = made_table(tmp_path / "alone", head + "\n".join(without_split) + "\n")
    twins = "a-marked.png,p1,,a.png\na-plain.png,p1,,a.png\n"
    both = made_table(tmp_path / "both", head + twins + "\n".join(without_split) + "\n")
    assert alone.cases.drop("image").equals(both.cases.drop("image"))
    assert both.twins.height == 2
    assert alone.parameters != both.parameters


def test_a_twin_is_of_a_record_of_its_patient_that_is_no_twin(tmp_path: Path) -> None:
    for line, message in (
        ("a-plain.png,p1,,,e.png,,,\n", "in no record"),
        ("a-plain.png,p2,,,a.png,,,\n", "another patient's"),
        ("a-plain.png,p1,,,a-marked.png,,,\na-marked.png,p1,,,a.png,,,\n", "twin of a twin"),
        ("a-plain.png,p1,,,a.png,marker,gout,\n", "ill, well or nothing"),
        ("a-plain.png,p1,,,a.png,,,\na-plain.png,p1,,,b.png,,,\n", "another"),
    ):
        with pytest.raises(UserError, match=message) as told:
            made_table(tmp_path / "source", HEAD + CASES + line)
        assert "line" in str(told.value)
        (tmp_path / "source" / "key.csv").unlink(missing_ok=True)
