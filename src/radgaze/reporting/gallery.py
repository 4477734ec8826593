"""The cases that a page shows, selected by a rule rather than by hand, with the maps of the run's model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from radgaze.attribution.registry import PRESETS
from radgaze.evaluation.results import EvaluationSettings
from radgaze.reporting.attention import attention_of
from radgaze.reporting.case_panels import Case, attention
from radgaze.reporting.scans import scans
from radgaze.reporting.wording import count

if TYPE_CHECKING:
    from radgaze.runs.run import Run

Draw = Callable[["Run", Sequence[str], EvaluationSettings], list[Case]]
"""Function that makes cases with their maps, in the order of their ids.

Its arguments are a run, the ids, and the settings of the run's evaluation."""

SELECTION = (
    "The cases are selected by a rule, not by hand. Correct cases of each class: those with the highest, the "
    "median and the lowest probability of the true class. Wrong cases: those with the highest probability of "
    "a wrong class."
)
OF_SEVERAL = (
    "A case may have several of the classes, or none; a class is predicted from a probability of 0.5. The "
    "cases are selected by a rule, not by hand. Cases of each class for which it is predicted: those with "
    "the highest, the median and the lowest probability of the class. Missed cases and false alarms: those "
    "with the largest error of the probability. Maps are of the most probable class, or of the true class "
    "where agreement was measured for that."
)
CHANGED = (
    "The cases are selected by a rule, not by hand. For each class: of the cases that have it, the one whose "
    "probability of the class rises most from the first run to the last, the median one, and the one whose "
    "probability falls most."
)


@dataclass(frozen=True)
class Choice:
    """The selected cases of a class.

    Attributes:
        correct: Ids of the selected cases that are classified correctly.
        wrong: Ids of the selected cases that are classified wrongly.
        all_correct: Number of all correct cases.
        all_wrong: Number of all wrong cases.
        tally: These numbers in words.
    """

    correct: tuple[str, ...]
    wrong: tuple[str, ...]
    all_correct: int
    all_wrong: int
    tally: str


def draw_cases(run: Run, case_ids: Sequence[str], settings: EvaluationSettings) -> list[Case]:
    """Compute the maps of some test cases.

    The heatmap has the generator, target class and blur of the agreement with gaze.

    Args:
        run: The run.
        case_ids: Ids of the cases.
        settings: Settings of the evaluation of the run.

    Raises:
        UserError: The run's store is missing.
    """
    import torch

    from radgaze.evaluation.maps import case_maps, smoothed
    from radgaze.evaluation.metrics.multilabel import THRESHOLD
    from radgaze.gaze import box_maps
    from radgaze.store.boxes import with_area

    stretched = run.config.input.fit == "stretch"
    shapes = run.store.cases.select("case_id", pl.col("columns") / pl.col("rows"))
    aspects = dict(shapes.iter_rows()) if stretched else {}
    stored = scans(run.store, case_ids, run.config.input.fit)
    maps = case_maps(run, case_ids, generator=settings.generator, target=settings.target)
    heatmaps = smoothed(maps.heatmap, maps.sigma)
    boxes, sigma = torch.from_numpy(maps.boxes), torch.from_numpy(maps.sigma)
    size = (heatmaps.shape[1], heatmaps.shape[2])
    maps_of_boxes = box_maps(boxes, size, sigma, regions=torch.from_numpy(maps.regions))[:, 0].numpy()
    # Where boxes replace gaze, a case has a map but no fixation.
    has_fixations = [bool(has and row.any()) for has, row in zip(maps.has_gaze, maps.present, strict=True)]
    has_boxes = [bool(row.any()) for row in maps_of_boxes]
    kind = attention_of(run.store)
    cases = []
    for row, case_id in enumerate(maps.case_ids):
        top = int(maps.probabilities[row].argmax())
        truth, predicted = run.classes[int(maps.labels[row].argmax())], run.classes[top]
        if not run.exclusive:
            truth = _all_named(run.classes, maps.labels[row] > 0)
            predicted = _all_named(run.classes, maps.probabilities[row] >= THRESHOLD)
        cases.append(
            Case(
                case_id=case_id,
                image=maps.image[row],
                heatmap=heatmaps[row],
                grad_cam=None if maps.grad_cam is None else maps.grad_cam[row],
                gaze=maps.gaze[row] if has_fixations[row] else maps_of_boxes[row] if has_boxes[row] else None,
                mask=None if maps.mask is None else maps.mask[row],
                truth=truth,
                predicted=predicted,
                probability=float(maps.probabilities[row, top]),
                most_probable=run.classes[top],
                aspect=aspects.get(case_id, 1.0),
                attention=attention(
                    looked=has_fixations[row] or (kind == "gaze" and not has_boxes[row]),
                    boxes=bool(with_area(boxes[row]).any()) or (kind == "boxes" and not has_boxes[row]),
                ),
                scan=stored[case_id],
            )
        )
    return cases


