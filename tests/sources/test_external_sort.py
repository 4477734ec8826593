"""Tables that are not held in memory: the same rows in the same order, and nothing left behind."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from radgaze.sources import external_sort as spool
from radgaze.sources.external_sort import height, merged, slices, spooled
from radgaze.tables import write_parquet

TABLE = pl.DataFrame({"i": range(100), "text": [f"row {i}" for i in range(100)]})


@pytest.mark.parametrize("rows", [7, 50, 100, 1000])
def test_rows_are_in_order_however_they_are_cut(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(spool, "ROWS", 9)
    table = spooled(TABLE.slice(first, rows) for first in range(0, 100, rows))
    for _ in range(2):
        assert table.collect().equals(TABLE)
        assert height(table) == 100
        found = list(slices(table))
        assert {part.height for part in found} == {9, 1}
        assert pl.concat(found).equals(TABLE)


def test_of_a_table_without_a_row_there_is_one_slice() -> None:
    for parts in ([TABLE.clear()], [TABLE.clear(), TABLE.clear()]):
        assert [part.rows() for part in slices(spooled(parts))] == [[]]


def test_a_table_is_read_once_however_many_slices_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "ROWS", 9)
    read = list[int]()

    def seen(part: pl.DataFrame) -> pl.DataFrame:
        read.append(part.height)
        return part

    table = spooled(TABLE.slice(first, 10) for first in range(0, 100, 10)).map_batches(seen, streamable=True)
    assert pl.concat(slices(table)).equals(TABLE)
    assert sum(read) == 100


@pytest.mark.parametrize("ways", [2, 3, 16])
def test_sorted_tables_are_merged_in_few_passes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ways: int
) -> None:
    monkeypatch.setattr(spool, "WAYS", ways)
    monkeypatch.setattr(spool, "ROWS", 32)
    monkeypatch.setattr(spool, "GROUP", 4)
    written = list[int]()
    write = write_parquet

    def counted(table: pl.DataFrame | pl.LazyFrame, path: Path, *, rows: int, lasting: bool) -> None:
        write(table, path, rows=rows, lasting=lasting)
        written.append(height(pl.scan_parquet(path)))

    monkeypatch.setattr(spool, "write_parquet", counted)
    draw = random.Random(3)
    tables = list[pl.LazyFrame]()
    for k in range(40):
        part = pl.DataFrame(
            {"case": [draw.randrange(12) for _ in range(10)], "place": range(10 * k, 10 * k + 10)}
        )
        part.sort("case").write_parquet(tmp_path / f"{k}.parquet")
        tables.append(pl.scan_parquet(tmp_path / f"{k}.parquet"))
    in_order = pl.concat(slices(merged(tables, "case", tmp_path)))
    assert in_order["case"].to_list() == sorted(in_order["case"])
    assert in_order.sort("place").equals(pl.concat(tables).collect().sort("place"))
    passes = math.ceil(math.log(40, ways) - 1e-9)
    assert sum(written) <= 400 * (passes - 1)


def test_a_file_is_the_same_however_its_rows_came(tmp_path: Path) -> None:
    written = set()
    for rows in (10, 33, 100):
        spooled(TABLE.slice(first, rows) for first in range(0, 100, rows)).sink_parquet(
            tmp_path / "table.parquet", row_group_size=16
        )
        written.add((tmp_path / "table.parquet").read_bytes())
    assert len(written) == 1


def test_parts_lie_where_TMPDIR_says_and_are_gone_with_the_process(tmp_path: Path) -> None:
    code = (
        "import polars as pl; from pathlib import Path; from radgaze.sources.external_sort import spooled\n"
        "parts = [pl.DataFrame({'a': [i]}) for i in range(3)]\n"
        "table = spooled(parts)\n"
        f"assert len(list(Path({str(tmp_path)!r}).rglob('*.parquet'))) == 3\n"
        "print(table.collect()['a'].to_list())\n"
        "raise SystemExit(7)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"TMPDIR": str(tmp_path)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (7, "[0, 1, 2]\n"), done.stderr
    assert not any(Path(tmp_path).iterdir())
