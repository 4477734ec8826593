"""`compare`: several runs on the same test cases, side by side and in paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.evaluation import paired
from radgaze.evaluation.markdown import comparison_markdown
from radgaze.evaluation.statistics import policy
from radgaze.evaluation.statistics.resampling import RESAMPLES
from radgaze.files import write_text
from radgaze.runs.config import SELECTED_ON_TEST
from radgaze.runs.run import Run
from radgaze.tables import write_csv

FEW_OF_A_CLASS = 30
"""Under this many patients with a class, or without, the interval of a difference of AUCs is too narrow."""


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        names: The runs; the first is the reference that differences are taken against.
        classes: Their classes.
        cases, patients: How many test cases, of how many patients.
        table: run, metric, map, group, value, low, high. `group` is a class or "macro" for the metrics of
            predictions, `map` the map for those of agreement; the other is null.
        paired: run, reference, metric, map, group, difference (run − reference), low, high (95%, patient
            bootstrap; of agreement on few patients Student's t), p_bootstrap (which belongs to these),
            p_delong (AUC only) and both after Holm's correction, higher_is_better, and what `power` says:
            detectable, detectable_at, detectable_note, needed; patients, and of how many of them some case
            differs (discordant); whether the bootstrap's p, and that after Holm's correction, is at the floor
            of the resampling and only a bound.
        notes: What a reader must know.
    """

    names: tuple[str, ...]
    classes: tuple[str, ...]
    cases: int
    patients: int
    table: pl.DataFrame
    paired: pl.DataFrame
    notes: tuple[str, ...]

    @property
    def reference(self) -> str:
        """The run that differences are taken against."""
        return self.names[0]

    def markdown(self) -> str:
        """The tables as Markdown."""
        return comparison_markdown(
            self.table, self.paired, self.classes, self.cases, self.patients, self.notes
        )

    def write(self, out: Path) -> tuple[Path, ...]:
        """Write compare.md, compare.csv and paired.csv; return their paths."""
        out.mkdir(parents=True, exist_ok=True)
        write_text(self.markdown(), out / "compare.md")
        write_csv(self.table, out / "compare.csv")
        write_csv(self.paired, out / "paired.csv")
        return tuple(out / name for name in ("compare.md", "compare.csv", "paired.csv"))


def compare(
    runs: Sequence[Run], out: Path | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Compare runs with the first of them, on the same test cases.

    Intervals are of the patient bootstrap, of a run's AUC `auc_interval`'s, and of means over fewer patients
    than `means.FEW` Student's t; every run and difference uses the same resamples. Holm's
    correction goes over the runs that are compared with the reference on one figure. It does not correct for
    the number of figures: decide beforehand which one counts; macro AUC stands first.

    Args:
        runs: At least two; agreement is compared where all were evaluated, and alike.
        out: Folder for compare.md, compare.csv and paired.csv; nothing is written if None.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        UserError: Fewer than two runs, or runs of other classes, test cases or labels than the first's.
    """
    if len(runs) < 2:
        raise UserError("compare needs at least two runs")
    if resamples < 1:
        raise UserError(f"--resamples is {resamples}; it must be at least 1")
    names, classes = _names(runs), runs[0].classes
    tables = _aligned(runs, names)
    cases, patients = tables[0].height, tables[0]["patient"].n_unique()
    draws = policy.bootstrap(tables[0], classes, resamples=resamples, seed=seed)
    rows, differences = paired.of_predictions(names, tables, classes, draws)
    agreements, notes = paired.comparable_agreement(runs, names, tables[0])
    if agreements:
        with_gaze = tables[0].join(agreements[0], on="case_id", how="semi", maintain_order="left")
        draws = policy.bootstrap(with_gaze, classes, resamples=resamples, seed=seed)
        more, more_differences = paired.of_agreement(names, agreements, with_gaze, draws)
        rows, differences = rows + more, differences + more_differences
    if patients < cases:
        notes.append(
            "Some patients have more than one case. DeLong's p-values take cases as independent and are then "
            "somewhat too small; the bootstrap draws patients."
        )
    rare = [name for name in classes if _fewer_side(tables[0], name) < FEW_OF_A_CLASS]
    if rare:
        notes.append(
            f"{', '.join(rare)}: fewer than {FEW_OF_A_CLASS} patients have the class, or have it not. There "
            "the interval of a difference of AUCs covers .82 to .95 in simulations in place of .95, and the "
            "bootstrap's p is too small."
        )
    on_test = [name for name, run in zip(names, runs, strict=True) if run.config.selection == "test"]
    if on_test:
        notes.insert(0, f"{', '.join(on_test)}: {SELECTED_ON_TEST}")
    comparison = Comparison(
        names,
        tuple(classes),
        cases,
        patients,
        pl.DataFrame(rows, schema=paired.TABLE),
        pl.DataFrame(differences, schema=paired.PAIRED),
        tuple(notes),
    )
    if out is not None:
        comparison.write(out)
    return comparison


def _fewer_side(cases: pl.DataFrame, name: str) -> int:
    """How many patients have cases of the class, or cases without it: the fewer of the two."""
    sides = (cases.filter(pl.col(f"label_{name}") == label) for label in (0, 1))
    return min(side["patient"].n_unique() for side in sides)


def _names(runs: Sequence[Run]) -> tuple[str, ...]:
    """Experiment names; folder names where those repeat; numbered where these repeat, too."""
    for names in ([run.experiment for run in runs], [run.path.resolve().name for run in runs]):
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(f"{place}: {run.experiment}" for place, run in enumerate(runs, 1))


def _aligned(runs: Sequence[Run], names: Sequence[str]) -> list[pl.DataFrame]:
    """The test predictions of every run, in the order of the first's cases."""
    tables: list[pl.DataFrame] = []
    for run, name in zip(runs, names, strict=True):
        if tuple(run.classes) != tuple(runs[0].classes):
            raise UserError(
                f"{names[0]} and {name} have different classes: {', '.join(runs[0].classes)} against "
                f"{', '.join(run.classes)}; only runs of the same classes can be compared"
            )
        table = run.predictions().filter(pl.col("split") == "test")
        first = tables[0] if tables else table
        unlike = set(first["case_id"]).symmetric_difference(table["case_id"])
        if unlike:
            raise UserError(
                f"{names[0]} and {name} have different test cases ({len(unlike)} are in one of them "
                f"only, such as {min(unlike)}); only runs on the same store and split can be compared"
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
