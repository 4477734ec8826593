"""Tables that are not held in memory: the same rows in the same order, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from radgaze.sources import external_sort as spool
from radgaze.sources.external_sort import height, slices, spooled

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
