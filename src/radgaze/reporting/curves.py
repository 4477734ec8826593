"""The curves of one run: ROC, precision–recall, calibration, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from radgaze.evaluation.metrics import discrimination
from radgaze.evaluation.metrics.calibration import reliability
from radgaze.reporting.style import INK, MUTED, canvas, colour, line, styled
from radgaze.reporting.wording import bounds, estimate

SIZE = (4.9, 4.5)
SPECIFICITY = 0.9  # of the operating point that each ROC curve carries
FEW = 5  # classes whose legend still leaves the curves to be seen
BESIDE = 3.1
BINS = 5  # of the reliability diagram: with more, a hundred test cases leave too few in each


def roc(predictions: pl.DataFrame, classes: Sequence[str], auc: Mapping[str, Any]) -> Figure:
    """One ROC curve per class, one against the rest, with the sensitivity at 90% specificity marked.

    Args:
        predictions: One row per test case, with `probability_<class>` and `label_<class>`.
        classes: The classes in the order of the run.
        auc: Per class the AUC's entry of metrics.json, for the legend.
    """
    with styled():
        figure = _canvas(classes)
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
        axis.axvline(1 - SPECIFICITY, color=MUTED, linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)
        for place, name in enumerate(classes):
            truth, score = _one_against_rest(predictions, name)
            x, y, _ = discrimination.roc(truth, score)
            if not x.size:
                _absent(axis, name)
                continue
            axis.plot(x, y, color=colour(place), linestyle=line(place), label=_legend(name, auc), zorder=3)
            sensitivity = discrimination.sensitivity_at_specificity(truth, score, specificity=SPECIFICITY)
            axis.plot(
                1 - SPECIFICITY, sensitivity[0], "o", color=colour(place), markeredgecolor="w", zorder=4
            )
        axis.set(xlabel="1 − specificity", ylabel="Sensitivity", title="ROC")
        _unit_square(axis)
        _explain(figure, axis, classes, "lower right", "AUC")
    return figure


def precision_recall(
    predictions: pl.DataFrame, classes: Sequence[str], precision: Mapping[str, Any]
) -> Figure:
    """One precision–recall curve per class; dotted in the same colour the class's share, which is chance."""
    with styled():
        figure = _canvas(classes)
        axis = figure.subplots()
        for place, name in enumerate(classes):
            truth, score = _one_against_rest(predictions, name)
            x, y, _ = discrimination.precision_recall(truth, score)
            if not x.size:
                _absent(axis, name)
                continue
            tint = colour(place)
            axis.axhline(truth.mean(), color=tint, linewidth=0.8, linestyle=":", zorder=1)
            label = _legend(name, precision)
            axis.step(x, y, where="post", color=tint, linestyle=line(place), label=label, zorder=3)
        axis.set(xlabel="Recall (sensitivity)", ylabel="Precision", title="Precision–recall")
        _unit_square(axis)
        _explain(figure, axis, classes, "lower left", "Average precision (dotted: chance)")
    return figure


def calibration(predictions: pl.DataFrame, classes: Sequence[str], error: Mapping[str, Any]) -> Figure:
    """Observed share against predicted probability in bins of equal numbers, with 95% Wilson intervals.

    Below, how the predicted probabilities are distributed.
    """
    with styled():
        figure = _canvas(classes)
        axis, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
        for place, name in enumerate(classes):
            truth, score = _one_against_rest(predictions, name)
            if not truth.size:
                continue
            bins = reliability(truth, score, bins=BINS)
            low, high = _wilson(bins.share, bins.cases)
            axis.errorbar(
                bins.probability,
                bins.share,
                yerr=np.clip([bins.share - low, high - bins.share], 0, None),
                color=colour(place),
                linestyle=line(place),
                elinewidth=0.7,
                marker="o",
                markersize=4.5,
                label=_legend(name, error),
            )
            below.hist(score, bins=20, range=(0, 1), histtype="step", color=colour(place), linewidth=1.2)
        axis.set(ylabel="Observed share", title="Calibration", xlim=(0, 1), ylim=(-0.02, 1.02))
        below.set(xlabel="Predicted probability", ylabel="Cases")
        _explain(figure, axis, classes, "upper left", "Calibration error")
    return figure


