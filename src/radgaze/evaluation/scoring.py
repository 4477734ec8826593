"""How a run's maps, and the floors, agree with gaze and point into boxes: one row per case and map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.console import Bar, progress
from radgaze.evaluation import baselines
from radgaze.evaluation.baselines import BaselineMap
from radgaze.evaluation.baselines.mean_gaze import mean_gaze
from radgaze.evaluation.maps import GENERATOR, CaseMaps, Target, smoothed, stream_maps
from radgaze.evaluation.metrics import localisation
from radgaze.evaluation.metrics.agreement import METRICS, agreement, fixation_counts, is_constant
from radgaze.runs.run import Run
from radgaze.store.batch import Batch
from radgaze.store.boxes import with_area
from radgaze.words import listed

Floats = NDArray[np.float64]


def smoothing() -> str:
    """Which maps are blurred before they are scored, as metrics.json says it."""
    floors = baselines.evaluated()
    blurred = ["heatmap", "grad_cam", *(name for name, kind in floors.items() if kind.blurred)]
    others = ["heatmap_raw", "mask", *(name for name, kind in floors.items() if not kind.blurred)]
    return f"{listed(blurred)} by the Gaussian of each case's gaze map; {listed(others)} not at all"


_OF_BOXES = dict.fromkeys(localisation.METRICS, pl.Float64)
SCHEMA: dict[str, Any] = {
    "case_id": pl.String,
    "patient": pl.Int32,
    "map": pl.String,
    **dict.fromkeys(METRICS, pl.Float64),
}


@dataclass(frozen=True)
class Agreement:
    """What `agreement_table` found.

    Attributes:
        table: case_id, patient, map, and one column per metric (null where undefined).
        without_gaze: Number of cases that were left out since nobody's gaze on them is known.
        training_cases: Number of cases that the mean gaze is the mean of.
        constant: Per map how many cases have one that is the same everywhere; it scores as chance.
        floors: The baseline maps, by name.
        boxed: The ids of cases with boxes, or regions.
        counts: What the baseline maps say of the cases that were compared, see `BaselineMap.counts`.
    """

    table: pl.DataFrame
    without_gaze: int
    training_cases: int
    constant: dict[str, int] = field(default_factory=dict)
    floors: dict[str, BaselineMap] = field(default_factory=dict)
    boxed: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)


def agreement_table(
    run: Run,
    *,
    split: str = "test",
    generator: str = GENERATOR,
    target: Target = "predicted",
    device: str = "cpu",
    batch_size: int = 16,
) -> Agreement:
    """Score every map of every case of a split that has gaze.

    Args:
        run: The run.
        split: The cases.
        generator: The heatmap's; the same for all runs that are to be compared.
        target: The class whose heatmap is scored.
        device: Where the model runs.
        batch_size: Cases at a time.
    """
    size = (run.config.input.size, run.config.input.size)
    everyone, boxed = np.zeros(size), list[str]()
    with progress("Gathering gaze", total=len(run.dataset("train")) + len(run.dataset(split))) as bar:
        mean, training_cases = mean_gaze(_counted(run.batches("train", batch_size), bar), size)
        for batch in _counted(run.batches(split, batch_size), bar):
            everyone += fixation_counts(batch.points, batch.weights > 0, size).sum(0)
            there = with_area(batch.own_boxes()).any(1) | (batch.own_regions() >= 128).flatten(1).any(1)
            boxed += [case for case, has in zip(batch.case_id, there.tolist(), strict=True) if has]
    known_of_run = baselines.Known(
        run.store, run.config.input.fit, run.config.input.size, mean if training_cases else None
    )
    floors = baselines.made(known_of_run, evaluated_alone=True)
    parts: list[pl.DataFrame] = []
    without, compared, constant = 0, list[str](), dict[str, int]()
    with progress("Comparing maps with gaze", total=len(run.dataset(split))) as bar:
        for cases in stream_maps(
            run,
            split,
            generator=generator,
            target=target,
            device=device,
            batch_size=batch_size,
            grad_cam=True,
        ):
            known = cases.has_gaze & cases.present.any(1)
            without += int((~known).sum())
            compared += [case for case, has in zip(cases.case_ids, known, strict=True) if has]
            maps = _maps(cases, floors)
            own = fixation_counts(cases.points, cases.present, size)[known]
            for kind, P in maps.items():
                constant[kind] = constant.get(kind, 0) + int(is_constant(P[known]).sum())
                figures = agreement(P[known], cases.gaze[known], own, everyone - own)
                parts.append(_rows(cases, known, kind, figures))
            bar.advance(len(cases))
    return Agreement(
        table=pl.concat([pl.DataFrame(schema=SCHEMA), *parts]),
        without_gaze=without,
        training_cases=training_cases,
        constant=constant,
        floors=floors,
        boxed=tuple(boxed),
        counts={key: n for floor in floors.values() for key, n in floor.counts(compared).items()},
    )


def localisation_table(
    run: Run,
    case_ids: Sequence[str],
    floors: Mapping[str, BaselineMap],
    *,
    split: str = "test",
    generator: str = GENERATOR,
    tolerance: float = 0.0,
    device: str = "cpu",
    batch_size: int = 16,
) -> pl.DataFrame:
    """Score every map of the cases that have boxes: case_id, patient, map, and one column per metric.

    Boxes mark the evidence for what the case is, so the heatmaps are of the true class, whatever was
    predicted; of several the most probable. Of boxes named after a class only those of that class count,
    and a case that has others alone is left out.

    Args:
        run: The run.
        case_ids: Cases with boxes.
        floors: The baseline maps, by name.
        split: Where the cases are.
        generator: The heatmap's; the same for all runs that are to be compared.
        tolerance: The pointing game's, in pixels of the map.
        device: Where the model runs.
        batch_size: Cases at a time.
    """
    schema = {**{name: SCHEMA[name] for name in ("case_id", "patient", "map")}, **_OF_BOXES}
    parts = [pl.DataFrame(schema=schema)]
    if not case_ids:
        return parts[0]
    with progress("Comparing maps with boxes", total=len(case_ids)) as bar:
        for cases in stream_maps(
            run,
            split,
            case_ids=case_ids,
            generator=generator,
            target="true",
            device=device,
            batch_size=batch_size,
            grad_cam=True,
        ):
            everyone = np.asarray((cases.boxes[..., 2] > cases.boxes[..., 0]).any(1))
            everyone |= cases.regions.any((1, 2))
            for kind, P in _maps(cases, floors).items():
                figures = localisation.localisation(
                    P[everyone], cases.boxes[everyone], tolerance, regions=cases.regions[everyone]
                )
                parts.append(_rows(cases, everyone, kind, figures, schema))
            bar.advance(len(cases))
    return pl.concat(parts)


def _maps(cases: CaseMaps, floors: Mapping[str, BaselineMap]) -> dict[str, NDArray[np.floating]]:
    """The maps that are scored, (B, H, W) each, by name."""
    maps: dict[str, NDArray[np.floating]] = {
        "heatmap": smoothed(cases.heatmap, cases.sigma),
        "heatmap_raw": cases.heatmap,
    }
    if cases.grad_cam is not None:
        maps["grad_cam"] = smoothed(cases.grad_cam, cases.sigma)
    if cases.mask is not None:
        maps["mask"] = cases.mask
    for name, floor in floors.items():
        made = floor(cases.case_ids)
        maps[name] = smoothed(made, cases.sigma) if floor.blurred else made
    return maps


def _counted(batches: Iterable[Batch], bar: Bar) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        bar.advance(len(batch.case_id))


def _rows(
    cases: CaseMaps,
    known: NDArray[np.bool_],
    kind: str,
    figures: dict[str, Floats],
    schema: dict[str, Any] = SCHEMA,
) -> pl.DataFrame:
    ids = [case for case, there in zip(cases.case_ids, known, strict=True) if there]
    rows = pl.DataFrame(
        {"case_id": ids, "patient": cases.patients[known], "map": [kind] * len(ids), **figures}, schema=schema
    )
    return rows.with_columns(pl.col(list(figures)).fill_nan(None))
