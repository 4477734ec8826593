"""Figures of the curves of one run: ROC, precision–recall, calibration, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from radgaze.evaluation.metrics import discrimination
from radgaze.evaluation.metrics.calibration import reliability
from radgaze.evaluation.statistics.wilson import wilson_interval
from radgaze.reporting.plotting import diagonal, one_vs_rest, unit_square
from radgaze.reporting.style import INK, MUTED, canvas, colour, line, styled
from radgaze.reporting.wording import bounds, estimate

SIZE = (4.9, 4.5)
SPECIFICITY = 0.9
"""Specificity of the operating point that is marked on each ROC curve."""
FEW = 5
"""Largest number of classes whose legend fits below the curves."""
BESIDE = 3.1
"""Width in inches of a legend beside the curves."""
LINE = 0.19
"""Height in inches of a line of a legend below curves."""
BINS = 5
"""Number of bins of the reliability diagram; with more, a hundred test cases would leave too few in each."""

Entries = Mapping[str, object]
"""Entries of metrics.json by class; see `wording.bounds`."""


def roc(predictions: pl.DataFrame, classes: Sequence[str], auc: Entries) -> Figure:
    """Draw a one-vs-rest ROC curve per class, with the sensitivity at 90% specificity marked.

    Args:
        predictions: One row per test case, with `probability_<class>` and `label_<class>`.
        classes: The classes in the order of the run.
        auc: AUC of each class, for the legend.
    """
    with styled():
        figure = _canvas(classes)
        axis = figure.subplots()
        diagonal(axis)
        axis.axvline(1 - SPECIFICITY, color=MUTED, linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)
        for place, name in enumerate(classes):
            truth, score = one_vs_rest(predictions, name)
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
        unit_square(axis)
        _explain(figure, classes, "AUC")
    return figure


def precision_recall(predictions: pl.DataFrame, classes: Sequence[str], precision: Entries) -> Figure:
    """Draw a precision–recall curve per class; the dotted line of its colour is chance, the class's share.

    Args:
        predictions, classes: Arguments of `roc`.
        precision: Average precision of each class, for the legend.
    """
    with styled():
        figure = _canvas(classes)
        axis = figure.subplots()
        for place, name in enumerate(classes):
            truth, score = one_vs_rest(predictions, name)
            x, y, _ = discrimination.precision_recall(truth, score)
            if not x.size:
                _absent(axis, name)
                continue
            tint = colour(place)
            axis.axhline(truth.mean(), color=tint, linewidth=0.8, linestyle=":", zorder=1)
            label = _legend(name, precision)
            axis.step(x, y, where="post", color=tint, linestyle=line(place), label=label, zorder=3)
        axis.set(xlabel="Recall (sensitivity)", ylabel="Precision", title="Precision–recall")
        unit_square(axis)
        _explain(figure, classes, "Average precision (dotted: chance)")
    return figure


def calibration(predictions: pl.DataFrame, classes: Sequence[str], error: Entries) -> Figure:
    """Draw the observed share against the predicted probability, and below the histogram of probabilities.

    Bins have equal numbers of cases; the intervals are Wilson's 95% intervals.

    Args:
        predictions, classes: Arguments of `roc`.
        error: Calibration error of each class, for the legend.
    """
    with styled():
        figure = _canvas(classes)
        axis, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        diagonal(axis)
        for place, name in enumerate(classes):
            truth, score = one_vs_rest(predictions, name)
            if not truth.size:
                continue
            bins = reliability(truth, score, bins=BINS)
            low, high = wilson_interval(bins.share, bins.cases)
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
        _explain(figure, classes, "Calibration error")
    return figure


def training(history: pl.DataFrame) -> Figure:
    """Draw the classification loss, the losses of the maps and the validation AUC over the epochs.

    The epoch with the best AUC is marked.

    Args:
        history: `epoch`, counted from 0, and any of the columns `train/…`, and `validate/…` or `test/…` for
            the cases by which the epoch was selected.
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
        for axis, (name, drawn) in zip(grid, parts, strict=False):
            for place, column in enumerate(drawn):
                split = column.split("/")[0]
                label = {"train": "training", "validate": "validation"}.get(split, split)
                is_map_loss = name == "Map loss"
                style = place + 2 if is_map_loss else int(split != "train")
                _track(axis, history, column, style, None if is_map_loss else label)
            axis.set_ylabel(name)
            axis.legend(loc="best", fontsize=8)
        grid[0].set_title("Training")
        grid[-1].set_xlabel("Epoch")
        grid[-1].xaxis.get_major_locator().set_params(integer=True)
        _mark_best(list(grid), history)
    return figure


def _canvas(classes: Sequence[str]) -> Figure:
    """Create a figure with room for the legend: below the curves, or for many classes beside them."""
    if len(classes) > FEW:
        return canvas(SIZE[0] + BESIDE, SIZE[1])
    return canvas(SIZE[0], SIZE[1] + LINE * (1 + len(classes)))


def _explain(figure: Figure, classes: Sequence[str], title: str) -> None:
    """Add the legend, which covers no curve."""
    if len(classes) <= FEW:
        figure.legend(loc="outside lower left", title=title, alignment="left")
    else:
        figure.legend(loc="outside right upper", title=title, alignment="left")


def _absent(axis: Axes, name: str) -> None:
    axis.plot([], [], linestyle="none", label=f"{name}: undefined, one class only")


def _legend(name: str, entries: Entries) -> str:
    entry = entries.get(name)
    return name if bounds(entry)[0] is None else f"{name} {estimate(entry, 2)}"


def _track(axis: Axes, history: pl.DataFrame, column: str, place: int, label: str | None) -> None:
    points = history.select("epoch", column).drop_nulls()
    axis.plot(
        points["epoch"] + 1,
        points[column],
        color=colour(place),
        linestyle=line(place),
        marker="o" if points.height < 3 else None,
        label=label or column.split("/")[1].replace("_", "–"),
    )


def _mark_best(grid: Sequence[Axes], history: pl.DataFrame) -> None:
    column = next(
        (f"{split}/auc" for split in ("validate", "test") if f"{split}/auc" in history.columns), None
    )
    if column is None:
        return
    points = history.select(pl.col("epoch") + 1, column).drop_nulls().drop_nans()
    if points.is_empty():
        return
    epoch, auc = points.sort(column, "epoch", descending=[True, False]).row(0)
    for axis in grid:
        axis.axvline(epoch, color=MUTED, linewidth=0.8, linestyle=":")
    grid[-1].plot(epoch, auc, "o", color=colour(1), markeredgecolor="w", zorder=4)
    grid[-1].set_title(
        f"best: epoch {epoch}, {auc:.3f}", loc="right", fontsize=8.5, color=INK, weight="normal"
    )
