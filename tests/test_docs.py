"""The documentation's pieces of code run, one after the other, as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["heatmaps.md"])
def test_code_of_a_page_runs(page: str) -> None:
    pieces = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)
    assert pieces
    # A process of its own: the pieces register generators, and change the allocator.
    told = subprocess.run([sys.executable, "-"], input="\n".join(pieces), text=True, capture_output=True)
    assert told.returncode == 0, told.stderr