def generator_title(settings: EvaluationSettings) -> str:
    """Return the title of the generator of the heatmaps."""
    name = settings.generator
    return PRESETS[name].title if name in PRESETS else name.replace("_", " ")


def choose(
    predictions: pl.DataFrame, classes: Sequence[str], each: int = 3, *, exclusive: bool = True
) -> dict[str, Choice]:
    """Select up to `each` correct and `each` wrong cases of every class.

    The rule is that of `SELECTION`, or that of `OF_SEVERAL` for classes that are not exclusive.

    Args:
        predictions: Predictions of the test cases.
        classes: Names of the classes.
        each: Maximum number of correct and of wrong cases of a class.
        exclusive: Whether every case has exactly one class.
    """
    if not exclusive:
        return {name: _chosen_of_several(predictions, name, each) for name in classes}
    table = decisions(predictions, classes)
    choices = {}
    for name in classes:
        cases = table.filter(pl.col("truth") == name).sort("probability", "case_id", descending=[True, False])
        correct = cases.filter(pl.col("predicted") == name)["case_id"].to_list()
        wrong = cases.filter(pl.col("predicted") != name)["case_id"].to_list()
        tally = f"{len(correct)} of {cases.height} correct"
        choices[name] = Choice(
            tuple(_spread(correct, each)), tuple(wrong[:each]), len(correct), len(wrong), tally
        )
    return choices


def _chosen_of_several(predictions: pl.DataFrame, name: str, each: int) -> Choice:
    from radgaze.evaluation.metrics.multilabel import THRESHOLD

    cases = predictions.select("case_id", has=pl.col(f"label_{name}") > 0, p=pl.col(f"probability_{name}"))
    cases = cases.with_columns(predicted=pl.col("p") >= THRESHOLD, error=(pl.col("p") - pl.col("has")).abs())
    cases = cases.sort("error", "case_id", descending=[True, False])
    correct = cases.filter(pl.col("has") & pl.col("predicted")).reverse()["case_id"].to_list()
    wrong = cases.filter(pl.col("has") != pl.col("predicted"))
    false_alarms = count(wrong.filter("predicted").height, "false alarm")
    tally = f"{len(correct)} of {cases['has'].sum()} found, {false_alarms}"
    return Choice(
        tuple(_spread(correct, each)), tuple(wrong["case_id"][:each]), len(correct), wrong.height, tally
    )


def choose_changed(
    before: pl.DataFrame, after: pl.DataFrame, classes: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Select up to three cases of every class by the rule of `CHANGED`.

    Args:
        before: Predictions of the first run.
        after: Predictions of the last run; cases that only one of them has are left out.
        classes: The classes.
    """
    chosen = {}
    for name in classes:
        first, last = (
            t.filter(pl.col(f"label_{name}") > 0).select("case_id", p=pl.col(f"probability_{name}"))
            for t in (before, after)
        )
        both = first.join(last, on="case_id").with_columns(gain=pl.col("p_right") - pl.col("p"))
        ordered = both.sort("gain", "case_id", descending=[True, False])
        chosen[name] = tuple(_spread(ordered["case_id"].to_list(), 3))
    return chosen


def decisions(predictions: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """Make a table of the true and the predicted class of each case.

    Returns:
        Table of case_id, truth, predicted, probability (of the predicted class) and of_truth (probability of
        the true class).
    """
    scores = predictions.select([f"probability_{name}" for name in classes]).to_numpy()
    labels = predictions.select([f"label_{name}" for name in classes]).to_numpy()
    if not len(scores):
        return pl.DataFrame(schema=_DECISIONS)
    truth, predicted, rows = labels.argmax(1), scores.argmax(1), range(len(scores))
    return pl.DataFrame(
        {
            "case_id": predictions["case_id"],
            "truth": [classes[i] for i in truth],
            "predicted": [classes[i] for i in predicted],
            "probability": scores[rows, predicted],
            "of_truth": scores[rows, truth],
        },
        schema=_DECISIONS,
    )


_DECISIONS = {
    "case_id": pl.String,
    "truth": pl.String,
    "predicted": pl.String,
    "probability": pl.Float64,
    "of_truth": pl.Float64,
}


def _all_named(classes: Sequence[str], selected: Sequence[bool]) -> str:
    return (
        ", ".join(name for name, is_selected in zip(classes, selected, strict=True) if is_selected) or "none"
    )


def _spread(ids: Sequence[str], n: int) -> list[str]:
    """Select n ids, evenly from the first to the last."""
    if len(ids) <= n or n < 2:
        return list(ids[:n])
    return [ids[round(place * (len(ids) - 1) / (n - 1))] for place in range(n)]
