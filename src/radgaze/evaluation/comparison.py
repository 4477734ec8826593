"""The comparison of several runs on the same test cases: estimates and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.evaluation import comparison_rows, paired
from radgaze.evaluation.agreement_tables import comparable_agreement, comparable_reliance
from radgaze.evaluation.comparison_options import CompareOptions
from radgaze.evaluation.comparison_rows import EstimateRow, PairedRow
from radgaze.evaluation.controls import Controls, controls_among
from radgaze.evaluation.metrics.binary import positive_class
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.statistics import policy
from radgaze.evaluation.statistics.resampling import Resampling
from radgaze.runs import origin
from radgaze.runs.config import SELECTED_ON_TEST
from radgaze.runs.run import Run
from radgaze.tables import write_csv

FEW_OF_A_CLASS = 30
"""Number of patients with or without a class below which intervals of AUC differences are too narrow."""
TABLE, PAIRED = "compare.csv", "paired.csv"


@dataclass(frozen=True)
class Comparison:
    """Several runs on the same test cases.

    Attributes:
        names: Names of the runs; the first is the reference of all differences.
        classes: Names of the classes.
        cases: Number of test cases.
        patients: Number of their patients.
        table: An `EstimateRow` for each run and figure.
        paired: A `PairedRow` for each run but the reference, and each figure.
        notes: Limits of the comparison, as sentences.
        controls: The runs that differ in their control of gaze alone, and those that used gaze without one.
        positive: The positive one of two exclusive classes, see `positive_class`; None for other classes.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    cases: int
    patients: int
    table: pl.DataFrame
    paired: pl.DataFrame
    notes: tuple[str, ...]
    controls: Controls = Controls()  # noqa: RUF009 - frozen
    positive: str | None = None

    @property
    def reference(self) -> str:
        """Name of the run that differences are taken against."""
        return self.names[0]

    @property
    def main(self) -> str:
        """Group whose AUC stands first: the macro mean, or the positive one of two classes."""
        return MACRO if self.positive is None else self.positive

    @property
    def main_title(self) -> str:
        """Title of that AUC."""
        return "macro AUC" if self.positive is None else f"AUC of {self.positive}"

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups whose figures are shown; the tables have those of both classes and their mean."""
        return (MACRO, *self.classes) if self.positive is None else (self.positive,)

    def estimates(self, **where: str) -> list[EstimateRow]:
        """Return the rows of `table` in which columns have the given values."""
        return [EstimateRow(**row) for row in self.table.filter(**where).iter_rows(named=True)]

    def differences(self, **where: str) -> list[PairedRow]:
        """Return the rows of `paired` in which columns have the given values."""
        return [PairedRow(**row) for row in self.paired.filter(**where).iter_rows(named=True)]

    def to_frame(self) -> pl.DataFrame:
        """Return the paired differences, `paired`."""
        return self.paired

    def __repr__(self) -> str:
        """Show the tables at the prompt."""
        return f"Comparison of {', '.join(self.names)}\n{self.table}\n{self.paired}"

    def _repr_html_(self) -> str:
        """Show the figures and the paired differences in a notebook."""
        return self.table._repr_html_() + self.paired._repr_html_()

    def write(self, out: Path) -> tuple[Path, Path]:
        """Write compare.csv and paired.csv into a folder; return their paths."""
        out.mkdir(parents=True, exist_ok=True)
        write_csv(self.table, out / TABLE)
        write_csv(self.paired, out / PAIRED)
        return out / TABLE, out / PAIRED


def compare(runs: Sequence[Run], options: CompareOptions | None = None) -> Comparison:
    """Compare runs with the first of them, on the same test cases.

    Intervals come from the patient bootstrap, but those of a run's AUC from `auc_interval`, and those of
    means over fewer than `case_means.FEW` patients from Student's t; all runs and differences use the same
    resamples. Holm's correction is over the runs, separately for each figure. It does not correct for the
    number of figures: choose the primary figure beforehand.

    Args:
        runs: At least two runs; agreement is compared where all were evaluated with the same settings.
        options: The options.

    Raises:
        UserError: There are fewer than two runs, or their classes, test cases or labels differ.
    """
    options = options or CompareOptions()
    if len(runs) < 2:
        raise UserError("compare needs at least two runs")
    names, classes = _names(runs), tuple(runs[0].classes)
    tables = _aligned(runs, names)
    test = tables[0]
    draw = partial(policy.bootstrap, resamples=options.resamples, seed=options.seed)
    rows = paired.compare_predictions(
        names, tables, classes, draw(test, classes), draw(test), exclusive=runs[0].exclusive
    )
    agreement, reason = comparable_agreement(runs, names, test)
    if agreement:
        with_gaze = test.join(agreement[0], on="case_id", how="semi", maintain_order="left")
        rows += paired.compare_agreement(names, agreement, with_gaze, draw(with_gaze))
    elsewhere = _of_other_images(runs, names)
    if relied := comparable_reliance(runs, test) if not elsewhere else []:

        def of_cases(rows: pl.DataFrame) -> Resampling:
            cases = rows.select("case_id").join(test, on="case_id", maintain_order="left")
            return draw(cases)

        rows += paired.compare_reliance(names, relied, of_cases)
    return Comparison(
        names=names,
        classes=classes,
        cases=test.height,
        patients=test["patient"].n_unique(),
        table=pl.DataFrame(rows.estimates, schema=comparison_rows.TABLE),
        paired=pl.DataFrame(rows.differences, schema=comparison_rows.PAIRED),
        notes=(*_selected_on_test(runs, names), *filter(None, (reason, elsewhere)), *_limits(test, classes)),
        controls=Controls() if elsewhere else controls_among(runs, names),
        positive=_positive(tables, classes),
    )


def _of_other_images(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Say which runs are of a store with other images than the first that records its own; "" for none."""
    recorded = [(name, origin.read(run.path)) for name, run in zip(names, runs, strict=True)]
    images = {name: each.contents["images"] for name, each in recorded if each is not None}
    others = [name for name, hashed in images.items() if hashed != next(iter(images.values()))]
    if not others:
        return ""
    return (
        f"The store of {', '.join(others)} has other images than that of {next(iter(images))}: the reliance "
        "on confounders and controls of the gaze are not compared."
    )


