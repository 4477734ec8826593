"""The record of a study as CSV files."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from radgaze.tables import write_csv
from radgaze.viewing.study.gaze import mouse
from radgaze.viewing.study.readings import readings
from radgaze.viewing.study.record import Recorder


def export(recorder: Recorder, out: Path) -> list[Path]:
    """Write readings.csv, cases.csv and mouse.csv into a folder.

    Returns:
        Paths of the files.
    """
    out.mkdir(parents=True, exist_ok=True)
    cases = pl.DataFrame(
        [
            {
                **{"case_id": each.case_id, "patient": each.patient, "truth": each.truth},
                **{"model": each.model, "practice": each.practice},
                **{f"probability_{name}": p for name, p in each.probabilities.items()},
            }
            for each in recorder.cases()
        ]
    )
    tables = {"readings": readings(recorder), "cases": cases, "mouse": mouse(recorder)}
    paths = []
    for name, table in tables.items():
        paths.append(out / f"{name}.csv")
        write_csv(table, paths[-1])
    return paths
