"""The benchmark of an epoch, small: it runs the loop of `radgaze train`, and its times fit together."""

from __future__ import annotations

import pytest
from benchmarks.epoch import run

from tests.benchmarks.cells import number


@pytest.mark.slow
def test_an_epoch_is_timed_beside_as_many_bare_steps() -> None:
    result = run(
        experiments=("set3_guided",),
        encoder="tu-test_efficientnet",
        steps=2,
        batch=2,
        size=64,
        side=64,
        repeats=2,
    )
    (row,) = result.rows
    assert row["experiment"] == "set3_guided"
    assert 0 < number(row["of it loading (CPU s)"]) < number(row["epoch (CPU s)"])
    assert number(row["bare steps (CPU s)"]) > 0
    assert number(row["after the last step (CPU s)"]) > 0
    slower = number(row["overhead (CPU, %)"]) < 5
    assert row["within"] == ("yes" if slower else "no")
