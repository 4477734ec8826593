"""`evaluate`: everything that is measured of one run, into its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import polars as pl

from radgaze import __version__
from radgaze.devices import usable_device
from radgaze.errors import UserError
from radgaze.evaluation import summary
from radgaze.evaluation.metrics import multilabel
from radgaze.evaluation.metrics.localisation import METRICS as LOCALISATION
from radgaze.evaluation.options import GENERATOR, Interval, Target
from radgaze.evaluation.results import (
    AgreementCases,
    EvaluationResults,
    EvaluationSettings,
    LocalisationCases,
    Maps,
    SplitResults,
    write_results,
)
from radgaze.evaluation.scoring import agreement_table, localisation_table, smoothing
from radgaze.evaluation.statistics import policy
from radgaze.evaluation.statistics.resampling import RESAMPLES, Resampling, SeedResamples
from radgaze.records import plain
from radgaze.runs.run import Run
from radgaze.tables import write_parquet


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
) -> EvaluationResults:
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
        The content of metrics.json. Cases with boxes also leave localisation.parquet.

    Raises:
        UserError: The run has no predictions, or an argument makes no sense.
    """
    _check_settings(resamples, tolerance)
    if interval is None:
        interval = "seed" if run.config.protocol == "faithful" else "delong"
    device = usable_device(device)
    table = _predictions(run)
    settings = EvaluationSettings(
        interval=interval,
        resamples=resamples,
        seed=seed,
        generator=generator,
        target=target,
        tolerance=tolerance,
        heatmap_smoothing=smoothing(),
        gaze=asdict(run.config.gaze),
        size=run.config.input.size,
        fit=run.config.input.fit,
    )
    exclusive = multilabel.exclusive(table, run.classes)

    def resampling(cases: pl.DataFrame) -> Resampling:
        return policy.resampling_of(cases, run.classes, plain(settings))

    def discrimination(cases: pl.DataFrame) -> SplitResults:
        return summary.discrimination_summary(
            cases,
            run.classes,
            resampling(cases),
            SeedResamples(cases.height, seed=seed),
            exclusive=exclusive,
            interval=interval,
        )

    test, validate = (table.filter(pl.col("split") == split) for split in ("test", "validate"))
    found = agreement_table(run, generator=generator, target=target, device=device, batch_size=batch_size)
    with_gaze, ordered = _of_cases(found.table, test)
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
    localisation, localisation_cases = _localisation(run, test, of_boxes, resampling)
    results = EvaluationResults(
        experiment=run.experiment,
        protocol=run.config.protocol,
        selection=run.config.selection,
        classes=tuple(run.classes),
        exclusive=exclusive,
        software=__version__,
        settings=settings,
        test=discrimination(test).with_maps(
            agreement=summary.agreement_summary(ordered, resampling(with_gaze)),
            agreement_cases=AgreementCases(
                compared=with_gaze.height,
                without_gaze=found.without_gaze,
                baseline_counts={"mean_gaze_of_training_cases": found.training_cases, **found.counts},
                constant_maps=found.constant,
            ),
            localisation=localisation,
            localisation_cases=localisation_cases,
        ),
        validate=discrimination(validate),
    )
    write_parquet(summary.curves(test, run.classes), run.path / "curves.parquet")
    write_results(results, run.path)
    return results


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


def _of_cases(rows: pl.DataFrame, cases: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The cases that have rows, and the rows in the order of the cases."""
    having = cases.join(rows.select("case_id").unique(), on="case_id", how="semi", maintain_order="left")
    return having, having.select("case_id").join(rows, on="case_id", maintain_order="left")


def _localisation(
    run: Run, test: pl.DataFrame, rows: pl.DataFrame, resampling: Callable[[pl.DataFrame], Resampling]
) -> tuple[Maps, LocalisationCases]:
    """The entries about boxes; their rows are written where there are any."""
    boxed, ordered = _of_cases(rows, test)
    (run.path / "localisation.parquet").unlink(missing_ok=True)
    if boxed.height:
        write_parquet(rows, run.path / "localisation.parquet")
    maps = summary.agreement_summary(ordered, resampling(boxed), tuple(LOCALISATION))
    return maps, LocalisationCases(compared=boxed.height, without_boxes=test.height - boxed.height)
