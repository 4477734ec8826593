"""Make docs/images/phantom_methods.png: every comparison method on the demo's confounded phantoms.

The figures are those of benchmarks/results/phantom_methods.json, which `python -m benchmarks phantom_methods`
writes. From the root of the repository, some seconds:

    .venv/bin/python docs/figures/phantom_methods.py
"""

from __future__ import annotations

import json
from pathlib import Path

from radgaze.reporting.style import COLOURS, MUTED, canvas, save, styled

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "phantom_methods.png"
RESULTS = ROOT / "benchmarks" / "results" / "phantom_methods.json"
PLAIN = "no_decoder"
COLUMNS = {
    "AUC": "AUC, no confounder",
    "heatmap NSS": "NSS, guided back-propagation",
    "Grad-CAM NSS": "NSS, Grad-CAM",
}


def main() -> None:
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    ordered = sorted(rows, key=lambda row: spread(row["AUC"])[0])
    names = [row["method"] for row in ordered]
    plain = next(row for row in rows if row["method"] == PLAIN)
    with styled():
        figure = canvas(9.0, 1.0 + 0.22 * len(names))
        axes = figure.subplots(1, len(COLUMNS), sharey=True, gridspec_kw={"wspace": 0.1})
        for axis, (column, title) in zip(axes, COLUMNS.items(), strict=True):
            means, deviations = zip(*(spread(row[column]) for row in ordered), strict=True)
            axis.errorbar(means, names, xerr=deviations, fmt="o", color=COLOURS[0], markersize=4, linewidth=1)
            axis.axvline(spread(plain[column])[0], color=MUTED, linestyle="--", linewidth=1)
            axis.locator_params(axis="x", nbins=4)
            axis.set_xlabel(title)
        figure.suptitle(f"Mean ± standard deviation over seeds; the dashed line is {PLAIN}")
        save(figure, PICTURE)


def spread(cell: str) -> tuple[float, float]:
    """Mean and standard deviation in a cell such as "0.612 ± 0.031"; 0 without a deviation."""
    value, _, deviation = cell.partition(" ± ")
    return float(value), float(deviation or 0)


if __name__ == "__main__":
    main()
