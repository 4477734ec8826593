"""A disk that is full is told as for any other file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import polars as pl
import pytest

from radgaze.tables import write_csv, write_parquet

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
def test_a_fault_of_the_disk_is_an_oserror(write, place, fault):
    if place == "/dev/full" and not Path(place).exists():
        pytest.skip("no such device")
    with pytest.raises(OSError, match=os.strerror(fault)) as told:
        write(Path(place))
    assert told.value.errno == fault


def test_what_is_written_is_the_table(tmp_path):
    write_parquet(TABLE.lazy(), tmp_path / "a.parquet", rows=1000)
    write_csv(TABLE, tmp_path / "a.csv")
    assert pl.read_parquet(tmp_path / "a.parquet").equals(TABLE)
    assert pl.read_csv(tmp_path / "a.csv").equals(TABLE)


def test_what_is_no_fault_of_the_disk_stays_what_it_is(tmp_path):
    with pytest.raises(pl.exceptions.ComputeError, match="nested"):
        write_csv(pl.DataFrame({"a": [[1], [2]]}), tmp_path / "a.csv")
