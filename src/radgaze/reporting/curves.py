"""The curves of one run: ROC, precision–recall, calibration, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from radgaze.reporting.style import INK, MUTED, canvas, colour, line, styled
from radgaze.reporting.wording import bounds, number

SIZE = (4.9, 4.5)
SPECIFICITY = 0.9  # of the operating point marked on each ROC curve


def roc(predictions: pl.DataFrame, classes: Sequence[str], auc: Mapping[str, Any]) -> Figure:
    """One ROC curve per class, one against the rest, with the sensitivity at 90% specificity marked.

    Args:
        predictions: One row per test case, with `probability_<class>` and `label_<class>`.
        classes: The classes in the order of the run.
        auc: Per class the AUC's entry of metrics.json, for the legend.
    """
    with styled():
        figure = canvas(*SIZE)
        axis = figure.subplots()
        axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
        for place, name in enumerate(classes):
            truth, score = _one_against_rest(predictions, name)
            if not _both(truth):
                _absent(axis, name)
                continue
            false, true, _ = roc_curve(truth, score, drop_intermediate=False)
            axis.plot(
                false, true, color=colour(place), linestyle=line(place), label=_legend(name, auc), zorder=3
            )
            sensitivity = float(true[false <= 1 - SPECIFICITY + 1e-12].max())
            axis.plot(
                1 - SPECIFICITY, sensitivity, "o", color=colour(place), markeredgecolor="white", zorder=4
            )
        axis.axvline(1 - SPECIFICITY, color=MUTED, linewidth=0.8, linestyle=(0, (1, 3)), zorder=1)
        axis.set(xlabel="1 − specificity", ylabel="Sensitivity", title="ROC")
        _unit_square(axis)
        axis.legend(loc="lower right", title="AUC", alignment="left")
    return figure


def precision_recall(
    predictions: pl.DataFrame, classes: Sequence[str], precision: Mapping[str, Any]
) -> Figure:
    """One precision–recall curve per class; the dotted line of the same colour is the class's share, i.e. chance."""
    with styled():
        figure = canvas(*SIZE)
        axis = figure.subplots()
        for place, name in enumerate(classes):
            truth, score = _one_against_rest(predictions, name)
            if not _both(truth):
                _absent(axis, name)
                continue
            value, recall, _ = precision_recall_curve(truth, score)
            axis.axhline(truth.mean(), color=colour(place), linewidth=0.8, linestyle=":", zorder=1)
            axis.step(
                recall,
                value,
                where="post",
                color=colour(place),
                linestyle=line(place),
                label=_legend(name, precision),
                zorder=3,
            )
        axis.set(xlabel="Recall (sensitivity)", ylabel="Precision", title="Precision–recall")
        _unit_square(axis)
        axis.legend(loc="lower left", title="Average precision (dotted: chance)", alignment="left")
    return figure


def calibration(predictions: pl.DataFrame, classes: Sequence[str], error: Any, *, bins: int = 5) -> Figure:
    """Observed share against predicted probability per class, in bins of equal numbers, with 95% Wilson intervals.

    Below, how the predicted probabilities are distributed.
    """
    with styled():
        figure = canvas(*SIZE)
        axis, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":", zorder=1)
        for place, name in enumerate(classes):
            truth, score = _one_against_rest(predictions, name)
            if truth.size == 0:
                continue
            parts = [part for part in np.array_split(np.argsort(score, kind="stable"), bins) if part.size]
            mean = np.array([score[part].mean() for part in parts])
            share = np.array([truth[part].mean() for part in parts])
            low, high = np.array([_wilson(int(truth[part].sum()), part.size) for part in parts]).T
            axis.errorbar(
                mean,
                share,
                yerr=(np.clip(share - low, 0, None), np.clip(high - share, 0, None)),
                color=colour(place),
                linestyle=line(place),
                elinewidth=0.7,
                marker="o",
                markersize=4.5,
                label=_legend(name, error if isinstance(error, Mapping) else {}),
            )
            below.hist(score, bins=20, range=(0, 1), histtype="step", color=colour(place), linewidth=1.2)
        axis.set(ylabel="Observed share", title="Calibration")
        below.set(xlabel="Predicted probability", ylabel="Cases")
        axis.set(xlim=(0, 1), ylim=(0, 1))
        axis.legend(loc="upper left", title="Calibration error" if isinstance(error, Mapping) else None)
    return figure


def training(history: pl.DataFrame) -> Figure:
    """Loss and AUC over the epochs; the epoch whose weights were kept (best validation AUC) is marked.

    Args:
        history: `epoch` and any of the columns `train/…` and `validate/…`.
    """
    losses = [c for c in history.columns if c.endswith("/loss")]
    scores = [c for c in history.columns if c.endswith("/auc")]
    with styled():
        figure = canvas(*SIZE)
        grid = figure.subplots(1 + bool(scores), 1, sharex=True, squeeze=False)[:, 0]
        for place, name in enumerate(losses):
            _track(grid[0], history, name, place)
        grid[0].set(ylabel="Loss", title="Training")
        if losses:
            grid[0].legend(loc="upper right")
        if scores:
            for place, name in enumerate(scores):
                _track(grid[1], history, name, place + (len(scores) == 1))
            _mark_best(grid, history)
            grid[1].set(ylabel="Macro AUC")
            grid[1].legend(loc="lower right")
        grid[-1].set_xlabel("Epoch")
        grid[-1].xaxis.get_major_locator().set_params(integer=True)
    return figure


def _one_against_rest(predictions: pl.DataFrame, name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    truth = predictions[f"label_{name}"].cast(pl.Int64).to_numpy()
    return truth, predictions[f"probability_{name}"].cast(pl.Float64).to_numpy()


def _both(truth: NDArray[np.int64]) -> bool:
    return truth.size > 0 and 0 < truth.sum() < truth.size


def _absent(axis: Axes, name: str) -> None:
    axis.plot([], [], linestyle="none", label=f"{name}: undefined, one class only")


def _legend(name: str, entries: Mapping[str, Any]) -> str:
    value, low, high = bounds(entries.get(name))
    if value is None:
        return name
    interval = f" [{number(low, 2)}, {number(high, 2)}]" if low is not None and high is not None else ""
    return f"{name} {number(value, 2)}{interval}"


def _unit_square(axis: Axes) -> None:
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    axis.set_xticks(np.linspace(0, 1, 6))
    axis.set_yticks(np.linspace(0, 1, 6))


def _wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's (1927) 95% interval of a share."""
    p = successes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half


def _track(axis: Axes, history: pl.DataFrame, name: str, place: int) -> None:
    known = history.select("epoch", name).drop_nulls().group_by("epoch", maintain_order=True).last()
    marker = "o" if known.height < 3 else None
    axis.plot(
        known["epoch"],
        known[name],
        color=colour(place),
        linestyle=line(place),
        marker=marker,
        label=name.split("/")[0],
    )


def _mark_best(grid: Sequence[Axes] | NDArray[Any], history: pl.DataFrame) -> None:
    if "validate/auc" not in history.columns:
        return
    known = history.select("epoch", "validate/auc").drop_nulls().drop_nans()
    if known.is_empty():
        return
    best = known.sort("validate/auc", "epoch", descending=[True, False]).row(0)
    for axis in grid:
        axis.axvline(best[0], color=MUTED, linewidth=0.8, linestyle=":")
    grid[1].annotate(
        f"best, epoch {best[0]}: {best[1]:.3f}",
        best,
        xytext=(0, -14),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        color=INK,
    )
