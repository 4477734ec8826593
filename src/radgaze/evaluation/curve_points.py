"""The curves of a run's test cases, as the table curves.parquet."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from radgaze.evaluation.metrics import calibration, discrimination

SCHEMA = {
    "curve": pl.String,
    "class": pl.String,
    "x": pl.Float64,
    "y": pl.Float64,
    "threshold": pl.Float64,
    "cases": pl.Int64,
}


def curves(predictions: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """Compute the ROC, precision–recall and reliability curves of each class.

    Args:
        predictions: One row per case: `probability_<class>` and `label_<class>`.
        classes: Names of the classes.

    Returns:
        A row for each point, see `SCHEMA`. x and y are 1 − specificity and sensitivity for "roc", recall and
        precision for "precision_recall", and mean probability and share of the class in a bin for
        "reliability". `threshold` is null for "reliability", `cases` for the other two.
    """
    parts = [pl.DataFrame(schema=SCHEMA)]
    for name in classes:
        labels = predictions[f"label_{name}"].to_numpy()
        scores = predictions[f"probability_{name}"].to_numpy()
        bins = calibration.reliability(labels, scores)
        columns = {
            "roc": (*discrimination.roc(labels, scores), None),
            "precision_recall": (*discrimination.precision_recall(labels, scores), None),
            "reliability": (bins.probability, bins.share, None, bins.cases),
        }
        for curve, (x, y, threshold, cases) in columns.items():
            missing = [None] * len(x)
            content = {
                "curve": [curve] * len(x),
                "class": [name] * len(x),
                "x": x,
                "y": y,
                "threshold": missing if threshold is None else threshold,
                "cases": missing if cases is None else cases,
            }
            parts.append(pl.DataFrame(content, schema=SCHEMA))
    return pl.concat(parts)
