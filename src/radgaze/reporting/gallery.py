"""The cases that a page shows: chosen by a rule, never by hand, and drawn by the run's own model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from radgaze.attribution.registry import PRESETS
from radgaze.reporting.panels import Case, attention
from radgaze.reporting.wording import count

if TYPE_CHECKING:
    from radgaze.runs.run import Run

Draw = Callable[["Run", Sequence[str], Mapping[str, Any]], list[Case]]
"""From a run, case ids and the settings in metrics.json to those cases with their maps, in that order."""

SELECTION = (
    "The cases are chosen by a rule, not by hand. Of the correct ones of each class: those with the highest, "
    "the middle and the lowest probability of the true class. Of the wrong ones: those with the highest "
    "probability of a wrong class."
)
OF_SEVERAL = (
    "A case may have several of the classes, or none; one counts as predicted from a probability of 0.5. The "
    "cases are chosen by a rule, not by hand. Of those that have a class and were given it: those with its "
    "highest, middle and lowest probability. Of the wrong ones, missed or a false alarm: those whose "
    "probability of it is farthest from right. Maps are of the most probable class, or of the true one where "
    "agreement was measured so."
)
CHANGED = (
    "The cases are chosen by a rule, not by hand. For each class: of the cases that have it, the one where "
    "it gained most probability from the first run to the last, the one in the middle, and the one where it "
    "lost most."
)


@dataclass(frozen=True)
class Choice:
    """Case ids of one class, classified correctly and wrongly, how many of each there are in all, and that in
    words."""

    correct: tuple[str, ...]
    wrong: tuple[str, ...]
    all_correct: int
    all_wrong: int
    tally: str


def draw_cases(run: Run, case_ids: Sequence[str], settings: Mapping[str, Any]) -> list[Case]:
    """Compute the maps of some test cases. The heatmap is the one that agreement was measured on: of the same
    generator, target class and blur.

    Raises:
        UserError: The run's store is gone.
    """
    import torch

    from radgaze.evaluation.maps import GENERATOR, case_maps, smoothed
    from radgaze.evaluation.metrics.multilabel import THRESHOLD, exclusive
    from radgaze.gaze import box_maps
    from radgaze.store.boxes import with_area

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
    size = (heatmaps.shape[1], heatmaps.shape[2])
    of_boxes = box_maps(boxes, size, sigma, regions=torch.from_numpy(maps.regions))[:, 0].numpy()
    # Boxes may stand in for gaze: then there is a map, and no fixation.
    looked = [bool(has and own.any()) for has, own in zip(maps.has_gaze, maps.present, strict=True)]
    boxed = [bool(own.any()) for own in of_boxes]
    one_each = exclusive(run.predictions(), run.classes)
    cases = []
    for row, case_id in enumerate(maps.case_ids):
        top = int(maps.probabilities[row].argmax())
        truth, predicted = run.classes[int(maps.labels[row].argmax())], run.classes[top]
        if not one_each:
            truth = _all_named(run.classes, maps.labels[row] > 0)
            predicted = _all_named(run.classes, maps.probabilities[row] >= THRESHOLD)
        cases.append(
            Case(
                case_id=case_id,
                image=maps.image[row],
                heatmap=heatmaps[row],
                grad_cam=None if maps.grad_cam is None else maps.grad_cam[row],
                gaze=maps.gaze[row] if looked[row] else of_boxes[row] if boxed[row] else None,
                mask=None if maps.mask is None else maps.mask[row],
                truth=truth,
                predicted=predicted,
                probability=float(maps.probabilities[row, top]),
                most_probable=run.classes[top],
                aspect=aspects.get(case_id, 1.0),
                attention=attention(
                    looked=looked[row] or not boxed[row], boxes=bool(with_area(boxes[row]).any())
                ),
            )
        )
    return cases


def generator_title(settings: Mapping[str, Any]) -> str:
    """The generator's name as a title."""
    name = str(settings.get("generator", "guided_backprop"))
    return PRESETS[name].title if name in PRESETS else name.replace("_", " ")


def choose(
    predictions: pl.DataFrame, classes: Sequence[str], each: int = 3, *, exclusive: bool = True
) -> dict[str, Choice]:
    """For every class up to `each` correct and `each` wrong cases, by the rule that SELECTION states, or
    OF_SEVERAL where classes do not exclude each other.
    """
    if not exclusive:
        return {name: _chosen_of_several(predictions, name, each) for name in classes}
    table = decisions(predictions, classes)
    choices = {}
    for name in classes:
        own = table.filter(pl.col("truth") == name).sort("probability", "case_id", descending=[True, False])
        correct = own.filter(pl.col("predicted") == name)["case_id"].to_list()
        wrong = own.filter(pl.col("predicted") != name)["case_id"].to_list()
        tally = f"{len(correct)} of {own.height} correct"
        chosen = tuple(_spread(correct, each)), tuple(wrong[:each])
        choices[name] = Choice(*chosen, len(correct), len(wrong), tally)
    return choices


def _chosen_of_several(predictions: pl.DataFrame, name: str, each: int) -> Choice:
    from radgaze.evaluation.metrics.multilabel import THRESHOLD

    own = predictions.select("case_id", has=pl.col(f"label_{name}") > 0, p=pl.col(f"probability_{name}"))
    own = own.with_columns(given=pl.col("p") >= THRESHOLD, off=(pl.col("p") - pl.col("has")).abs())
    own = own.sort("off", "case_id", descending=[True, False])
    found = own.filter(pl.col("has") & pl.col("given")).reverse()["case_id"].to_list()
    wrong = own.filter(pl.col("has") != pl.col("given"))
    alarms = wrong.filter("given").height
    tally = f"{len(found)} of {own['has'].sum()} found, {count(alarms, 'false alarm')}"
    return Choice(
        tuple(_spread(found, each)), tuple(wrong["case_id"][:each]), len(found), wrong.height, tally
    )


def choose_changed(
    before: pl.DataFrame, after: pl.DataFrame, classes: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """For every class up to three cases, by the rule that CHANGED states.

    Args:
        before: The first run's predictions.
        after: The last run's; cases that only one of them has are left out.
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


def _all_named(classes: Sequence[str], which: Sequence[bool]) -> str:
    return ", ".join(name for name, own in zip(classes, which, strict=True) if own) or "none"


def _spread(ids: Sequence[str], n: int) -> list[str]:
    """n of the ids, evenly from the first to the last."""
    if len(ids) <= n or n < 2:
        return list(ids[:n])
    return [ids[round(place * (len(ids) - 1) / (n - 1))] for place in range(n)]
