"""`radgaze predict`: a table of files and cases, complete or in part, without a word about the patient."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from radgaze.cli import main
from radgaze.dicom.isolate import isolated
from radgaze.errors import UserError
from radgaze.predicting import inputs, table_file, writing
from radgaze.predicting.finding import find
from radgaze.predicting.inputs import Subject, read
from radgaze.predicting.options import PredictFilesOptions
from radgaze.predicting.predict import predict_subjects
from radgaze.predicting.prediction import Prediction
from radgaze.predicting.writing import predict_files
from radgaze.runs.run import Run
from tests.predicting.conftest import file_of
from tests.store.cohorts import write_dicom

HIDDEN = ("Secretname", "s3cretnumber", "secretaccession", "19450508", "p1000")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images, of which the second is broken, and a text."""
    made = tmp_path / "p10001-Secretname"
    made.mkdir()
    draw = np.random.default_rng(0)
    for name in ("a.dcm", "d.dcm"):
        write_dicom(made / name, draw.random((40, 50)))
    (made / "b.png").write_bytes(b"\x89PNX\r\n\x1a\n" + bytes(300))
    Image.fromarray(draw.integers(0, 255, (30, 40), dtype=np.uint8)).save(made / "c.png")
    (made / "notes.txt").write_text("no image")
    return made


def words(run: Run, *images: object, out: Path) -> list[str]:
    return ["predict", str(run.path), *map(str, images), "--device", "cpu", "--out", str(out)]


def table(path: Path) -> pl.DataFrame:
    if path.suffix == ".csv":
        return pl.read_csv(path)
    return pl.read_json(path) if path.suffix == ".json" else pl.read_parquet(path)


