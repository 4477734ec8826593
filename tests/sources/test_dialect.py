"""Files of delimited text in whatever way they are written: read rightly, or told in one line."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Literal

import imagecodecs
import polars as pl
import pytest

from radgaze.errors import UserError
from radgaze.sources import streaming
from radgaze.sources.delimited import column_names, read_columns
from radgaze.sources.dialect import TextOptions, written_with
from radgaze.sources.streaming import LINE

COLUMNS = ("image", "patient", "note")
ROWS = [("0.png", "Müller", "a, b; c"), ("1.png", "Möller", 'so-called "a"'), ("2.png", "Ωκ|x", "two\nlines")]
LINES = [2, 3, 4]
DAMAGED = gzip.compress(b"a,b\n1,2\n", mtime=0)[:10] + b"\xff" * 20


def text(separator: str = ",") -> str:
    held = io.StringIO(newline="")
    csv.writer(held, delimiter=separator, lineterminator="\n").writerows([COLUMNS, *ROWS])
    return held.getvalue()


def read(path: Path) -> tuple[list[tuple[object, ...]], list[int]]:
    table = read_columns(path, COLUMNS, archive="it")
    return [row[:-1] for row in table.rows()], table[LINE].to_list()


@pytest.mark.parametrize("block", [1, 5, 2**21])
@pytest.mark.parametrize("packed", [bytes, gzip.compress, imagecodecs.zstd_encode])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_and_encodings_that_a_file_tells_are_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    block: int,
    packed: Callable[[bytes], bytes],
    encoding: str,
    separator: str,
) -> None:
    monkeypatch.setattr(streaming, "BLOCK", block)
    path = tmp_path / "f.csv"
    path.write_bytes(packed(text(separator).encode(encoding)))
    assert read(path) == (ROWS, LINES)


@pytest.mark.parametrize("encoding", ["cp1253", "utf-16-le", "gb18030", "iso2022_jp"])
def test_an_encoding_that_a_file_does_not_tell_is_asked_for_and_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(streaming, "BLOCK", 7)
    path = tmp_path / "f.csv"
    rows = [("0.png", "Ωκ", "α"), ("1.png", "Ωλ", "β")]
    path.write_bytes("\n".join(map(",".join, [COLUMNS, *rows])).encode(encoding))
    if encoding != "iso2022_jp":  # which is ASCII, and so UTF-8 too
        with pytest.raises(UserError, match=r"f.csv.*`encoding(=utf-16-le)?`"):
            read(path)
    with written_with(TextOptions(encoding)):
        assert read(path) == (rows, [2, 3])


def test_a_byte_that_is_no_utf8_is_told_with_its_line_and_two_patients_are_never_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes("image,patient,note\na,b,c\n0,Müller,\n1,Möller,\n".encode("latin-1"))
    for block in (1, 2**21):
        monkeypatch.setattr(streaming, "BLOCK", block)
        with pytest.raises(UserError, match=r"f.csv, line 3: byte 0xFC is not UTF-8; `encoding`"):
            read(path)
    with written_with(TextOptions("latin-1")):
        assert read(path)[0][1:] == [("0", "Müller", None), ("1", "Möller", None)]


def test_an_encoding_that_is_asked_for_though_the_file_is_utf8_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.csv"
    path.write_text(text(), encoding="utf-8")
    with written_with(TextOptions("cp1250")):
        read(path)
    assert "f.csv: it is valid UTF-8, but read as `encoding` says" in capsys.readouterr().err
    with written_with(TextOptions("utf-8")):
        assert read(path) == (ROWS, LINES)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "separator", "lines"),
    [
        ("sep=,\n", ",", 1),
        ("sep=;\r\n", ";", 1),
        ("# made, by me\n# and you\n", ",", 2),
        ("# site A, scanner B, 2020\n", ",", 1),
        ("#\n# a, b, c, d\n# 1, 2\n", ",", 3),
        ("\n\n", ",", 2),
    ],
)
def test_what_stands_before_the_header_is_passed_over_and_counted(
    tmp_path: Path, before: str, separator: str, lines: int
) -> None:
    path = tmp_path / "f.csv"
    path.write_text(before + text(separator), newline="")
    assert read(path) == (ROWS, [line + lines for line in LINES])


def test_a_header_that_begins_with_a_hash_is_no_comment(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    for content in ("#image,patient\na,b\n", "# image,patient\na,1.5\n", "# image,patient\n"):
        path.write_text(content)
        assert [name.strip("# ") for name in column_names(path)] == ["image", "patient"]
    path.write_text("# image,patient,label\na.png,p1,CHF\nb.png,p2,Normal\n")
    assert column_names(path)[1:] == ["patient", "label"]


def test_what_is_guessed_of_a_file_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "f.csv"
    path.write_text("# mine\n" + text(";") + "3.png;x\n4.png\n")
    for _ in range(2):
        read(path)
    said = capsys.readouterr().err
    assert said.count("cells are taken to be separated by semicolons; else give `separator`") == 1
    assert said.count("lines before the header that begin with # are skipped (lines: 1)") == 1
    assert said.count("f.csv: line 7 and 1 more have fewer cells than the header") == 1


def test_a_separator_that_is_given_goes_before_what_looks_likely(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("a;b,c;d\n1;2,3;4\n")
    assert column_names(path) == ["a", "b,c", "d"]
    with written_with(TextOptions(separator="comma")):
        assert column_names(path) == ["a;b", "c;d"]


@pytest.mark.parametrize("block", [1, 9, 2**21])
def test_quotes_within_cells_mean_nothing_as_the_csv_module_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(streaming, "BLOCK", block)
    path = tmp_path / "f.csv"
    content = 'image,patient,note\n0,a,film 5" wide\n1,b,"two\nlines, ""so"""\n\n2,c,6" by 7"\n3,"d",5"" x\n'
    path.write_text(content)
    expected = [tuple(row) for row in csv.reader(io.StringIO(content)) if row][1:]
    assert read(path) == (expected, [2, 3, 6, 7])


