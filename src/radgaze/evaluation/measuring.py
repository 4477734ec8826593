"""`evaluate`: everything that is measured of one run, into its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Literal

import polars as pl

from radgaze import __version__
from radgaze.devices import usable_device
from radgaze.errors import UserError
from radgaze.evaluation import summary
from radgaze.evaluation.maps import GENERATOR, Target
from radgaze.evaluation.metrics import multilabel
from radgaze.evaluation.metrics.localisation import METRICS as LOCALISATION
from radgaze.evaluation.scoring import agreement_table, localisation_table, smoothing
from radgaze.evaluation.statistics import policy
from radgaze.evaluation.statistics.resampling import RESAMPLES, Resampling, SeedResamples
from radgaze.files import write_text
from radgaze.runs.run import Run
from radgaze.tables import write_parquet

Interval = Literal["delong", "bootstrap", "seed"]


def evaluate(  # many arguments: options of `radgaze evaluate`, given by name
    run: Run,
    *,
    device: str = "auto",
    resamples: int = RESAMPLES,
    interval: Interval | None = None,
    generator: str = GENERATOR,
    target: Target = "predicted",
    tolerance: float = 0.0,
    seed: int = 0,
    batch_size: int = 16,
) -> dict[str, Any]:
    """Measure a run on its test cases; write metrics.json, agreement.parquet and curves.parquet into it.

    Args:
        run: The run.
        device: Where the model runs: "cpu", "cuda", or "auto" for what there is.
        resamples: Of the patient bootstrap.
        interval: What low and high are: "delong" of AUCs, see `auc_interval`, and of all else the percentiles
            of a bootstrap over patients; "bootstrap" for percentiles of AUCs, too; or the "seed" paper's
            resamples. None means the last for a run of the faithful protocol, else the first. The AUC's
            entries under `auc_seed` are of the last kind either way.
        generator: The heatmap's. It is the same for every run unless asked otherwise, also for runs that were
            trained with another one or none, since heatmaps of two generators cannot be compared.
        target: The class whose heatmap is compared with gaze. At test time only the "predicted" class is
            there to be shown; "true" asks where the evidence for the right answer lies. With boxes it is the
            true class's heatmap either way. Of several true classes it is the most probable one, of none the
            predicted.
        tolerance: How far off a box the pointing game forgives, in pixels of the map.
        seed: Of the resamples.
        batch_size: Cases at a time.

    Returns:
        What was written to metrics.json: under "test" and "validate" `auc`, `auc_seed`, `average_precision`,
        `brier`, `calibration_error` with an entry `{"value", "low", "high"}` for "macro" and each class,
        `sensitivity_at_specificity` the same for each specificity, `accuracy`, `cases`, `patients`. Of
        classes that do not exclude each other, `exact_match` (all of a case's classes right, at 0.5) stands
        in for accuracy, and `not_averaged` names those that the macro mean leaves out, see
        `multilabel.averaged`. Under "test" also `agreement` with gaze and `localisation` of boxes, an entry
        for each map and metric. An undefined figure is None. Cases with boxes leave localisation.parquet.

    Raises:
        UserError: The run has no predictions, or an argument makes no sense.
    """
    _check_settings(resamples, tolerance)
    if interval is None:
        interval = "seed" if run.config.protocol == "faithful" else "delong"
    device = usable_device(device)
    table = _predictions(run)
    metrics = _about(run, table)
    metrics["settings"] = {
        "interval": interval,
        "resamples": resamples,
        "seed": seed,
        "generator": generator,
        "target": target,
        "tolerance": tolerance,
        "heatmap_smoothing": smoothing(),
        **_maps_of(run),
    }

    def resampling(cases: pl.DataFrame) -> Resampling:
        return policy.resampling_of(cases, run.classes, metrics["settings"])

    for split in ("test", "validate"):
        metrics[split] = _discrimination(run, table.filter(pl.col("split") == split), metrics, resampling)
    test = table.filter(pl.col("split") == "test")
    found = agreement_table(run, generator=generator, target=target, device=device, batch_size=batch_size)
    with_gaze, ordered = _of_cases(found.table, test)
    metrics["test"]["agreement"] = summary.agreement_summary(ordered, resampling(with_gaze))
    metrics["test"]["agreement_cases"] = {
        "compared": with_gaze.height,
        "without_gaze": found.without_gaze,
        "mean_gaze_of_training_cases": found.training_cases,
        **found.counts,
        "constant_maps": found.constant,
    }
    write_parquet(found.table, run.path / "agreement.parquet")
    of_boxes = localisation_table(
        run,
        found.boxed,
        found.floors,
        generator=generator,
        tolerance=tolerance,
        device=device,
        batch_size=batch_size,
    )
    metrics["test"] |= _localisation(run, test, of_boxes, resampling)
    write_parquet(summary.curves(test, run.classes), run.path / "curves.parquet")
    text = json.dumps(metrics, indent=2, allow_nan=False, ensure_ascii=False)
    write_text(text + "\n", run.path / "metrics.json")
    return metrics


def _check_settings(resamples: int, tolerance: float) -> None:
    if resamples < 1:
        raise UserError(f"--resamples is {resamples}; it must be at least 1")
    if not tolerance >= 0:
        raise UserError(f"--tolerance is {tolerance}; it must be at least 0")


def _predictions(run: Run) -> pl.DataFrame:
    """The run's predictions, with probabilities of all its classes."""
    table = run.predictions()
    missing = [c for c in run.classes if f"probability_{c}" not in table.columns]
    if missing:
        raise UserError(f"{run.path / 'predictions.parquet'} has no probabilities of {', '.join(missing)}")
    return table


def _about(run: Run, table: pl.DataFrame) -> dict[str, Any]:
    """The entries of metrics.json that say what is measured."""
    return {
        "experiment": run.experiment,
        "protocol": run.config.protocol,
        "selection": run.config.selection,
        "classes": list(run.classes),
        "exclusive": multilabel.exclusive(table, run.classes),
        "software": __version__,
    }


def _maps_of(run: Run) -> dict[str, object]:
    """The settings of a run that its maps depend on."""
    return {
        "gaze": asdict(run.config.gaze),
        "size": run.config.input.size,
        "fit": run.config.input.fit,
    }


def _discrimination(
    run: Run,
    cases: pl.DataFrame,
    metrics: Mapping[str, Any],
    resampling: Callable[[pl.DataFrame], Resampling],
) -> dict[str, Any]:
    """The entries about the predictions of some cases."""
    return summary.discrimination_summary(
        cases,
        run.classes,
        resampling(cases),
        SeedResamples(cases.height, seed=metrics["settings"]["seed"]),
        exclusive=metrics["exclusive"],
        interval=metrics["settings"]["interval"],
    )


def _of_cases(rows: pl.DataFrame, cases: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The cases that have rows, and the rows in the order of the cases."""
    having = cases.join(rows.select("case_id").unique(), on="case_id", how="semi", maintain_order="left")
    return having, having.select("case_id").join(rows, on="case_id", maintain_order="left")


def _localisation(
    run: Run, test: pl.DataFrame, rows: pl.DataFrame, resampling: Callable[[pl.DataFrame], Resampling]
) -> dict[str, object]:
    """The entries about boxes; their rows are written where there are any."""
    boxed, ordered = _of_cases(rows, test)
    (run.path / "localisation.parquet").unlink(missing_ok=True)
    if boxed.height:
        write_parquet(rows, run.path / "localisation.parquet")
    return {
        "localisation": summary.agreement_summary(ordered, resampling(boxed), tuple(LOCALISATION)),
        "localisation_cases": {"compared": boxed.height, "without_boxes": test.height - boxed.height},
    }
