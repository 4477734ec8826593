"""Section of the cases of each split."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from radgaze.errors import UserError
from radgaze.reporting.pretraining import pretraining_words, taken_words
from radgaze.reporting.sections.section import EvaluatedRun, Section, register
from radgaze.runs.origin import StoreChangedError

SPLITS = ("train", "validate", "test")


@dataclass(frozen=True)
class SplitRow:
    """A row of the table.

    Attributes:
        split: Name of the split.
        numbers: Numbers of cases, of patients, and of cases of each class.
    """

    split: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Data:
    """Content of the section.

    Attributes:
        columns: The columns.
        rows: The rows.
        uncompared: Reason why the store could not be compared with the one at training; None where it could.
        rejections: Reason and number of the cases that were left out of the store.
        pretraining: What the encoder saw before, as sentences.
    """

    columns: tuple[str, ...]
    rows: tuple[SplitRow, ...]
    uncompared: str | None
    rejections: tuple[tuple[str, int], ...]
    pretraining: tuple[str, ...]


@register("data", title="Data", order=70)
class DataSection(Section):
    """Cases per split and class, and the cases that were left out of the store."""

    def content(self, evaluated: EvaluatedRun) -> Data:
        table, classes = _cases(evaluated), evaluated.run.classes
        rows = []
        for split in SPLITS:
            cases = table.filter(pl.col("split") == split)
            if cases.height:
                labels = (int(cases[f"label_{name}"].sum()) for name in classes)
                rows.append(SplitRow(split, (cases.height, cases["patient"].n_unique(), *labels)))
        rejections = evaluated.store.rejections
        return Data(
            columns=("Cases", "Patients", *classes),
            rows=tuple(rows),
            uncompared=evaluated.run.compared(),
            rejections=tuple((reason, number) for reason, number in rejections.items() if number),
            pretraining=tuple(
                words
                for words in (
                    taken_words(evaluated.run),
                    pretraining_words(evaluated.run, evaluated.results),
                )
                if words
            ),
        )


def _cases(evaluated: EvaluatedRun) -> pl.DataFrame:
    """The cases of the store or, where it is missing, those of the predictions, which lack training cases."""
    try:
        return evaluated.run.store.cases
    except StoreChangedError:
        raise
    except UserError:
        return evaluated.predictions
