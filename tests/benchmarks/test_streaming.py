"""An epoch takes no more memory over a store ten times as large, unless its images are kept."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from benchmarks.streaming import measured, write_store

from tests.benchmarks.cells import number

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
SIDE, CASES, MIB_OF_IMAGES = 128, 512, 8


@pytest.mark.slow
def test_memory_stays_flat_while_a_store_grows_tenfold(tmp_path: Path) -> None:
    streamed = []
    for times in (1, 10):
        write_store(tmp_path / str(times), CASES * times, SIDE)
        streamed.append(measured(tmp_path / str(times), 32, cache=False))
        assert streamed[-1]["images (MiB)"] == MIB_OF_IMAGES * times
    kept = measured(tmp_path / "10", 32, cache=True)
    small, large, whole = (number(row["own memory (MiB)"]) for row in (*streamed, kept))
    grown = [large - small, whole - small]
    # Ids, labels and fixations grow by some 12 MiB, images by 72.
    assert grown[0] < 0.3 * 9 * MIB_OF_IMAGES
    assert grown[1] > 0.8 * 9 * MIB_OF_IMAGES
