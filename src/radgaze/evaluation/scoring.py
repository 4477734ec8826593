"""Second step of an evaluation: compute the metrics of each case and map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation import baselines
from radgaze.evaluation.baselines.baseline_map import Floats
from radgaze.evaluation.maps import BLURRED, CaseMaps
from radgaze.evaluation.metrics.agreement import METRICS as AGREEMENT
from radgaze.evaluation.metrics.agreement import fixation_counts, is_constant, measure_agreement
from radgaze.evaluation.metrics.localisation import METRICS as LOCALISATION
from radgaze.evaluation.metrics.localisation import measure_localisation
from radgaze.evaluation.predicting import PredictedCases

OF_A_RUN = tuple(BLURRED)
"""Names of the maps that depend on the run; baseline maps do not."""
MAPS = (*OF_A_RUN, *baselines.evaluated())

_CASE: dict[str, pl.DataType | type[pl.DataType]] = {
    "case_id": pl.String,
    "patient": pl.Int32,
    "map": pl.String,
}
SCHEMA = {**_CASE, **dict.fromkeys(AGREEMENT, pl.Float64)}
"""Columns of agreement.parquet."""
CLASS_SCHEMA = {**_CASE, "class": pl.String, **dict.fromkeys(AGREEMENT, pl.Float64)}
"""Columns of class_agreement.parquet."""
LOCALISATION_SCHEMA = {**_CASE, **dict.fromkeys(LOCALISATION, pl.Float64)}
"""Columns of localisation.parquet."""


@dataclass(frozen=True)
class CaseScores:
    """The predictions of a run, and the metrics of its maps for each case.

    Attributes:
        predictions: The predictions of the validation and test cases, see `Run.predictions`.
        agreement: A row for each test case with gaze and each map, see `SCHEMA`; null where undefined.
        class_agreement: A row for each test case, class that its report mentions and map, `CLASS_SCHEMA`.
        localisation: A row for each test case with boxes or regions and each map, see `LOCALISATION_SCHEMA`.
        without_gaze: Number of cases that are left out of `agreement` because they have no gaze.
        constant_maps: Number of cases whose map is constant and scores as chance, by map.
        baseline_counts: Numbers of cases that describe the baseline maps, see `BaselineMap.counts`.
    """

    predictions: pl.DataFrame
    agreement: pl.DataFrame
    class_agreement: pl.DataFrame
    localisation: pl.DataFrame
    without_gaze: int
    constant_maps: dict[str, int]
    baseline_counts: dict[str, int]


def score(predicted: PredictedCases, *, tolerance: float = 0.0) -> CaseScores:
    """Measure agreement with gaze and localisation of boxes and regions.

    Boxes mark the evidence for the true class, so they are compared with heatmaps of the true class, whatever
    was predicted. Boxes of another class do not count, and a case that has only such boxes is left out.

    Args:
        predicted: The cases.
        tolerance: Tolerance of the pointing game, in pixels of the map.
    """
    references, size = predicted.references, predicted.references.fixations.shape
    agreement_parts, localisation_parts = (
        [pl.DataFrame(schema=SCHEMA)],
        [pl.DataFrame(schema=LOCALISATION_SCHEMA)],
    )
    without_gaze, compared, constant_maps = references.without_gaze, list[str](), dict[str, int]()
    for cases in predicted.maps:
        has_gaze = cases.has_gaze & cases.present.any(1)
        without_gaze += int((~has_gaze).sum())
        ids = _ids(cases, has_gaze)
        compared += ids
        fixations = fixation_counts(cases.points, cases.present, (size[0], size[1]))[has_gaze]
        for name, maps in cases.maps_to_score(references.baselines).items():
            P = maps[has_gaze]
            constant_maps[name] = constant_maps.get(name, 0) + int(is_constant(P).sum())
            figures = measure_agreement(P, cases.gaze[has_gaze], fixations, references.fixations - fixations)
            agreement_parts.append(_rows(ids, cases.patients[has_gaze], name, figures, SCHEMA))
    for cases in predicted.maps_with_boxes:
        marked = np.asarray((cases.boxes[..., 2] > cases.boxes[..., 0]).any(1))
        marked |= cases.regions.any((1, 2))
        ids, boxes, regions = _ids(cases, marked), cases.boxes[marked], cases.regions[marked]
        for name, maps in cases.maps_to_score(references.baselines).items():
            figures = measure_localisation(maps[marked], boxes, tolerance, regions=regions)
            localisation_parts.append(_rows(ids, cases.patients[marked], name, figures, LOCALISATION_SCHEMA))
    counts = [baseline.counts(compared) for baseline in references.baselines.values()]
    return CaseScores(
        predictions=predicted.predictions,
        agreement=pl.concat(agreement_parts),
        class_agreement=score_mentioned(predicted),
        localisation=pl.concat(localisation_parts),
        without_gaze=without_gaze,
        constant_maps=constant_maps,
        baseline_counts={
            "mean_gaze_of_training_cases": references.training_cases,
            **{name: count for part in counts for name, count in part.items()},
        },
    )


def score_mentioned(predicted: PredictedCases) -> pl.DataFrame:
    """Measure the agreement of maps of each class with the gaze of this class, see `CLASS_SCHEMA`."""
    references, size = predicted.references, predicted.references.fixations.shape
    parts = [pl.DataFrame(schema=CLASS_SCHEMA)]
    for each in predicted.mentioned:
        maps = each.maps
        of_class, of_case = (
            fixation_counts(maps.points, present, (size[0], size[1]))
            for present in (maps.present, each.fixations)
        )
        others = references.fixations - of_case
        for name, scored in maps.maps_to_score(references.baselines).items():
            figures = measure_agreement(scored, maps.gaze, of_class, others)
            rows = _rows(maps.case_ids, maps.patients, name, figures, SCHEMA)
            named = rows.with_columns(pl.Series("class", each.classes, dtype=pl.String))
            parts.append(named.select(list(CLASS_SCHEMA)))
    return pl.concat(parts)


def _rows(
    ids: Sequence[str],
    patients: NDArray[np.int64],
    name: str,
    figures: Mapping[str, Floats],
    schema: Mapping[str, pl.DataType | type[pl.DataType]],
) -> pl.DataFrame:
    content = {"case_id": ids, "patient": patients, "map": [name] * len(ids), **figures}
    return pl.DataFrame(content, schema=schema).with_columns(pl.col(list(figures)).fill_nan(None))


def _ids(cases: CaseMaps, chosen: NDArray[np.bool_]) -> list[str]:
    return [case for case, is_chosen in zip(cases.case_ids, chosen, strict=True) if is_chosen]
