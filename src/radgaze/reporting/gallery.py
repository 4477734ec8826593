"""The cases that a page shows: chosen by a rule, never by hand, and drawn by the run's own model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from radgaze.reporting.panels import Case

if TYPE_CHECKING:
    from radgaze.training.run import Run

Draw = Callable[["Run", Sequence[str], Mapping[str, Any]], list[Case]]
"""From a run, case ids and the settings in metrics.json to those cases with their maps, in that order."""

SELECTION = (
    "The cases are chosen by a rule, not by hand. Of the correct ones of each class: those with the highest, "
    "the middle and the lowest probability of the true class. Of the wrong ones: those with the highest "
    "probability of a wrong class."
)
CHANGED = (
    "The cases are chosen by a rule, not by hand. For each class: the case whose true class gained most "
    "probability from the first run to the last, the one in the middle, and the one that lost most."
)


@dataclass(frozen=True)
class Choice:
    """Case ids of one class, classified correctly and wrongly, and how many of each there are in all."""

    correct: tuple[str, ...]
    wrong: tuple[str, ...]
    all_correct: int
    all_wrong: int


def draw_cases(run: Run, case_ids: Sequence[str], settings: Mapping[str, Any]) -> list[Case]:
    """Compute the maps of some test cases. The heatmap is the one that agreement was measured on: of the same
    generator, target class and blur.

    Raises:
        UserError: The run's store is gone.
    """
    import torch

    from radgaze.evaluation.maps import GENERATOR, case_maps, smoothed
    from radgaze.gaze import box_maps

    stretched = run.config.input.fit == "stretch"
    shapes = run.store.cases.select("case_id", pl.col("columns") / pl.col("rows"))
    aspects = dict(shapes.iter_rows()) if stretched else {}
    maps = case_maps(
        run,
        case_ids,
        generator=settings.get("generator", GENERATOR),
        target=settings.get("target", "predicted"),
    )
    heatmaps = smoothed(maps.heatmap, maps.sigma)
    boxes, sigma = torch.from_numpy(maps.boxes), torch.from_numpy(maps.sigma)
    of_boxes = box_maps(boxes, (heatmaps.shape[1], heatmaps.shape[2]), sigma)[:, 0].numpy()
    # Boxes may stand in for gaze: then there is a map, and no fixation.
    looked = [bool(has and own.any()) for has, own in zip(maps.has_gaze, maps.present, strict=True)]
    boxed = [bool(own.any()) for own in of_boxes]
    cases = []
    for row, case_id in enumerate(maps.case_ids):
        predicted = int(maps.probabilities[row].argmax())
        cases.append(
            Case(
                case_id=case_id,
                image=maps.image[row],
                heatmap=heatmaps[row],
                grad_cam=None if maps.grad_cam is None else maps.grad_cam[row],
                gaze=maps.gaze[row] if looked[row] else of_boxes[row] if boxed[row] else None,
                mask=None if maps.mask is None else maps.mask[row],
                truth=run.classes[int(maps.labels[row].argmax())],
                predicted=run.classes[predicted],
                probability=float(maps.probabilities[row, predicted]),
                aspect=aspects.get(case_id, 1.0),
                attention="Boxes" if boxed[row] and not looked[row] else "Gaze",
            )
        )
    return cases


def generator_title(settings: Mapping[str, Any]) -> str:
    """The generator's name as a title."""
    name = str(settings.get("generator", "guided_backprop"))
    known = {"guided_backprop": "Guided backprop", "backprop": "Gradient", "grad_cam": "Grad-CAM"}
    return known.get(name, name.replace("_", " "))


def choose(predictions: pl.DataFrame, classes: Sequence[str], each: int = 3) -> dict[str, Choice]:
    """For every class up to `each` correct and `each` wrong cases, by the rule that SELECTION states."""
    table = decisions(predictions, classes)
    choices = {}
    for name in classes:
        own = table.filter(pl.col("truth") == name).sort("probability", "case_id", descending=[True, False])
        correct = own.filter(pl.col("predicted") == name)["case_id"].to_list()
        wrong = own.filter(pl.col("predicted") != name)["case_id"].to_list()
        choices[name] = Choice(tuple(_spread(correct, each)), tuple(wrong[:each]), len(correct), len(wrong))
    return choices


def choose_changed(
    before: pl.DataFrame, after: pl.DataFrame, classes: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """For every class up to three cases, by the rule that CHANGED states.

    Args:
        before: The first run's predictions.
        after: The last run's; cases that only one of them has are left out.
        classes: The classes.
    """
    first, last = (decisions(t, classes).select("case_id", "truth", "of_truth") for t in (before, after))
    both = first.join(last.select("case_id", after="of_truth"), on="case_id")
    both = both.with_columns(gain=pl.col("after") - pl.col("of_truth"))
    ordered = both.sort("gain", "case_id", descending=[True, False])
    return {
        name: tuple(_spread(ordered.filter(pl.col("truth") == name)["case_id"].to_list(), 3))
        for name in classes
    }


def decisions(predictions: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """case_id, truth and predicted (names), probability (of the class predicted), of_truth (of the true)."""
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


def _spread(ids: Sequence[str], n: int) -> list[str]:
    """n of the ids, evenly from the first to the last."""
    if len(ids) <= n or n < 2:
        return list(ids[:n])
    return [ids[round(place * (len(ids) - 1) / (n - 1))] for place in range(n)]
