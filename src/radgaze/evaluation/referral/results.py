"""Results of selective prediction, the content of rejection.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from radgaze import records
from radgaze.errors import call
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.metrics.confidence import Kind
from radgaze.evaluation.referral.options import Goal
from radgaze.evaluation.referral.selective import ReferralValidation
from radgaze.records import Record, optional

RESULTS, TABLE, DECISIONS = "rejection.json", "rejection.csv", "decisions.parquet"


@dataclass(frozen=True)
class ScoreResults:
    """A score with its rule, measured on the test cases.

    Attributes:
        title: Name in tables.
        threshold: Highest score that is accepted.
        temperature: Temperature that logits are divided by first.
        magnitude: Magnitude of the perturbation of the image, in units of its range; 0 for none.
        validation: Results of the rule on the validation cases.
        error_detection: AUROC of detecting errors.
        false_rejection: False-rejection rate where 95% of the errors are rejected.
        area_under_risk: Area under the risk–coverage curve (AURC).
        excess_area: AURC minus that of a perfect score.
        coverage: Share of cases that the rule accepts.
        frr: Share of correct predictions that the rule refers.
        accuracy_kept: Accuracy on accepted cases.
        auc_kept: Macro AUC on accepted cases.
    """

    title: str
    threshold: float
    temperature: float
    magnitude: float
    validation: ReferralValidation
    error_detection: IntervalEstimate
    false_rejection: IntervalEstimate
    area_under_risk: IntervalEstimate
    excess_area: IntervalEstimate
    coverage: IntervalEstimate
    frr: IntervalEstimate
    accuracy_kept: IntervalEstimate
    auc_kept: IntervalEstimate

    def figures(self) -> dict[str, IntervalEstimate]:
        """Return the figures by name, see `FIGURES`."""
        return {name: getattr(self, name) for name in FIGURES}


FIGURES = (
    "error_detection",
    "false_rejection",
    "area_under_risk",
    "excess_area",
    "coverage",
    "frr",
    "accuracy_kept",
    "auc_kept",
)
"""The figures of `ScoreResults`, in the order in which they are shown."""


@dataclass(frozen=True)
class OverallResults:
    """The test cases with every prediction accepted.

    Attributes:
        accuracy: Accuracy; for classes that are not exclusive, the share of cases with every class correct.
        auc: Macro AUC.
    """

    accuracy: IntervalEstimate
    auc: IntervalEstimate


@dataclass(frozen=True)
class Likelihood:
    """Mean negative log likelihood of the test cases.

    Attributes:
        before: Value for the predicted probabilities.
        after: Value after temperature scaling.
    """

    before: float
    after: float


@dataclass(frozen=True)
class ImageKindResults:
    """Results on images of one kind, test cases or out of distribution.

    Attributes:
        referred: Share of the images that the rule refers.
        auroc: AUROC of the score for these images against test cases; None for the test cases.
    """

    referred: IntervalEstimate
    auroc: IntervalEstimate | None = optional()


@dataclass(frozen=True)
class ReferralSettings:
    """Settings of the figures.

    Attributes:
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap and of the images out of distribution.
        rejected: True-rejection rate at which the false-rejection rate is measured.
    """

    resamples: int
    seed: int
    rejected: float


@dataclass(frozen=True)
class ReferralResults(Record):
    """The content of rejection.json.

    Attributes:
        run: Name of the run's folder.
        experiment: Name of the experiment.
        selection: Split that selected the epoch, "validate" or "test".
        classes: Names of the classes.
        kind: Function that turns logits into probabilities, "softmax" or "sigmoid".
        goal: Goal of the thresholds.
        score: Name of the candidate whose rule is stored with the run.
        cases: Number of test cases.
        patients: Number of their patients.
        errors: Number of test cases that are predicted wrong.
        discordant: Number of patients with a wrong prediction, or with a right one, whichever is smaller;
            None in files from before this was counted.
        best_area: AURC of a perfect score.
        temperature: Temperature that minimises the validation loss.
        likelihood: Effect of temperature scaling.
        all: Results with every prediction accepted.
        scores: Results by name of the candidate.
        out_of_distribution: Results by kind of image, "test" for the test cases first.
        settings: Settings of the figures.
    """

    run: str
    experiment: str
    selection: str
    classes: tuple[str, ...]
    kind: Kind
    goal: Goal
    score: str
    cases: int
    patients: int
    errors: int
    best_area: float
    temperature: float
    likelihood: Likelihood
    all: OverallResults
    scores: dict[str, ScoreResults]
    out_of_distribution: dict[str, ImageKindResults]
    settings: ReferralSettings
    discordant: int | None = optional()

    @property
    def chosen(self) -> ScoreResults:
        """Results of the candidate whose rule is stored with the run."""
        return self.scores[self.score]


def read_results(folder: Path) -> ReferralResults | None:
    """Read RUN/rejection.json; None where there is none.

    Raises:
        UserError: The file is damaged.
    """
    path = folder / RESULTS
    advice = f"make it again: {call('evaluate', folder, reject=True)}"
    return records.read(ReferralResults, path, advice) if path.is_file() else None
