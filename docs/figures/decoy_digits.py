"""Make docs/images/decoy_digits.png: the decoy digits, and what each comparison method makes of them.

The bars are those of benchmarks/results/decoy_digits.json, which `python -m benchmarks decoy_digits` writes.
From the root of the repository, some seconds:

    .venv/bin/python docs/figures/decoy_digits.py
"""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import SubFigure

from radgaze.reporting.style import COLOURS, MUTED, canvas, save, styled
from radgaze.simulation.digits import draw

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "decoy_digits.png"
RESULTS = ROOT / "benchmarks" / "results" / "decoy_digits.json"
PLAIN, CLEAN = "plain", "plain, without a decoy in training"
SHOWN = 5


def main() -> None:
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    accuracy = {row["method"]: (row["test accuracy"], row["lowest"], row["highest"]) for row in rows}
    with styled():
        figure = canvas(8.0, 1.2 + 0.24 * len(accuracy))
        left, right = figure.subfigures(1, 2, width_ratios=(1, 2.2))
        _examples(left)
        _bars(right, accuracy)
        save(figure, PICTURE)


def _examples(figure: SubFigure) -> None:
    """Digits of training and of test, the same digits with other patches."""
    rows = {"Training": draw(SHOWN, 3, decoy=True), "Test": draw(SHOWN, 3, decoy=False)}
    axes = figure.subplots(SHOWN, len(rows))
    for column, (title, digits) in enumerate(rows.items()):
        for row in range(SHOWN):
            axis = axes[row][column]
            axis.imshow(digits.images[row, 0], cmap="gray", vmin=0, vmax=1)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(visible=False)
        axes[0][column].set_title(title)


def _bars(figure: SubFigure, accuracy: dict[str, tuple[float, float, float]]) -> None:
    """The mean accuracy of each method, with its range over the seeds."""
    methods = {name: values for name, values in accuracy.items() if name not in (PLAIN, CLEAN)}
    ordered = sorted(methods, key=lambda name: methods[name])
    means, lowest, highest = zip(*(methods[name] for name in ordered), strict=True)
    ranges = [[m - low for m, low in zip(means, lowest, strict=True)]]
    ranges.append([high - m for m, high in zip(means, highest, strict=True)])
    axis = figure.subplots()
    axis.barh(ordered, means, xerr=ranges, color=COLOURS[0], ecolor=MUTED, height=0.7)
    for name, style in ((PLAIN, "--"), (CLEAN, ":")):
        axis.axvline(accuracy[name][0], color=MUTED, linestyle=style, linewidth=1.2, label=name, zorder=0)
    for name, mean in zip(ordered, means, strict=True):
        axis.text(0.01, name, f"{mean:.2f}", va="center", fontsize=8, color="white")
    axis.set_xlim(0, 1.02)
    axis.grid(visible=False, axis="y")
    axis.set_xlabel("Accuracy on test digits,\nmean and range of the seeds")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1)


if __name__ == "__main__":
    main()
