"""First step of an evaluation: the predictions of a run, and the maps of its cases as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from radgaze.console import Bar, progress
from radgaze.devices import usable_device
from radgaze.errors import UserError
from radgaze.evaluation import baselines
from radgaze.evaluation.baselines import BaselineInputs, BaselineMap
from radgaze.evaluation.baselines.baseline_map import Floats
from radgaze.evaluation.class_gaze import MentionedMaps, mentioned_cases, stream_mentioned
from radgaze.evaluation.maps import CaseMaps, stream_maps
from radgaze.evaluation.metrics.agreement import fixation_counts
from radgaze.evaluation.options import EvaluationOptions, Target
from radgaze.runs.run import Run
from radgaze.store.batch import Batch
from radgaze.store.boxes import with_area
from radgaze.store.mean_gaze import average_gaze


@dataclass(frozen=True)
class References:
    """Data of other cases, with which the maps of a case are compared.

    Attributes:
        baselines: The baseline maps, by name.
        fixations: Number of fixations on each pixel over all cases of the split, of shape (S, S), S the side
            of the model's input in pixels.
        training_cases: Number of training cases over which the mean gaze map is averaged.
        without_gaze: Number of cases of the split whose maps are not made, since they have no gaze.
    """

    baselines: dict[str, BaselineMap]
    fixations: Floats
    training_cases: int
    without_gaze: int = 0


@dataclass(frozen=True)
class PredictedCases:
    """The predictions of a run, and the maps of the cases of one split.

    Attributes:
        predictions: The predictions of the validation and test cases, see `Run.predictions`.
        references: The references of the split.
        maps: Maps of the cases with gaze, a batch at a time; can be iterated once.
        maps_with_boxes: Maps of the cases with boxes or regions, with heatmaps of the true class, a batch at
            a time; can be iterated once.
        mentioned: Maps of each class that a report mentions, with the gaze of this class; can be iterated
            once.
    """

    predictions: pl.DataFrame
    references: References
    maps: Iterator[CaseMaps]
    maps_with_boxes: Iterator[CaseMaps]
    mentioned: Iterator[MentionedMaps] = field(default_factory=lambda: iter(()))


def predict(run: Run, options: EvaluationOptions, split: str = "test") -> PredictedCases:
    """Apply a run's model to a split; the maps are made when they are iterated.

    Args:
        run: The run.
        options: The options.
        split: The split whose maps are made.

    Raises:
        UserError: The run has no predictions, or a device or generator is not available.
    """
    device = usable_device(options.device)
    table = run.predictions()
    missing = [name for name in run.classes if f"probability_{name}" not in table.columns]
    if missing:
        raise UserError(f"{run.path / 'predictions.parquet'} has no probabilities of {', '.join(missing)}")
    references, gazed, boxed = _references(run, split, options.batch_size)

    def stream(title: str, target: Target, case_ids: list[str]) -> Iterator[CaseMaps]:
        if not case_ids:
            return
        with progress(title, total=len(case_ids)) as bar:
            for cases in stream_maps(
                run,
                split,
                case_ids=case_ids,
                generator=options.generator,
                target=target,
                device=device,
                batch_size=options.batch_size,
                grad_cam=True,
            ):
                yield cases
                bar.advance(len(cases.case_ids))

    def mentioned() -> Iterator[MentionedMaps]:
        with progress("Comparing maps with the gaze of each class", total=mentioned_cases(run, split)) as bar:
            for each in stream_mentioned(
                run, split, generator=options.generator, device=device, batch_size=options.batch_size
            ):
                yield each
                bar.advance(len(each.classes))

    per = options.per or run.config.gaze.per
    return PredictedCases(
        table,
        references,
        mentioned=mentioned() if per == "class" else iter(()),
        maps=stream("Comparing maps with gaze", options.target, gazed),
        maps_with_boxes=stream("Comparing maps with boxes", "true", boxed),
    )


def _references(run: Run, split: str, batch_size: int) -> tuple[References, list[str], list[str]]:
    """The references of a split, the ids of its cases with gaze, and those with boxes or regions.

    Only images of cases with any of them are read: of large collections most have none.
    """
    size = (run.config.input.size, run.config.input.size)
    fixations, gazed, boxed = np.zeros(size), list[str](), list[str]()
    training, some = run.with_evidence("train"), run.with_evidence(split)
    with progress("Gathering gaze", total=len(training) + len(some)) as bar:
        batches = run.batches("train", batch_size, training)
        mean, training_cases = average_gaze(_advancing(batches, bar), size)
        for batch in _advancing(run.batches(split, batch_size, some), bar):
            present = batch.weights > 0
            fixations += fixation_counts(batch.points, present, size).sum(0)
            looked_at = (batch.has_gaze.bool() & present.any(1)).tolist()
            gazed += [case for case, has in zip(batch.case_id, looked_at, strict=True) if has]
            has_boxes = with_area(batch.own_boxes()).any(1)
            has_boxes |= (batch.own_regions() >= 128).flatten(1).any(1)
            boxed += [case for case, has in zip(batch.case_id, has_boxes.tolist(), strict=True) if has]
    inputs = BaselineInputs(
        run.store, run.config.input.fit, run.config.input.size, mean if training_cases else None
    )
    made = baselines.create(inputs, baselines.evaluated())
    without = int((run.store.cases["split"] == split).sum()) - len(gazed)
    return References(made, fixations, training_cases, without), gazed, boxed


def _advancing(batches: Iterable[Batch], bar: Bar) -> Iterator[Batch]:
    for batch in batches:
        yield batch
        bar.advance(len(batch.case_id))
