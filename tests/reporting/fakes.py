"""A run as the report sees it: seeded random predictions and maps, really evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import polars as pl
from scipy.ndimage import gaussian_filter

from radgaze.errors import UserError
from radgaze.evaluation import summary
from radgaze.evaluation.metrics.agreement import METRICS
from radgaze.evaluation.results import (
    AgreementCases,
    EvaluationResults,
    EvaluationSettings,
    write_results,
)
from radgaze.evaluation.statistics import policy
from radgaze.evaluation.statistics.resampling import PaperResamples
from radgaze.reporting.case_panels import Case
from radgaze.reporting.gallery import decisions
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.runs.origin import GONE
from radgaze.runs.run import Run
from radgaze.store.store import Store

CLASSES = ("Normal", "CHF", "pneumonia")
# Mean and deviation over cases of each metric, of a map that is as good as the lung shape.
_LEVELS = {
    "nss": (0.4, 0.5),
    "cc": (0.25, 0.15),
    "kl": (1.6, 0.4),
    "sim": (0.35, 0.08),
    "auc_judd": (0.62, 0.08),
    "shuffled_auc": (0.51, 0.07),
}


@dataclass(frozen=True)
class FakeStore:
    manifest: dict[str, Any]
    cases: pl.DataFrame
    size: int = 32

    def image(self, i: int) -> np.ndarray:
        return np.full((self.size, self.size), i, np.uint8)


@dataclass(frozen=True)
class FakeRun(Run):
    """The part of `runs.run.Run` that reporting uses. `skill` is how far the classes lie apart, `cases`
    which cases there are."""

    config: Config = field(init=False)
    experiment: str = "set3_guided"
    classes: tuple[str, ...] = CLASSES
    seed: int = 0
    cases: int = 0
    skill: float = 1.6
    test_cases: int = 108
    epochs: int = 20
    decoder: bool = True
    gaze: bool = True
    has_store: bool = True
    prefix: str = ""
    vote: None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", settings.resolve(self.experiment))
        self.path.mkdir(parents=True, exist_ok=True)
        self.config.data = "/archives of somebody/private archive/store"
        settings.write(self.config, self.path / "config.yaml")

    @cached_property
    def store(self) -> Store:
        if not self.has_store:
            raise UserError("the store is gone")
        manifest = {"source": "egd", "counts": {"cases": 1017, "rejections": {"no_gaze": 41, "no_label": 0}}}
        train = self.predictions().with_columns(split=pl.lit("train"), patient=pl.col("patient") + 10_000)
        held = FakeStore(manifest, pl.concat([train, self.predictions()]))
        return cast(Store, held)  # which has all that reporting reads

    def compared(self) -> str | None:
        return None if self.has_store else GONE

    def predictions(self) -> pl.DataFrame:
        n = self.test_cases
        random = np.random.default_rng(self.cases)
        truth = random.integers(len(self.classes), size=2 * n)
        ids = [f"{self.prefix}{random.integers(16**8):08x}-{i:08x}" for i in range(2 * n)]
        patients = np.arange(2 * n) // 2 * 2 + random.integers(2, size=2 * n)
        noise = np.random.default_rng(self.seed + 1).normal(size=(2 * n, len(self.classes)))
        scores = np.exp(noise + self.skill * np.eye(len(self.classes))[truth])
        probability = scores / scores.sum(1, keepdims=True)
        table = {
            "case_id": ids,
            "patient": pl.Series(patients, dtype=pl.Int32),
            "split": ["validate"] * n + ["test"] * n,
        }
        table |= {f"probability_{name}": probability[:, i] for i, name in enumerate(self.classes)}
        table |= {
            f"label_{name}": pl.Series((truth == i).astype(np.int8)) for i, name in enumerate(self.classes)
        }
        return pl.DataFrame(table)

    def test(self) -> pl.DataFrame:
        return self.predictions().filter(pl.col("split") == "test")

    def history(self) -> pl.DataFrame:
        if not self.epochs:
            return pl.DataFrame({"epoch": []})
        epoch = np.arange(self.epochs)
        return pl.DataFrame(
            {
                "epoch": epoch,
                "train/classification": 0.3 + 0.7 * np.exp(-epoch / 5),
                "train/heatmap_gaze": 0.35 + 0.3 * np.exp(-epoch / 3),
                "train/loss": 0.4 + 0.7 * np.exp(-epoch / 5),
                "train/mask_gaze": 0.3 + 0.35 * np.exp(-epoch / 4),
                "validate/auc": 0.9 - 0.35 * np.exp(-epoch / 4) - 0.001 * epoch,
                "validate/classification": 0.5 + 0.5 * np.exp(-epoch / 4) + 0.004 * epoch,
                "learning_rate": 0.001,
            }
        )


def evaluated(run: FakeRun, *, heatmap: float = 0.3, mask: float = 1.0) -> EvaluationResults:
    """Evaluate a fake run, write its files and return its results.

    Args:
        run: The run.
        heatmap: How many standard deviations its heatmap is better than the lung shape.
        mask: The same for its mask.
    """
    test, validate = run.test(), run.predictions().filter(pl.col("split") == "validate")
    settings = EvaluationSettings(interval="bootstrap", generator="guided_backprop", target="predicted")
    table = agreement_table(run, heatmap, mask)
    with_gaze = test if run.gaze else test.head(0)
    of_test, of_validate = (
        summary.discrimination_summary(
            cases,
            run.classes,
            policy.bootstrap(cases, run.classes, resamples=100, seed=0),
            policy.bootstrap(cases, resamples=100, seed=0),
            PaperResamples(cases.height),
        )
        for cases in (test, validate)
    )
    of_maps = summary.agreement_summary(table, policy.bootstrap(with_gaze, resamples=100, seed=0))
    of_cases = AgreementCases(
        compared=with_gaze.height,
        without_gaze=0 if run.gaze else test.height,
        baseline_counts={"mean_gaze_of_training_cases": 800},
        constant_maps={"heatmap": 2, "lung_shape": 0},
    )
    results = EvaluationResults(
        experiment=run.experiment,
        classes=run.classes,
        software="0.1.0",
        settings=settings,
        test=of_test.with_maps(agreement=of_maps, agreement_cases=of_cases),
        validate=of_validate,
    )
    table.write_parquet(run.path / "agreement.parquet")
    write_results(results, run.path)
    return results


def agreement_table(run: FakeRun, heatmap: float, mask: float) -> pl.DataFrame:
    better = {"heatmap": heatmap, "heatmap_raw": 0.1, "grad_cam": 0.4, "mean_gaze": 0.8, "lung_shape": 0.0}
    if run.decoder:
        better["mask"] = mask
    test = run.test().select("case_id", "patient")
    random = np.random.default_rng(run.seed)
    of_case = {metric: random.normal(size=test.height) for metric in _LEVELS}
    parts = []
    for kind in sorted(better):
        columns = {}
        for metric, (mean, deviation) in _LEVELS.items():
            shift = better[kind] if METRICS[metric].higher_is_better else -better[kind]
            own = 0.5 * random.normal(size=test.height)
            columns[metric] = mean + deviation * (shift + of_case[metric] + own)
        parts.append(test.with_columns(map=pl.lit(kind), **columns))
    table = pl.concat(parts).select("case_id", "patient", "map", *_LEVELS)
    return table if run.gaze else table.head(0)


def gone(*_: object) -> list[Case]:
    """Draw no case. Pictures take longer than all else: where they do not matter, the store is gone."""
    raise UserError("the store is gone")


def draw(run: Run, case_ids: Sequence[str], settings: EvaluationSettings) -> list[Case]:
    """Stands in for the run's model."""
    assert isinstance(run, FakeRun)
    table = {row["case_id"]: row for row in decisions(run.test(), run.classes).iter_rows(named=True)}
    return [
        case(
            case_id,
            table[case_id]["truth"],
            table[case_id]["predicted"],
            table[case_id]["probability"],
            gaze=run.gaze,
            mask=run.decoder,
            aspect=0.82 if place % 2 else 1.2,
            seed=run.seed,
        )
        for place, case_id in enumerate(case_ids)
    ]


