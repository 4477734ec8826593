"""Preparing ten times as many images, or as much gaze, takes hardly more memory."""

from __future__ import annotations

import sys

import pytest
from benchmarks.preparation_memory import WRITES, prepared

from tests.benchmarks.cells import number

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
SIDE, CASES = 512, 60


@pytest.mark.slow
def test_memory_of_what_writes_stays_flat_while_an_archive_grows_tenfold() -> None:
    smaller, larger = prepared([(CASES, 5), (10 * CASES, 5)], SIDE, SIDE, workers=1)
    more = 9 * CASES * SIDE**2 / 2**20
    assert more > 130
    assert number(larger[WRITES]) - number(smaller[WRITES]) < 0.2 * more


@pytest.mark.slow
def test_memory_of_what_writes_stays_flat_while_gaze_grows_tenfold() -> None:
    smaller, larger = prepared([(200, 1_000), (200, 10_000)], 48, 16, workers=1)
    more = 1_800_000 * 52 / 2**20  # of the rows alone
    assert number(larger[WRITES]) - number(smaller[WRITES]) < 0.2 * more
