"""The figures of a search: its course, and the importance of each field."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from radgaze.reporting.style import MUTED, canvas, colour, styled

_LOOKS = {"finished": ("o", 0), "pruned": ("x", 1)}


def history(trials: pl.DataFrame) -> Figure:
    """Draw the validation AUC of each trial, and the best AUC of the finished trials so far as a line.

    Args:
        trials: Table with `trial`, `state` and `validation_auc`, sorted by `trial`.
    """
    with_auc = trials.filter(pl.col("validation_auc").is_not_null())
    with styled():
        figure = canvas(6.4, 3.6)
        axis = figure.subplots()
        done = with_auc.filter(state="finished")
        if done.height:
            steps = np.append(done["trial"].to_numpy(), trials["trial"].to_numpy().max())
            highest = done["validation_auc"].cum_max().to_numpy()
            axis.step(
                steps,
                np.append(highest, highest[-1]),
                where="post",
                color=colour(2),
                label="best so far",
                zorder=2,
            )
        for state, (marker, place) in _LOOKS.items():
            of_state = with_auc.filter(state=state)
            if of_state.height:
                axis.plot(
                    of_state["trial"],
                    of_state["validation_auc"],
                    marker,
                    color=colour(place),
                    label=f"{state} ({of_state.height})",
                    zorder=3,
                )
        failed = trials.filter(state="failed")
        if failed.height:
            ends = np.full(failed.height, 0.02)
            axis.plot(
                failed["trial"],
                ends,
                "|",
                color=MUTED,
                markersize=9,
                transform=axis.get_xaxis_transform(),
                label=f"failed ({failed.height})",
            )
        axis.set(xlabel="Trial", ylabel="Best validation AUC", title="Course of the search")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(loc="best")
    return figure


def importance(shares: Mapping[str, float], trials: int) -> Figure:
    """Draw a bar for each field: its share of the variance of the validation AUC.

    Args:
        shares: Share of each field, largest first.
        trials: Number of trials.
    """
    with styled():
        figure = canvas(6.4, 1.3 + 0.3 * max(2, len(shares)))
        axis = figure.subplots()
        places = np.arange(len(shares))
        axis.barh(places, list(shares.values()), color=colour(0), height=0.65)
        for place, share in zip(places, shares.values(), strict=True):
            axis.annotate(f"{share:.0%}", (share, place), (3, 0), textcoords="offset points", va="center")
        axis.set_yticks(places, list(shares))
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0)
        axis.set_xlim(0, max(shares.values()) * 1.12)
        axis.set(
            xlabel="Share of the variance of the validation AUC (fANOVA)",
            title=f"What mattered, over {trials} trials",
        )
    return figure
