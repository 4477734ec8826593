"""Files read in parts: the same as read whole, wherever they are cut."""

from __future__ import annotations

import csv
import gzip
import io
import random
from pathlib import Path

import polars as pl
import pytest

from radgaze.errors import UserError
from radgaze.sources import streaming
from radgaze.sources.delimited import column_names, numbers, read_columns, read_parts
from radgaze.sources.streaming import LINE

PIECES = ("", "1", "x y", "a,b", 'say "a"', "two\nlines", "\r\n", '"', "ü", " ")


def written(seed: int, records: int) -> tuple[bytes, list[tuple[str | int | None, ...]]]:
    """A CSV file of three columns, and its records that are not blank, with the lines where they begin."""
    draw = random.Random(seed)
    text, line, held = io.StringIO(newline=""), 2, []
    ending = draw.choice(["\n", "\r\n"])
    rows = csv.writer(text, lineterminator=ending)
    rows.writerow(["a", "b", "c"])
    for _ in range(records):
        values = [draw.choice(PIECES) for _ in range(3)] if draw.random() < 0.9 else []
        rows.writerow(values)
        if any(value.strip() for value in values):
            held.append((*(value.strip() or None for value in values), line))
        line += 1 + sum(value.count("\n") for value in values)
    return draw.choice([b"", b"\xef\xbb\xbf"]) + text.getvalue().encode(), held


@pytest.mark.parametrize("block", [pytest.param(1, marks=pytest.mark.slow), 7, 64, 2**21])
def test_records_and_their_lines_are_the_same_wherever_a_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(streaming, "BLOCK", block)
    path = tmp_path / "f.csv"
    for seed in range(20):
        content, held = written(seed, records=30)
        for packed in (content, gzip.compress(content)):
            path.write_bytes(packed)
            assert read_columns(path, ["a", "b", "c"], archive="it").rows() == held
            assert column_names(path) == ["a", "b", "c"]
        assert block > 100 or sum(1 for _ in read_parts(path, ["a"], archive="it")) > 3


def test_a_part_is_as_large_as_a_block_but_for_a_long_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "BLOCK", 100)
    path = tmp_path / "f.csv"
    path.write_text("a,b\n" + "1,2\n" * 100 + '3,"' + "long\n" * 100 + '"\n' + "1,2\n" * 100)
    heights = [part.height for part in read_parts(path, ["a"], archive="it")]
    assert sum(heights) == 201
    assert max(heights) <= 100 / 4 * 8  # twice as much is read where no record ends, up to its length


def test_what_is_wrong_in_a_later_part_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "BLOCK", 10)
    path = tmp_path / "f.csv"
    path.write_text('a,b\n1,2\n\n3,"4\n"\n5,six\n')
    with pytest.raises(UserError, match=r"f.csv, line 6, column b: it is 'six', a number expected"):
        [numbers(part, path, ["a", "b"]) for part in read_parts(path, ["a", "b"], archive="it")]
    path.write_text("a,b\n1,2\n3,4\n5,6,7\n")
    with pytest.raises(UserError, match="line 4: 3 cells, the header has 2"):
        list(read_parts(path, ["a", "b"], archive="it"))


@pytest.mark.parametrize("rows", [1, 3, 2**16])
def test_a_parquet_file_is_read_in_parts_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(streaming, "ROWS", rows)
    path = tmp_path / "f.parquet"
    pl.DataFrame({"a": [1, None, 3, 4], "b": ["x", None, " ", "y"], "c": [[1], None, [], [2]]}).write_parquet(
        path
    )
    read = read_columns(path, ["a", "b"], archive="it")
    assert read.rows() == [("1", "x", 1), ("3", None, 3), ("4", "y", 4)]


def test_a_file_without_a_record_has_columns(tmp_path: Path) -> None:
    for name, write in (("f.csv", pl.DataFrame.write_csv), ("f.parquet", pl.DataFrame.write_parquet)):
        write(pl.DataFrame(schema={"a": pl.String, "b": pl.Float64}), tmp_path / name)
        read = read_columns(tmp_path / name, ["b"], archive="it")
        assert read.schema == {"b": pl.String, LINE: pl.Int64}
        assert read.is_empty()
    (tmp_path / "none.csv").write_text("")
    with pytest.raises(UserError, match="has no column b"):
        read_columns(tmp_path / "none.csv", ["b"], archive="it")