def _positive(tables: Sequence[pl.DataFrame], classes: Sequence[str]) -> str | None:
    """The positive one of two exclusive classes, where the probabilities of every run add up to 1."""
    positives = {positive_class(table, classes) for table in tables}
    return positives.pop() if len(positives) == 1 else None


def _selected_on_test(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    on_test = [name for name, run in zip(names, runs, strict=True) if run.config.selection == "test"]
    return [f"{', '.join(on_test)}: {SELECTED_ON_TEST}"] if on_test else []


def _limits(test: pl.DataFrame, classes: Sequence[str]) -> list[str]:
    """Notes on what the test cases mean for p-values and intervals."""
    notes = []
    if test["patient"].n_unique() < test.height:
        notes.append("Some patients have more than one case; intervals and p-values are over patients.")
    rare = [name for name in classes if _patients_of_rarer_label(test, name) < FEW_OF_A_CLASS]
    if rare:
        notes.append(
            f"{', '.join(rare)}: fewer than {FEW_OF_A_CLASS} patients have the class, or have it not. There "
            "the interval of a difference of AUCs covers .82 to .95 in simulations in place of .95, and the "
            "bootstrap's p is too small."
        )
    return notes


def _patients_of_rarer_label(cases: pl.DataFrame, name: str) -> int:
    """Number of patients with cases of the class, or with cases without it, whichever is smaller."""
    sides = (cases.filter(pl.col(f"label_{name}") == label) for label in (0, 1))
    return min(side["patient"].n_unique() for side in sides)


def _names(runs: Sequence[Run]) -> tuple[str, ...]:
    """Names of the folders; where these repeat, with the folders that they are in, or else with numbers."""
    folders = [run.path.resolve() for run in runs]
    names = [run.name for run in runs]
    for each in (names, [f"{folder.parent.name}/{folder.name}" for folder in folders]):
        if len(set(each)) == len(each):
            return tuple(each)
    return tuple(f"{place}: {name}" for place, name in enumerate(names, 1))


def _aligned(runs: Sequence[Run], names: Sequence[str]) -> list[pl.DataFrame]:
    """The test predictions of each run, in the order of the first one's cases."""
    tables: list[pl.DataFrame] = []
    for run, name in zip(runs, names, strict=True):
        if tuple(run.classes) != tuple(runs[0].classes):
            raise UserError(
                f"{names[0]} and {name} have different classes: {', '.join(runs[0].classes)} against "
                f"{', '.join(run.classes)}; only runs of the same classes can be compared"
            )
        table = run.predictions().filter(pl.col("split") == "test")
        first = tables[0] if tables else table
        unshared = set(first["case_id"]).symmetric_difference(table["case_id"])
        if unshared:
            raise UserError(
                f"{names[0]} and {name} have different test cases ({len(unshared)} are in one of them "
                f"only, such as {min(unshared)}); only runs on the same store and split can be compared"
            )
        table = first.select("case_id").join(table, on="case_id", maintain_order="left")
        labels = [f"label_{c}" for c in run.classes]
        if not table.select(labels).equals(first.select(labels)):
            raise UserError(
                f"{names[0]} and {name} disagree on labels of test cases; compare runs on the same store"
            )
        tables.append(table)
    if not tables[0].height:
        raise UserError(f"{names[0]} has no test cases: nothing to compare")
    return tables
