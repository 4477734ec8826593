"""The anatomical segmentations of `egd-cxr`: up to four mask files for each image."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from radgaze.console import say
from radgaze.sources.cohort import NO_REGIONS
from radgaze.sources.egd.files import TRANSCRIPTS

LABELS = {
    "left_lung.png": "left lung",
    "right_lung.png": "right lung",
    "mediastanum.png": "mediastinum",  # the archive's spelling
    "aortic_knob.png": "aortic knob",
}


def segmentations(folder: Path, cases: pl.DataFrame) -> pl.DataFrame:
    """The masks that are there, in the order of cases: case_id, label, file; with a notice if there are none.

    Args:
        folder: Of egd-cxr 1.0.0.
        cases: With case_id.
    """
    rows = [
        (case_id, label, str(path))
        for case_id in cases["case_id"]
        for name, label in LABELS.items()
        if (path := folder / TRANSCRIPTS / case_id / name).is_file()
    ]
    if not rows and cases.height:
        say(f"No masks of organs are under {folder / TRANSCRIPTS}: the store will hold none")
    return pl.DataFrame(rows, schema=NO_REGIONS, orient="row")
