"""A disk that is full is told as for any other file."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from radgaze.tables import csv_text, harmless, read_csv, write_csv, write_parquet

TABLE = pl.DataFrame({"a": range(100_000)})


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_parquet(TABLE, path),
        lambda path: write_parquet(TABLE.lazy(), path, rows=1000),
        lambda path: write_csv(TABLE, path),
    ],
    ids=["parquet", "lazy", "csv"],
)
@pytest.mark.parametrize(("place", "fault"), [("/dev/full", errno.ENOSPC), ("/none/of/it", errno.ENOENT)])
def test_a_fault_of_the_disk_is_an_oserror(write: Callable[[Path], None], place: str, fault: int) -> None:
    if place == "/dev/full" and not Path(place).exists():
        pytest.skip("no such device")
    with pytest.raises(OSError, match=os.strerror(fault)) as told:
        write(Path(place))
    assert told.value.errno == fault


def test_what_is_written_is_the_table(tmp_path: Path) -> None:
    write_parquet(TABLE.lazy(), tmp_path / "a.parquet", rows=1000)
    write_csv(TABLE, tmp_path / "a.csv")
    assert pl.read_parquet(tmp_path / "a.parquet").equals(TABLE)
    assert pl.read_csv(tmp_path / "a.csv").equals(TABLE)


def test_what_is_no_fault_of_the_disk_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(pl.exceptions.ComputeError, match="nested"):
        write_csv(pl.DataFrame({"a": [[1], [2]]}), tmp_path / "a.csv")


HOSTILE = ["=1+1", "+cmd", "-cmd", "@SUM(1)", "\tx", "\rx", "\n=1", "＝1", "'=1", "''-x", "-1\n=2"]
PLAIN = ["normal", "'quoted'", "-1", "+1.5e-3", "a=b", "", "’=", "-.5", None]


def test_no_cell_of_a_csv_is_executed_and_reading_gives_back_every_text(tmp_path: Path) -> None:
    table = pl.DataFrame({"@name": [*HOSTILE, *PLAIN], "value": [-1.5] * len(HOSTILE + PLAIN)})
    write_csv(table, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == ["'@name", "value"]
    first = [row[0] for row in rows]
    assert first[: len(HOSTILE)] == ["'" + text for text in HOSTILE]
    assert first[len(HOSTILE) :] == [text or "" for text in PLAIN]
    assert {row[1] for row in rows} == {"-1.5"}
    assert read_csv(tmp_path / "a.csv")["@name"].to_list() == [*HOSTILE, *PLAIN]
    assert csv_text(table).encode() == (tmp_path / "a.csv").read_bytes()
    assert [harmless(text) for text in HOSTILE] == first[: len(HOSTILE)]
