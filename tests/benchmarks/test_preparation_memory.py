"""Preparing ten times as many images takes no more memory, but for the tables."""

from __future__ import annotations

import sys

import pytest
from benchmarks.preparation_memory import WRITES, prepared

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
SIDE, CASES = 512, 60


@pytest.mark.slow
def test_memory_of_what_writes_stays_flat_while_an_archive_grows_tenfold():
    smaller, larger = prepared([(CASES, 5), (10 * CASES, 5)], SIDE, SIDE, workers=1)
    more = 9 * CASES * SIDE**2 / 2**20
    assert more > 130
    assert larger[WRITES] - smaller[WRITES] < 0.2 * more
