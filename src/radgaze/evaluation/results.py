"""Files that an evaluation writes into the folder of a run: metrics.json, as typed results, and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import polars as pl

from radgaze.errors import UserError, call
from radgaze.evaluation import shown_results
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.metrics.reliance import METRICS as METRICS_OF_RELIANCE
from radgaze.evaluation.options import GENERATOR, RESAMPLES, Interval, Target
from radgaze.evaluation.pretraining import SeenCases
from radgaze.evaluation.shown_results import MACRO as MACRO
from radgaze.evaluation.shown_results import Row
from radgaze.files import read_json, read_parquet, write_text
from radgaze.records import Record, as_json, optional, plain_fields, validated
from radgaze.words import count

METRICS = "metrics.json"
AGREEMENT, LOCALISATION, CURVES = "agreement.parquet", "localisation.parquet", "curves.parquet"
CLASS_AGREEMENT = "class_agreement.parquet"
RELIANCE = "reliance.parquet"

Groups = dict[str, IntervalEstimate]
"""A metric of predictions, by class and for the `MACRO` mean."""
Maps = dict[str, dict[str, IntervalEstimate] | None]
"""The metrics of each map, by map and metric; None for a map that no case has. Files of earlier versions may
lack a map or a metric."""


@dataclass(frozen=True)
class EvaluationSettings:
    """The settings that figures depend on.

    Attributes:
        interval: Kind of the intervals, see `EvaluationOptions`; None in files of earlier versions.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        generator: Name of the generator of the heatmaps.
        target: Class whose heatmap is compared with gaze.
        tolerance: Tolerance of the pointing game, in pixels of the map.
        heatmap_smoothing: Maps that are blurred before they are scored, in words.
        gaze: The run's settings of gaze maps, see `GazeConfig`.
        class_gaze: Comparison with the gaze of each class, in words; empty where there is none.
        size: Side of the model's input, in pixels.
        fit: Placement of images in the model's input, "stretch" or "pad".
    """

    interval: Interval | None = None
    resamples: int = RESAMPLES
    seed: int = 0
    generator: str = GENERATOR
    target: Target = "predicted"
    tolerance: float = 0.0
    heatmap_smoothing: str = ""
    gaze: dict[str, str | int | float | None] = field(default_factory=dict)
    class_gaze: str = ""
    size: int | None = None
    fit: str | None = None

    @property
    def case_gaze(self) -> dict[str, str | int | float | None]:
        """The settings of the gaze maps with which whole cases were compared.

        `gaze.per` has no influence on them, and `gaze.control` only on training: all runs are tested with the
        true gaze.
        """
        return {name: value for name, value in self.gaze.items() if name not in ("per", "control")}


@dataclass(frozen=True)
class SplitResults:
    """Discrimination and calibration on one split.

    Attributes:
        auc: Area under the ROC curve of each class against the rest.
        average_precision: Average precision.
        sensitivity_at_specificity: Sensitivity, by the specificity ("0.9") at which it is measured.
        brier: Brier score; for exclusive classes also over all of them, under "multiclass".
        calibration_error: Expected calibration error.
        calibration_error_if_calibrated: Mean, and the 2.5% and 97.5% quantiles, of the calibration error that
            calibrated probabilities have by chance, see `calibration.errors_if_calibrated`.
        auc_paper: AUC with intervals by the paper's resamples, see `PaperResamples`.
        accuracy: Share of cases whose most probable class is the true one; None for classes that are not
            exclusive.
        exact_match: Share of cases with every class predicted correctly at a probability of 0.5; None for
            exclusive classes.
        not_averaged: Classes that the macro mean leaves out, see `multilabel.averaged`; None for exclusive
            classes.
        cases: Number of cases.
        patients: Number of patients.
    """

    auc: Groups = field(default_factory=dict)
    average_precision: Groups = field(default_factory=dict)
    sensitivity_at_specificity: dict[str, Groups] = field(default_factory=dict)
    brier: Groups = field(default_factory=dict)
    calibration_error: Groups = field(default_factory=dict)
    calibration_error_if_calibrated: Groups = field(default_factory=dict)
    auc_paper: Groups = field(default_factory=dict)
    accuracy: IntervalEstimate | None = optional()
    exact_match: IntervalEstimate | None = optional()
    not_averaged: tuple[str, ...] | None = optional()
    cases: int = 0
    patients: int = 0

    def with_maps(
        self,
        *,
        agreement: Maps | None = None,
        agreement_cases: AgreementCases | None = None,
        localisation: Maps | None = None,
        localisation_cases: LocalisationCases | None = None,
        class_agreement: ClassAgreement | None = None,
        reliance: dict[str, Reliance] | None = None,
    ) -> SplitWithMaps:
        """Return these results with those of maps; see `SplitWithMaps` for the arguments."""
        return SplitWithMaps(
            **{each.name: getattr(self, each.name) for each in fields(SplitResults)},
            agreement=agreement or {},
            agreement_cases=agreement_cases or AgreementCases(),
            localisation=localisation or {},
            localisation_cases=localisation_cases or LocalisationCases(),
            class_agreement=class_agreement,
            reliance=reliance,
        )


@dataclass(frozen=True)
class AgreementCases:
    """The cases on which agreement with gaze is measured.

    Attributes:
        compared: Number of cases compared.
        without_gaze: Number of cases that are left out because they have no gaze.
        baseline_counts: Numbers of cases that the baseline maps count (`BaselineMap.counts`), by their names
            in the file; among them `mean_gaze_of_training_cases`, the number of training cases over which the
            mean gaze is averaged. The file holds them beside the other fields.
        constant_maps: Number of cases whose map is constant and scores as chance, by map.
    """

    compared: int = 0
    without_gaze: int = 0
    baseline_counts: dict[str, int] = field(default_factory=dict)
    constant_maps: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ClassAgreement:
    """Agreement of the maps of a class with the gaze of this class, where a report mentions it.

    Attributes:
        cases: Number of cases with gaze of some class.
        all: Mean over these cases; a case with several classes counts once, by the mean over its classes.
        by_class: Mean over the cases with gaze of a class, by class.
        cases_of_class: Number of these cases, by class; 0 of a class that is not in `by_class`.
    """

    cases: int = 0
    all: Maps = field(default_factory=dict)
    by_class: dict[str, Maps] = field(default_factory=dict)
    cases_of_class: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LocalisationCases:
    """The cases on which localisation is measured.

    Attributes:
        compared: Number of cases compared.
        without_boxes: Number of cases that are left out because they have no box or region.
    """

    compared: int = 0
    without_boxes: int = 0


@dataclass(frozen=True)
class Reliance:
    """Reliance on a confounder, measured on the twins of test cases.

    Attributes:
        metrics: The metrics, see `metrics.reliance.METRICS`.
        cases: Number of test cases with twins.
        pairs: Number of pairs of images that differ in the confounder alone.
    """

    metrics: dict[str, IntervalEstimate]
    cases: int
    pairs: int


@dataclass(frozen=True)
class SplitWithMaps(SplitResults):
    """Results on a split whose maps are compared with gaze and boxes as well.

    Attributes:
        agreement: Agreement with gaze.
        agreement_cases: The cases with gaze.
        localisation: Localisation of boxes and regions.
        localisation_cases: The cases with boxes or regions.
        class_agreement: Agreement with the gaze of each class; None where it was not measured.
        reliance: Reliance on each confounder, by its name; None for a store without twins.
    """

    agreement: Maps = field(default_factory=dict)
    agreement_cases: AgreementCases = field(default_factory=AgreementCases)
    localisation: Maps = field(default_factory=dict)
    localisation_cases: LocalisationCases = field(default_factory=LocalisationCases)
    class_agreement: ClassAgreement | None = optional()
    reliance: dict[str, Reliance] | None = optional()


@dataclass(frozen=True)
class VoteResults:
    """Results of a vote on the test cases, see `runs.vote`.

    Attributes:
        auc: AUC of each run, under its name, of their "mean" and of their "majority".
        unanimous: Number of cases on which all runs vote alike for every class.
        tied: Number of cases with a class that exactly half of the runs vote for.
    """

    auc: dict[str, Groups]
    unanimous: int
    tied: int


@dataclass(frozen=True)
class EvaluationResults(Record):
    """The content of metrics.json. A field that a file of an earlier version lacks has its default.

    Attributes:
        experiment: Name of the experiment.
        protocol: Protocol of the run, "honest" or "faithful".
        selection: Split that selected the epoch, "validate" or "test".
        classes: Names of the classes.
        exclusive: Whether every case has exactly one class.
        software: Version of radgaze.
        settings: The settings of the evaluation.
        test: Results on the test cases.
        validate: Results on the validation cases.
        votes: Results of the runs that vote; for a vote only.
        pretraining: Test cases that the encoder's pretraining saw; None where no list of them was given.
    """

    experiment: str = ""
    protocol: str = ""
    selection: str = ""
    classes: tuple[str, ...] = ()
    exclusive: bool = True
    software: str = ""
    settings: EvaluationSettings = field(default_factory=EvaluationSettings)
    test: SplitWithMaps = field(default_factory=SplitWithMaps)
    validate: SplitResults = field(default_factory=SplitResults)
    votes: VoteResults | None = optional()
    pretraining: SeenCases | None = optional()

    def to_frame(self) -> pl.DataFrame:
        """Return all figures as a table: the AUC first, then the model's own maps, baseline maps after them.

        Returns:
            Columns split; metric; of, a class, the `MACRO` mean, a map or a confounder, null where the metric
            is of all classes; value; low and high, the 95% interval, null where there is none. A pandas table
            of them is `pandas.DataFrame(table.to_dict(as_series=False))`.
        """
        rows = [*_rows("test", self.test), *_rows("validate", self.validate)]
        maps: list[Row] = []
        for kind, of_map in (*self.test.agreement.items(), *self.test.localisation.items()):
            maps += [("test", name, kind, each) for name, each in (of_map or {}).items()]
        for confounder, relied in (self.test.reliance or {}).items():
            maps += [("test", name, confounder, each) for name, each in relied.metrics.items()]
        return pl.DataFrame(
            [(*where, each.value, each.low, each.high) for *where, each in shown_results.ordered(rows, maps)],
            schema=_COLUMNS,
            orient="row",
        )

    def __repr__(self) -> str:
        """Show the beginning of the table at the prompt."""
        return shown_results.text(self._title(), self.to_frame())

    def _repr_html_(self) -> str:
        """Show the beginning of the table in a notebook."""
        return shown_results.html(self._title(), self.to_frame())

    def _title(self) -> str:
        cases, patients = count(self.test.cases, "test case"), count(self.test.patients, "patient")
        return f"Evaluation of {self.experiment} on {cases} of {patients}"


_COLUMNS = {
    **dict.fromkeys(("split", "metric", "of"), pl.String),
    **dict.fromkeys(("value", "low", "high"), pl.Float64),
}


def _rows(split: str, results: SplitResults) -> list[Row]:
    """The figures of predictions on a split."""
    metrics = {
        "auc": results.auc,
        "average_precision": results.average_precision,
        "brier": results.brier,
        "calibration_error": results.calibration_error,
        "calibration_error_if_calibrated": results.calibration_error_if_calibrated,
        **{f"sensitivity at {s} specificity": each for s, each in results.sensitivity_at_specificity.items()},
    }
    rows: list[Row] = [
        (split, metric, group, each) for metric, groups in metrics.items() for group, each in groups.items()
    ]
    alone = {"accuracy": results.accuracy, "exact_match": results.exact_match}
    return rows + [(split, metric, None, each) for metric, each in alone.items() if each is not None]


def write_results(results: EvaluationResults, run: Path) -> None:
    """Write RUN/metrics.json, atomically."""
    content, test = plain_fields(results), plain_fields(results.test)
    cases = plain_fields(results.test.agreement_cases)
    del cases["baseline_counts"]
    constant = cases.pop("constant_maps")
    test["agreement_cases"] = {
        **cases,
        **results.test.agreement_cases.baseline_counts,
        "constant_maps": constant,
    }
    write_text(as_json({**content, "test": test}), run / METRICS)


def read_results(run: Path) -> EvaluationResults:
    """Read RUN/metrics.json, also a file that an earlier version wrote.

    Raises:
        UserError: The file is missing or damaged.
    """
    content = _of_today(_read_metrics(run))
    test = content.get("test")
    if isinstance(test, dict) and isinstance(test.get("agreement_cases"), dict):
        cases = test["agreement_cases"]
        named = {"compared", "without_gaze", "constant_maps"}
        counts = {name: count for name, count in cases.items() if name not in named}
        content["test"] = {**test, "agreement_cases": {**cases, "baseline_counts": counts}}
    return validated(EvaluationResults, content, run / METRICS, _advice(run))


def _of_today(content: dict[str, object]) -> dict[str, object]:
    """Replace the earlier name of the paper's resamples, "seed", by today's."""
    settings = content.get("settings")
    if isinstance(settings, dict) and settings.get("interval") == "seed":
        content["settings"] = {**settings, "interval": "paper"}
    for split in ("test", "validate"):
        results = content.get(split)
        if isinstance(results, dict) and "auc_seed" in results:
            content[split] = {"auc_paper": results["auc_seed"], **results}
    return content


def _read_metrics(run: Path) -> dict[str, object]:
    if not (run / METRICS).is_file():
        raise UserError(f"{run} has no {METRICS}; run {call('evaluate', run)} first")
    return dict(read_json(run / METRICS, lambda content: isinstance(content, Mapping), _advice(run)))


def read_agreement(run: Path) -> pl.DataFrame:
    """Read RUN/agreement.parquet: case_id, patient, map and a column for each metric.

    Raises:
        UserError: The file is damaged.
    """
    return read_scores(run / AGREEMENT)


def read_reliance(run: Path) -> pl.DataFrame:
    """Read RUN/reliance.parquet: case_id, patient, confounder, pairs and a column for each metric.

    Raises:
        UserError: The file is damaged.
    """
    return read_parquet(
        run / RELIANCE, ("case_id", "patient", "confounder", *METRICS_OF_RELIANCE), _advice(run)
    )


def read_scores(path: Path) -> pl.DataFrame:
    """Read a table of a run with a row for each case and map.

    Raises:
        UserError: The file is damaged.
    """
    return read_parquet(path, ("case_id", "map"), _advice(path.parent))


def _advice(run: Path) -> str:
    return f"make it again: {call('evaluate', run)}"