def test_each_format_has_a_row_for_each_image_and_nothing_of_the_patient(
    run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = run.predictions()["case_id"][0]
    expected = run.predictions().select(pl.col("^probability_.*$")).row(0)
    tables = []
    for ending in (".csv", ".parquet", ".json"):
        out = tmp_path / "new" / f"predictions{ending}"
        assert main(words(run, case, folder, out=out)) == 1  # an image could not be read
        tables.append(table(out))
        for hidden in HIDDEN:
            assert hidden.encode() not in out.read_bytes()
    first = tables[0]
    for other in tables[1:]:
        assert other.columns == first.columns
        assert other.equals(first.cast(other.schema))
    assert first["image"].to_list() == [case, *(f"image-00{k}" for k in range(1, 5))]
    assert first["error"].is_null().to_list() == [True, True, False, True, True]
    probabilities = first.select(pl.col("^probability_.*$"))
    np.testing.assert_allclose(probabilities.row(0), expected, atol=1e-6)
    np.testing.assert_allclose(probabilities[[1, 3, 4]].sum_horizontal(), 1, atol=1e-6)
    assert probabilities.row(2) == (None, None, None)
    said = capsys.readouterr()
    row = first.row(3, named=True)
    line = f"{folder / 'c.png'}: image-003: {row['predicted']} {row['probability_' + row['predicted']]:.2f}"
    assert line in said.out.splitlines()
    assert f"{folder / 'b.png'} is not predicted: not_a_picture: the file is named as PNG" in said.err
    assert "1 file passed over, being no image: notes.txt" in " ".join(said.err.split())


def test_paths_stand_in_the_table_if_they_are_asked_for(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    assert main([*words(run, folder / "c.png", folder / "a.dcm", out=out), "--keep-names"]) == 0
    assert table(out)["image"].to_list() == [str(folder / "c.png"), str(folder / "a.dcm")]


@pytest.mark.parametrize("ending", [".csv", ".json", ".parquet"])
def test_the_path_of_a_file_stands_in_the_table_also_where_it_is_not_utf_8(
    ending: str, run: Run, folder: Path, tmp_path: Path
) -> None:
    """As on an old share, whose names are in Latin-1."""
    image, out = folder / os.fsdecode(b"M\xfcller.png"), tmp_path / f"p{ending}"
    (folder / "c.png").rename(image)
    assert main([*words(run, image, out=out), "--keep-names"]) == 0
    assert table(out)["image"].to_list() == [str(folder / "M\\udcfcller.png")]


def interrupted(monkeypatch: pytest.MonkeyPatch, error: BaseException, after: int) -> None:
    """Make predictions end with an error after some batches."""
    whole = predict_subjects

    def some(*args: Any) -> Iterator[Prediction]:
        for k, part in enumerate(whole(*args)):
            if k == after:
                raise error
            yield part

    monkeypatch.setattr(writing, "predict_subjects", some)


def test_after_ctrl_c_the_table_has_what_was_predicted(
    run: Run,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, part = tmp_path / "whole.csv", tmp_path / "part.csv"
    main([*words(run, folder, out=whole), "--batch-size", "1"])
    interrupted(monkeypatch, KeyboardInterrupt(), 3)
    assert main([*words(run, folder, out=part), "--batch-size", "1"]) == 130
    assert table(part).equals(table(whole)[:3])
    said = capsys.readouterr()
    assert f"stopped: 3 of 4 images are in {part}" in said.err
    assert f"{folder / 'c.png'}: image-003" in said.out
    interrupted(monkeypatch, KeyboardInterrupt(), 0)
    assert main(words(run, folder, out=tmp_path / "none.csv")) == 130
    assert "no image was predicted" in capsys.readouterr().err
    assert not (tmp_path / "none.csv").exists()


def test_an_error_loses_no_rows_and_is_not_hidden(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, RuntimeError("out of memory"), 2)
    options = PredictFilesOptions(device="cpu", batch_size=1)
    with pytest.raises(RuntimeError, match="out of memory"):
        predict_files(run, [str(folder)], tmp_path / "p.csv", options)
    assert table(tmp_path / "p.csv").height == 2


def test_a_kill_loses_a_minute_at_most(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is written again and again; here after each image, as the last is reached."""
    monkeypatch.setattr(writing, "EVERY", 0.0)
    seen = []
    write = table_file.write

    def watched(made: pl.DataFrame, out: Path) -> None:
        write(made, out)
        seen.append(table(out).height)

    monkeypatch.setattr(writing, "write", watched)
    predict_files(run, [str(folder)], tmp_path / "p.csv", PredictFilesOptions(device="cpu", batch_size=1))
    assert seen == [1, 2, 3, 4, 4]


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("p.txt", "--out must end with .csv, .parquet or .json, got"),
        ("there.csv", "there.csv exists; name another file, or set --overwrite"),
        ("RUN/predictions.parquet", "is a run's own folder"),
        ("STORE/p.csv", "which this would damage"),
        ("folder.csv", "is a folder; name a file in it"),
    ],
)
def test_a_file_that_must_not_be_written_is_refused_before_the_work(
    out: str, said: str, run: Run, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.csv").write_text("years of work")
    (tmp_path / "folder.csv").mkdir()
    before = (run.path / "predictions.parquet").read_bytes()
    path = Path(out.replace("RUN", str(run.path)).replace("STORE", str(run.store.path)))
    assert main(words(run, folder, out=tmp_path / path)) == 2
    assert said in capsys.readouterr().err
    assert (run.path / "predictions.parquet").read_bytes() == before
    assert (tmp_path / "there.csv").read_text() == "years of work"


def test_an_existing_table_is_replaced_if_asked_for(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("old")
    assert main([*words(run, folder / "a.dcm", out=tmp_path / "there.csv"), "--overwrite"]) == 0
    assert table(tmp_path / "there.csv").height == 1


def test_files_are_read_a_part_at_a_time_in_their_order(
    archive: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = []

    def watched(function: Any, items: Sequence[str]) -> Any:
        parts.append(len(items))
        return isolated(function, items)

    ids = [f"case-{k:02d}" for k in (5, 3, 8, 1, 7)]
    monkeypatch.setattr(inputs, "isolated", watched)
    monkeypatch.setattr(inputs, "WAITING", 2 * 64**2)
    model = run.model()
    files = find([str(file_of(archive, case)) for case in ids], run)
    for of_file, of_case in zip(read(files, run, model), read(find(ids, run), run, model), strict=True):
        assert isinstance(of_file, Subject)
        assert isinstance(of_case, Subject)
        assert of_file.image.equal(of_case.image)
    assert parts == [2, 2, 1]


def test_a_folder_without_images_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(UserError, match="there is no image in this folder, which has 1 file"):
        find([str(tmp_path)], run)


def test_json_is_a_list_of_rows(run: Run, folder: Path, tmp_path: Path) -> None:
    main(words(run, folder / "a.dcm", folder / "b.png", out=tmp_path / "p.json"))
    first, second = json.loads((tmp_path / "p.json").read_text())
    assert first["image"] == "image-001"
    assert first["error"] is None
    assert second["probability_CHF"] is None
    assert second["predicted"] is None
