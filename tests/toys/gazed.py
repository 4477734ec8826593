"""A source with gaze: PNG images in a folder for each class, and a table of fixations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from radgaze.options import Options, option
from radgaze.sources.cohort import Cohort
from radgaze.sources.source import Source

SPLITS = ("train", "train", "validate", "test")


@dataclass(frozen=True)
class GazedOptions(Options):
    """Images, and where readers looked.

    Attributes:
        images: Folder with a subfolder for each class.
        looks: Table of fixations with the columns image, x, y and seconds.
    """

    images: Path = option(metavar="DIR")
    looks: Path = option(metavar="CSV")


def read(options: GazedOptions) -> Cohort:
    """Read the images, each of another patient, and one reading for each image in the table."""
    files = sorted(options.images.absolute().glob("*/*.png"), key=lambda file: file.name)
    classes = tuple(sorted({file.parent.name for file in files}))
    cases = pl.DataFrame(
        {
            "case_id": [f"case-{patient:06}" for patient in range(len(files))],
            "patient": pl.Series(range(len(files)), dtype=pl.Int32),
            "split": [SPLITS[patient // len(classes) % len(SPLITS)] for patient in range(len(files))],
            "image": [str(file) for file in files],
            **{
                f"label_{name}": pl.Series([file.parent.name == name for file in files]).cast(pl.Int8)
                for name in classes
            },
        }
    )
    named = cases.select("case_id", image=pl.Series([file.name for file in files]))
    looks = pl.read_csv(options.looks).join(named, on="image", maintain_order="left")
    looks = looks.with_columns(
        reading_id="reading-" + pl.col("case_id"),
        index=pl.int_range(pl.len(), dtype=pl.Int32).over("case_id"),
    )
    readings = looks.group_by("reading_id", "case_id", maintain_order=True).agg(
        recorded=pl.len().cast(pl.Int32), duration=pl.col("seconds").sum()
    )
    fixations = looks.select(
        "reading_id", "index", "x", "y", onset=pl.col("index").cast(pl.Float64), duration="seconds"
    )
    return Cohort(
        source="gazed",
        classes=classes,
        cases=cases,
        readings=readings.select(
            "reading_id", "case_id", pl.lit(None, pl.String).alias("reader"), "recorded", "duration"
        ),
        fixations=fixations.lazy(),
        parameters={},
    )


SOURCE = Source(GazedOptions, read, "radgaze prepare gazed --images images --looks looks.csv --out store")
