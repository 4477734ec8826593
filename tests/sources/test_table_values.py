"""Values of a table that may mean several things: what is taken for what is told, or an option decides."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
import polars as pl
import pytest
from PIL import Image

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.sources import table
from radgaze.sources.cohort import Cohort
from radgaze.sources.table import TableOptions
from radgaze.store.store import Store
from tests.sources.names import TableKeywords

NAMES = ("a", "b", "c", "d", "e", "f")

Look = tuple[float | str, float | str, float, float]
"""x, y, onset, duration; positions may be words."""


class FixationKeywords(TypedDict, total=False):
    fixation_frame: str
    fixation_units: Sequence[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for k, name in enumerate(NAMES):
        pixels = np.random.default_rng(k).integers(0, 256, (60, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path


def read(folder: Path, values: list[str], column: str = "label", **options: Unpack[TableKeywords]) -> Cohort:
    rows = [
        f"{name},{name}.png,{k},{label}" for k, (name, label) in enumerate(zip(NAMES, values, strict=False))
    ]
    (folder / "labels.csv").write_text("\n".join([f"case,image,patient,{column}", *rows]), encoding="utf-8")
    return table.read(TableOptions(folder / "labels.csv", **options))


def classes(cohort: Cohort) -> list[str]:
    own = [[n for n in cohort.classes if row[f"label_{n}"]] for row in cohort.cases.iter_rows(named=True)]
    return ["|".join(names) for names in own]


def told(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("word", ["N/A", "nan", "NULL", "-", "NA", "?", "<NA>"])
def test_words_for_a_missing_label_are_no_class(
    folder: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    cohort = read(folder, ["x", word, "y", f"x|{word}"])
    assert cohort.classes == ("x", "y")
    assert cohort.rejections.select("reason", "case_id").rows() == [("no_label", "b")]
    assert f"2 of column “label” taken for a missing label: “{word}”" in told(capsys)
    assert read(folder, ["x", word, "y"], classes=["x", "y", word]).classes == ("x", "y", word)
    assert read(folder, ["x", "gone", "y"], missing=["gone"]).classes == ("x", "y")


def test_spellings_of_one_class_are_one_as_a_notice_tells_unless_both_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = ["NORMAL", "normal", "normal", "ill", "Ill ", "no  finding"]
    cohort = read(folder, written)
    assert cohort.classes == ("Ill", "no  finding", "normal")
    assert classes(cohort) == ["normal", "normal", "normal", "Ill", "Ill", "no  finding"]
    assert "“NORMAL” of column “label” is taken for “normal” (1 records)" in told(capsys)
    chosen = read(folder, written, classes=["Normal", "ILL"])
    assert classes(chosen) == ["Normal"] * 3 + ["ILL"] * 2
    both = read(folder, written, classes=["NORMAL", "normal"])
    assert classes(both) == ["NORMAL", "normal", "normal"]


def test_unicode_forms_of_a_name_are_one_name(folder: Path) -> None:
    ill = "épanchement"
    decomposed = unicodedata.normalize("NFD", ill)
    assert read(folder, [ill, decomposed, "y"]).classes == ("y", ill)
    Image.open(folder / "a.png").save(folder / f"{decomposed}.png")
    (folder / "t.csv").write_text(
        f"image,patient,label\n{ill}.png,Mu\u0308ller,x\na.png,Müller,y\n", encoding="utf-8"
    )
    (folder / "looks.csv").write_text(
        f"case,x,y,onset,duration\n{decomposed},20,30,0,1\nA.PNG,21,31,0,1\n", encoding="utf-8"
    )
    cohort = table.read(TableOptions(folder / "t.csv", fixations=folder / "looks.csv"))
    assert cohort.cases["patient"].to_list() == [0, 0]
    assert cohort.readings["case_id"].to_list() == cohort.cases["case_id"].to_list()


def test_patients_that_differ_by_case_or_spaces_alone_are_told_and_kept_apart(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "t.csv").write_text("image,patient,label\na.png,P1,x\nb.png,q,y\nc.png,p 1,y\n")
    assert table.read(TableOptions(folder / "t.csv")).cases["patient"].to_list() == [0, 1, 2]
    assert "2 patients are written as another but for letter case or spaces, as in lines 2 and 4" in told(
        capsys
    )


def test_boxes_and_masks_find_their_case_in_another_spelling_but_not_one_of_two(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "t.csv").write_text("image,patient,label,case\na.png,1,x,K1\nb.png,2,y,k2\nc.png,3,y,K2\n")
    (folder / "boxes.csv").write_text("case,x1,y1,x2,y2\nk1,1,2,30,40\nK 2,1,2,3,4\nK2,1,2,33,44\n")
    cohort = table.read(TableOptions(folder / "t.csv", boxes=folder / "boxes.csv"))
    assert cohort.boxes.select("case_id", "x2").rows() == [("K1", 30), ("K2", 33)]
    assert cohort.rejections["reason"].to_list() == ["box_without_case"]
    assert "1 records write their case with another letter case" in told(capsys)


@pytest.mark.parametrize(
    ("yes", "no"), [("1", "0"), ("1.0", "0.0"), ("True", "False"), ("TRUE", "false"), ("1", "0.00")]
)
def test_flags_however_written_are_guessed(folder: Path, yes: str, no: str) -> None:
    assert classes(read(folder, [f"{yes},{no}", f"{no},{yes}", f",{yes}"], "A,B")) == ["A", "B", "B"]
    assert classes(read(folder, [yes, no], "A", labels=["A"])) == ["A", "no A"]


def test_what_minus_one_and_blanks_say_is_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, labels = ["1,0", "0,1", "-1,1", ",1", "nan,1", "0,-1.0"], ["A", "B"]
    with pytest.raises(
        UserError, match=r"line 4, column A: it is '-1', 0 or 1 expected; `present`, `absent`"
    ):
        read(folder, rows, "A,B", labels=labels)
    missing = read(folder, rows, "A,B", missing=["-1"], labels=labels)
    assert classes(missing) == ["A", "B", "B", "B", "B"]  # that they do not have A is not known, nor needed
    assert "1 of the 0s and 1s are words such as nan" in told(capsys)
    absent = read(folder, rows, "A,B", absent=["-1", ""], multi_label=True, labels=labels)
    assert classes(absent) == ["A", "B", "B", "B", ""]  # of nan A is not known
    assert classes(read(folder, rows, "A,B", present=["-1.00"], labels=labels)) == ["A", "B", "A|B", "B"]
    assert read(folder, rows[:3], "A,B", absent=["-1"]).classes == ("A", "B")  # guessed too
    with pytest.raises(UserError, match="another option has that value too"):
        read(folder, rows, "A,B", present=["-1"], absent=["-1.0"])


def test_one_column_of_minus_one_0_and_1_is_no_guess(folder: Path) -> None:
    with pytest.raises(UserError, match="`present`, `absent` or `missing` says what -1 stands for"):
        read(folder, ["-1", "0", "1"], "A", labels=["A"])
    assert classes(read(folder, ["-1", "0", "1"], "A", labels=["A"], absent=["-1"])) == ["no A", "no A", "A"]
    assert read(folder, ["-1", "0", "1"], labels=["label"], classes=["0", "1", "-1"]).classes == (
        "0",
        "1",
        "-1",
    )


def test_the_column_of_chestx_ray14_is_guessed(folder: Path) -> None:
    cohort = read(folder, ["Mass|Effusion", "No Finding", "Mass"], "Finding Labels")
    assert classes(cohort) == ["Effusion|Mass", "No Finding", "Mass"]


def test_what_is_named_twice_is_a_mistake(folder: Path) -> None:
    with pytest.raises(UserError, match="`labels=A` is named 2 times"):
        read(folder, ["1,0", "0,1"], "A,B", labels=["A", "A"])
    with pytest.raises(UserError, match="`classes=x` is named 2 times"):
        read(folder, ["x", "y"], classes=["x", "x", "y"])
    with pytest.raises(UserError, match="several columns “label”"):
        read(folder, ["x,y", "y,x"], "label,label")


def test_a_column_called_line_is_one_as_any_other(folder: Path) -> None:
    """The numbers of lines, by which errors and rejections name a record, do not take its place."""
    cohort = read(folder, ["1", "0", "1", "0", "0"], "line", labels=["line"])
    assert cohort.classes == ("no line", "line")
    assert classes(cohort) == ["line", "no line", "line", "no line", "no line"]
    cohort = read(folder, ["0,1", "1,0", "1,1", "0,0"], "tube,line", multi_label=True)
    assert classes(cohort) == ["line", "tube", "tube|line", ""]
    with pytest.raises(UserError, match=r"labels.csv, line 3, column line: it is 'x'"):
        read(folder, ["0,1", "1,x"], "tube,line", labels=["tube", "line"])
    (folder / "lines.csv").write_text("line,subset,label\na.png,train,x\nb.png,test,y\n")
    cohort = table.read(TableOptions(folder / "lines.csv", columns=["image=line", "patient=line"]))
    assert cohort.cases["patient"].to_list() == [0, 1]
    (folder / "looks.csv").write_text("line,x,y,onset,duration,who\na.png,9,9,0,1,r\nb.png,9,9,0,1,r\n")
    columns: dict[str, Any] = {
        "fixation_columns": ["reader=line", "case=line"],
        "fixations": folder / "looks.csv",
    }
    (folder / "boxes.csv").write_text("case,x1,y1,x2,y2,line\na,0,0,9,9,tip\n")
    cohort = read(folder, ["x", "y"], boxes=folder / "boxes.csv", box_columns=["name=line"], **columns)
    assert cohort.readings["reader"].to_list() == ["reader-1", "reader-2"]
    assert cohort.boxes["label"].to_list() == ["tip"]


@pytest.mark.parametrize("word", ["nan", "N/A", "-"])
def test_a_patient_that_is_missing_is_none(folder: Path, word: str) -> None:
    (folder / "t.csv").write_text(f"image,patient,label\na.png,1,x\nb.png,{word},y\n")
    with pytest.raises(UserError, match=f"line 3, column patient: it is '{word}', a patient expected"):
        table.read(TableOptions(folder / "t.csv"))


def test_an_image_that_is_not_there_is_named_as_it_was_looked_for(folder: Path) -> None:
    with pytest.raises(UserError, match=rf"`images` names .*expected is {folder}/sub/a.png$"):
        read(folder, ["x", "y"], images=folder / "sub")
    (folder / "t.csv").write_text("image,patient,label\nq,1,x\nr,2,y\n")
    with pytest.raises(UserError, match=r"lack an ending such as \.png"):
        table.read(TableOptions(folder / "t.csv"))


def test_backslashes_part_folders(folder: Path) -> None:
    Image.open(folder / "a.png").save(folder / "sub" / "a.png")
    (folder / "t.csv").write_text("image,patient,label\nsub\\a.png,1,x\nb.png,2,y\n")
    assert table.read(TableOptions(folder / "t.csv")).cases["image"][0] == str(folder / "sub" / "a.png")


def looks(folder: Path, rows: Sequence[Look], **options: Unpack[FixationKeywords]) -> Cohort:
    lines = [f"a,{x},{y},{onset},{duration}" for x, y, onset, duration in rows]
    (folder / "looks.csv").write_text("\n".join(["case,x,y,onset,duration", *lines]))
    return read(folder, ["x", "y"], fixations=folder / "looks.csv", **options)


def test_fractions_are_told_and_taken_so_by_the_frame(folder: Path) -> None:
    rows = [(0.5, 0.25, 0, 0.2), (0.1, 0.9, 0.3, 0.2), (1.2, 0.5, 0.6, 0.2), (0, 0, 0.9, 0.2)]
    with pytest.raises(UserError, match=r"2 of 3 positions are from 0 to 1.*`fixation_frame=1x1`"):
        looks(folder, rows)
    placed = looks(folder, rows, fixation_frame="1x1").fixations.collect()
    np.testing.assert_allclose(placed.select("x", "y").rows(), [(20, 15), (4, 54), (0, 0)])
    (folder / "boxes.csv").write_text("case,x,y,width,height\na,0.25,0.5,0.5,0.25\n")
    with pytest.raises(UserError, match=r"1 of 1 positions.*`box_frame=1x1`"):
        read(folder, ["x", "y"], boxes=folder / "boxes.csv")
    found = read(folder, ["x", "y"], boxes=folder / "boxes.csv", box_frame="1x1")
    assert found.boxes.rows() == [("a", "box", 10, 30, 30, 45)]


def test_milliseconds_are_told_and_taken_so_where_they_are_named(folder: Path) -> None:
    times = [(300.0 * k, 250.0) for k in range(12)]
    in_ms = [(5, 6, onset, duration) for onset, duration in times]
    with pytest.raises(
        UserError, match=r"12 of 12 durations are more than 10 s; `fixation_units=duration=ms`"
    ):
        looks(folder, in_ms)
    with pytest.raises(UserError, match=r"10 of 10 steps from one onset.*`fixation_units=onset=ms`"):
        looks(folder, [(5, 6, onset, duration / 1000) for onset, duration in times])
    cohort = looks(folder, in_ms, fixation_units=["onset=ms", "duration=ms"])
    found = cohort.fixations.collect().select("onset", "duration").to_numpy()
    np.testing.assert_allclose(found, np.array(times) / 1000)
    as_they_are = looks(folder, in_ms, fixation_units=["onset=s", "duration=s"]).fixations.collect()
    assert as_they_are["duration"].to_list() == [250] * 12
    with pytest.raises(UserError, match="`fixation_units=duration=hours` must be KEY=UNIT"):
        looks(folder, in_ms, fixation_units=["duration=hours"])


def test_fixations_that_are_off_their_images_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looks(folder, [(500, 600, 0, 1), (3, 4, 2, 1), (700, 20, 4, 1)])
    assert "2 of 3 fixations are not on their image; `fixation_frame`" in told(capsys)
    looks(folder, [(5, 6, 0, 1), (3, 4, 2, 1), (700, 20, 4, 1)])
    assert "on their image" not in told(capsys)


@pytest.mark.parametrize("of", ["fixations", "boxes", "masks"])
def test_a_table_without_records_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], of: Literal["fixations", "boxes", "masks"]
) -> None:
    header = {"fixations": "case,x,y,onset,duration", "boxes": "case,x1,y1,x2,y2", "masks": "case,file"}
    (folder / "none.csv").write_text(header[of] + "\n")
    given: TableKeywords = {}
    given[of] = folder / "none.csv"
    cohort = read(folder, ["x", "y"], **given)
    assert cohort.readings.is_empty()
    assert "none.csv has no records" in told(capsys)


@pytest.mark.parametrize("sides", ["x_min,y_min,x_max,y_max", "x,y,width,height"])
def test_images_without_a_finding_have_no_box_though_they_have_a_record(
    folder: Path, capsys: pytest.CaptureFixture[str], sides: str
) -> None:
    """As the tables of VinDr-CXR and of RSNA's pneumonia challenge have them."""
    rows = ["a,Nodule,2,3,20,30", "b,No finding,,,,", "c,No finding,NaN,NaN,NaN,NaN", "zz,No finding,,,,"]
    (folder / "boxes.csv").write_text("\n".join([f"image_id,class_name,{sides}", *rows]))
    cohort = read(folder, ["x", "y", "y"], boxes=folder / "boxes.csv")
    assert cohort.boxes.select("case_id", "label").rows() == [("a", "Nodule")]
    assert cohort.rejections.is_empty()
    assert "3 of 4 records have blanks for all sides" in told(capsys)
    (folder / "boxes.csv").write_text(f"image_id,class_name,{sides}\na,Nodule,2,3,,30\n")
    with pytest.raises(UserError, match=r"line 2, column .*: it is blank, a number expected"):
        read(folder, ["x", "y"], boxes=folder / "boxes.csv")