@pytest.mark.parametrize("block", [1, 2**21])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a,b\n1,2\n\n3,4,5\n", "line 4: 3 cells, the header has 2;.*`separator`"),
        (b'a,b\n1,"2\n"\n3,4,5\n', "line 4: 3 cells, the header has 2"),
        (b'a,b\n1,2" x\n3,4,5\n', "line 3: 3 cells, the header has 2"),
        (b'a,b\n1,2\n3,"four\n5,6\n', "line 3: a quote opens a cell and does not close it"),
        (b'a,b\n1,2\n3,"f 5" w"\n', "line 3: a quote opens a cell and does not close it"),
        (b"a,b\n1,x\0y\n", "zero bytes.*`encoding=utf-16-le`"),
        (b"PK\x03\x04 of a sheet", "a spreadsheet or a zip archive: save its sheet as CSV"),
        (b"PAR1 and so on", "its name must end in .parquet"),
        (b"a,b,b\n1,2,3\n", "several columns “b”"),
        (b"\x28\xb5\x2f\xfd broken", "cannot be read as CSV"),
        (DAMAGED, "cannot be read as CSV"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, content: bytes, told: str
) -> None:
    monkeypatch.setattr(streaming, "BLOCK", block)
    path = tmp_path / "f.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=told) as caught:
        read_columns(path, ["a", "b"], archive="it")
    assert "\n" not in str(caught.value)


def test_columns_of_one_name_matter_only_where_they_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text("a,,b,b,\n1,2,3,4,5\n")
    assert column_names(path) == ["a", "b"]
    assert read_columns(path, ["a"], archive="it").rows() == [("1", 2)]


def test_a_record_of_blanks_is_none_however_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text('a,b,c\n1,2,3\n,,\n"","",""\n" ",\t,\u200b\n,,x\n4,,\n', encoding="utf-8")
    assert read_columns(path, ["a", "b"], archive="it").rows() == [
        ("1", "2", 2),
        (None, None, 6),
        ("4", None, 7),
    ]


def test_lines_that_end_as_on_old_macintoshes_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"image,patient,note\r0,a,b\r1,c,d\r")
    assert read(path) == ([("0", "a", "b"), ("1", "c", "d")], [2, 3])


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-16", "no byte order mark.*`encoding=utf-16-le`"),
        ("utf-32", "no byte order mark.*`encoding=utf-32-le`"),
        ("utf-7", "f.csv is not utf-7"),
    ],
)
def test_an_encoding_that_a_file_cannot_have_is_told(tmp_path: Path, encoding: str, told: str) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"a,b\n1,+2AA-\n" if encoding == "utf-7" else "a,b\n1,2\n".encode(f"{encoding}-le"))
    with pytest.raises(UserError, match=told), written_with(TextOptions(encoding)):
        read_columns(path, ["a", "b"], archive="it")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"encoding": "klingon"}, "`encoding=klingon` must be the name"),
        ({"encoding": "undefined"}, "`encoding=undefined` must be the name"),
        ({"encoding": "rot13"}, "`encoding=rot13` must be the name"),
        ({"separator": "::"}, "`separator=::` must be one character"),
        ({"separator": '"'}, "must be one character"),
    ],
)
def test_an_encoding_or_separator_that_is_none_is_told(options: dict[str, str], told: str) -> None:
    with pytest.raises(UserError, match=told), written_with(TextOptions(**options)):
        pass


def test_whole_numbers_and_nan_of_a_parquet_file_are_what_they_were_before_one_was_missing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "f.parquet"
    frame = pl.DataFrame({"a": [1.0, float("nan"), None, 2.5, 1e20], "b": [7, 8, None, 9, 10]})
    frame.write_parquet(path)
    read = read_columns(path, ["a", "b"], archive="it")
    assert read["a"].to_list() == ["1", None, "2.5", "1e+20"]
    assert read["b"].to_list() == ["7", "8", "9", "10"]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_durations_of_a_parquet_file_are_seconds(tmp_path: Path, unit: Literal["ms", "us", "ns"]) -> None:
    path = tmp_path / "f.parquet"
    spans = [timedelta(seconds=2), timedelta(milliseconds=250), None]
    pl.DataFrame({"a": ["x", "y", "z"], "b": pl.Series(spans, dtype=pl.Duration(unit))}).write_parquet(path)
    assert read_columns(path, ["a", "b"], archive="it")["b"].to_list() == ["2", "0.25", None]