def training(history: pl.DataFrame) -> Figure:
    """Classification loss, loss of the maps and validation AUC over the epochs; the best epoch is marked.

    Args:
        history: `epoch`, counted from 0, and any of the columns `train/…`, and `validate/…` or `test/…`: the
            cases that the epoch was chosen by.
    """
    columns = [c for c in history.columns if c.startswith(("train/", "validate/", "test/"))]
    scores = [c for c in columns if c.endswith("/auc")]
    losses = [c for c in columns if c.endswith("/classification")] or [
        c for c in columns if c.endswith("/loss")
    ]
    maps = [c for c in columns if c not in (*scores, *losses, "train/loss", "validate/loss", "test/loss")]
    parts = [(k, v) for k, v in (("Class loss", losses), ("Map loss", maps), ("Macro AUC", scores)) if v]
    with styled():
        figure = canvas(*SIZE)
        grid = figure.subplots(max(1, len(parts)), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (name, own) in zip(grid, parts, strict=False):
            for place, column in enumerate(own):
                split = column.split("/")[0]
                label = {"train": "training", "validate": "validation"}.get(split, split)
                of_maps = name == "Map loss"
                where = place + 2 if of_maps else int(split != "train")
                _track(axis, history, column, where, None if of_maps else label)
            axis.set_ylabel(name)
            axis.legend(loc="best", fontsize=8)
        grid[0].set_title("Training")
        grid[-1].set_xlabel("Epoch")
        grid[-1].xaxis.get_major_locator().set_params(integer=True)
        _mark_best(list(grid), history)
    return figure


def _canvas(classes: Sequence[str]) -> Figure:
    """A figure with room beside it for what a legend of many classes takes."""
    return canvas(SIZE[0] + BESIDE * (len(classes) > FEW), SIZE[1])


Corner = Literal["lower right", "lower left", "upper left"]


def _explain(figure: Figure, axis: Axes, classes: Sequence[str], where: Corner, title: str) -> None:
    """A legend in the corner `where` of the curves, or of many classes beside them."""
    if len(classes) <= FEW:
        axis.legend(loc=where, title=title, alignment="left")
    else:
        figure.legend(loc="outside right upper", title=title, alignment="left")


def _one_against_rest(predictions: pl.DataFrame, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    truth = predictions[f"label_{name}"].cast(pl.Int64).to_numpy()
    return truth, predictions[f"probability_{name}"].cast(pl.Float64).to_numpy()


def _absent(axis: Axes, name: str) -> None:
    axis.plot([], [], linestyle="none", label=f"{name}: undefined, one class only")


def _legend(name: str, entries: Mapping[str, Any]) -> str:
    entry = entries.get(name)
    return name if bounds(entry)[0] is None else f"{name} {estimate(entry, 2)}"


def _unit_square(axis: Axes) -> None:
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    axis.set_xticks(np.linspace(0, 1, 6))
    axis.set_yticks(np.linspace(0, 1, 6))


def _wilson(
    share: NDArray[np.float64], n: NDArray[np.int64], z: float = 1.959964
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's (1927) 95% interval of shares of n cases."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half


def _track(axis: Axes, history: pl.DataFrame, column: str, place: int, label: str | None) -> None:
    known = history.select("epoch", column).drop_nulls()
    axis.plot(
        known["epoch"] + 1,
        known[column],
        color=colour(place),
        linestyle=line(place),
        marker="o" if known.height < 3 else None,
        label=label or column.split("/")[1].replace("_", "–"),
    )


def _mark_best(grid: Sequence[Axes], history: pl.DataFrame) -> None:
    column = next(
        (f"{split}/auc" for split in ("validate", "test") if f"{split}/auc" in history.columns), None
    )
    if column is None:
        return
    known = history.select(pl.col("epoch") + 1, column).drop_nulls().drop_nans()
    if known.is_empty():
        return
    epoch, auc = known.sort(column, "epoch", descending=[True, False]).row(0)
    for axis in grid:
        axis.axvline(epoch, color=MUTED, linewidth=0.8, linestyle=":")
    grid[-1].plot(epoch, auc, "o", color=colour(1), markeredgecolor="w", zorder=4)
    grid[-1].set_title(
        f"best: epoch {epoch}, {auc:.3f}", loc="right", fontsize=8.5, color=INK, weight="normal"
    )