def case(
    case_id: str = "case",
    truth: str = "CHF",
    predicted: str = "CHF",
    probability: float = 0.62,
    *,
    gaze: bool = True,
    mask: bool = True,
    aspect: float = 0.82,
    seed: int = 0,
    size: int = 224,
) -> Case:
    """A grey torso-like picture with blobs for maps."""
    random = np.random.default_rng([sum(map(ord, case_id)), seed])
    y, x = np.mgrid[0:size, 0:size] / size
    lungs = np.exp(-((((x - 0.3) / 0.13) ** 2 + ((y - 0.5) / 0.28) ** 2) ** 2))
    lungs += np.exp(-((((x - 0.7) / 0.13) ** 2 + ((y - 0.5) / 0.28) ** 2) ** 2))
    image = np.clip(0.75 - 0.5 * lungs + 0.02 * random.normal(size=(size, size)), 0, 1)

    def blob(sigma: float) -> np.ndarray:
        points = np.zeros((size, size))
        points[random.integers(size // 4, size * 3 // 4, 6), random.integers(size // 5, size * 4 // 5, 6)] = 1
        smooth = gaussian_filter(points, sigma * size / 224)
        return np.asarray(smooth / smooth.max())

    return Case(
        case_id=case_id,
        image=image,
        heatmap=blob(9),
        grad_cam=blob(22),
        gaze=blob(13) if gaze else None,
        mask=0.6 * blob(18) if mask else None,
        truth=truth,
        predicted=predicted,
        probability=probability,
        aspect=aspect,
    )