def test_positions_that_are_missing_are_off_the_image_and_commas_in_numbers_are_told(folder: Path) -> None:
    cohort = looks(folder, [("nan", "NULL", 0, 1), (3, 4, 2, 1), (5, 6, 4, 1)])
    assert (cohort.readings["recorded"].to_list(), len(cohort.fixations.collect())) == ([3], 2)
    (folder / "looks.csv").write_text("case;x;y;onset;duration\na;3,5;4;0;1\n")
    with pytest.raises(
        UserError, match=r"column x: it is '3,5', a number expected, with a point and no comma"
    ):
        read(folder, ["x", "y"], fixations=folder / "looks.csv")


def test_options_of_prepare_name_encoding_separator_and_values(folder: Path, tmp_path: Path) -> None:
    rows = ["image;patient;krank", *(f"{name}.png;Mü{k};{(-1, 0, 1)[k % 3]}" for k, name in enumerate(NAMES))]
    (folder / "t.csv").write_bytes("\n".join(rows).encode("cp1252"))
    options = ["--labels", "krank", "--size", "16", "--workers", "1", "--out", str(tmp_path / "store")]
    command = ["prepare", "table", "--table", str(folder / "t.csv"), *options]
    assert main(command) == 2
    chosen = ["--encoding", "cp1252", "--separator", "semicolon", "--absent", "-1"]
    assert main([*command, *chosen]) == 0
    store = Store.open(tmp_path / "store")
    assert store.cases["label_krank"].to_list() == [0, 0, 1] * 2
    assert store.cases.select(pl.col("patient").n_unique()).item() == len(NAMES)
