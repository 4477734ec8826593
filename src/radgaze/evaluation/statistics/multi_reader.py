"""Means, and paired differences, over several readers and cases, both of which stand for more of their kind.

Where each reader read each case, the model is y_rc = μ + R_r + C_c + E_rc, and the variance of the mean is
(MS_R + max(MS_C − MS_E, 0)) / (RC) with Hillis' (2007, eq. 20) degrees of freedom. Of the differences between
two conditions this is the analysis of Dorfman, Berbaum and Metz (1992), and so of Obuchowski and Rockette
(1995); of an AUC it is applied to the jackknife's pseudovalues. Otherwise, as where each case is read once by
a reader, `statsmodels` fits a linear mixed model with random effects of readers and cases, and of how the
effect of the condition differs between them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from radgaze.errors import UserError
from radgaze.evaluation.statistics.delong import flags, placements
from radgaze.evaluation.statistics.resampling import LEVEL

Floats = NDArray[np.float64]

LEAST_READERS = 3
"""Number of readers below which nothing is said about readers in general."""
LEAST_CASES = 6
"""Number of cases below which there is no interval."""
NONE = float("nan")


@dataclass(frozen=True)
class ReaderMean:
    """A mean, or a difference of means, over readers and cases.

    Attributes:
        value: The mean.
        error: Standard error; NaN where there is none.
        freedom: Degrees of freedom of its t distribution.
        readers: Number of readers.
        cases: Number of cases.
        method: "anova" for the balanced analysis, "mixed" for the linear mixed model, or "" for none.
    """

    value: float
    error: float
    freedom: float
    readers: int
    cases: int
    method: str = ""

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval; NaN where there is none."""
        half = float(stats.t.ppf((1 + LEVEL) / 2, self.freedom)) * self.error
        return self.value - half, self.value + half

    @property
    def p(self) -> float:
        """Two-sided p-value of "the mean is 0"; NaN where there is none."""
        if self.error == 0:
            return 1.0 if self.value == 0 else NONE
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.freedom))


def mean_over_readers(values: ArrayLike) -> ReaderMean:
    """Average figures that each reader has of each case.

    Args:
        values: Array (R, C) without NaN, such as the differences between two conditions.

    Returns:
        The mean; without an error for fewer than `LEAST_READERS` or `LEAST_CASES`, or where all are equal.
    """
    y = np.asarray(values, dtype=np.float64)
    R, C = y.shape
    mean = float(y.mean()) if y.size else NONE
    if R < LEAST_READERS or C < LEAST_CASES:
        return ReaderMean(mean, NONE, NONE, R, C)
    of_readers, of_cases = y.mean(1), y.mean(0)
    MS_R = C * ((of_readers - mean) ** 2).sum() / (R - 1)
    MS_C = R * ((of_cases - mean) ** 2).sum() / (C - 1)
    rest = y - of_readers[:, None] - of_cases[None, :] + mean
    MS_E = (rest**2).sum() / ((R - 1) * (C - 1))
    variance = MS_R + max(MS_C - MS_E, 0.0)
    if variance <= 1e-15:
        return ReaderMean(mean, NONE, NONE, R, C, "anova")
    # Where readers agree perfectly, MS_R is 0 and all of the error is that of the cases.
    freedom = min(variance**2 * (R - 1) / MS_R**2, 1e6) if MS_R > 1e-15 else float(C - 1)
    return ReaderMean(mean, float(np.sqrt(variance / (R * C))), float(freedom), R, C, "anova")


def pseudovalues(labels: ArrayLike, scores: ArrayLike) -> Floats:
    """The jackknife's pseudovalues n·AUC − (n − 1)·AUC without the case, of each case and reader.

    Their mean over the cases is the AUC.

    Args:
        labels: Array (C,): 1 for cases with the disease.
        scores: Array (R, C): higher where the reader is more sure of it.

    Returns:
        Array (R, C); NaN where there are fewer than two cases with or without the disease.

    Raises:
        ValueError: Labels are not 0 or 1.
    """
    y, s = flags(labels), np.atleast_2d(np.asarray(scores, dtype=np.float64))
    m, n, N = int(y.sum()), int((~y).sum()), y.size
    if m < 2 or n < 2:
        return np.full(s.shape, NONE)
    placed = placements(y, s)  # negatives below a positive, and positives below a negative
    correct = np.where(y, placed, m - placed)  # pairs that the case is ordered correctly in
    total = placed[:, y].sum(1, keepdims=True)
    pairs = np.where(y, (m - 1) * n, m * (n - 1))
    values: Floats = N * total / (m * n) - (N - 1) * (total - correct) / pairs
    return values


def mixed_mean(y: ArrayLike, readers: ArrayLike, cases: ArrayLike) -> ReaderMean:
    """Estimate the mean of figures (n,), of some readers and some cases, with a linear mixed model."""
    y = np.asarray(y, dtype=np.float64)
    return _mixed(y, np.ones((len(y), 1)), readers, cases, float(y.mean()) if y.size else NONE)


def mixed_difference(y: ArrayLike, condition: ArrayLike, readers: ArrayLike, cases: ArrayLike) -> ReaderMean:
    """Estimate the difference between two conditions with a linear mixed model.

    Args:
        y: Figures, an array (n,).
        condition: 0 or 1 for each of them.
        readers: Reader of each, an array (n,) of any kind of name.
        cases: Case of each.

    Returns:
        The difference. Its degrees of freedom, which the library does not give, are those of
        `mean_over_readers` with the fitted variances in place of the mean squares.
    """
    y, t = np.asarray(y, dtype=np.float64), np.asarray(condition, dtype=np.float64)
    both = 0 < t.sum() < t.size
    value = float(y[t == 1].mean() - y[t == 0].mean()) if both else NONE
    return _mixed(y, np.column_stack([np.ones_like(t), t - 0.5]), readers, cases, value)


def _mixed(y: Floats, X: Floats, readers: ArrayLike, cases: ArrayLike, plain: float) -> ReaderMean:
    """The coefficient of the last column of X; `plain`, without an error, where no model can be fitted."""
    r, c = (np.unique(np.asarray(each), return_inverse=True)[1] for each in (readers, cases))
    R, C = (len(np.unique(each)) for each in (r, c))
    none = ReaderMean(plain, NONE, NONE, R, C)
    if R < LEAST_READERS or C < LEAST_CASES or not np.isfinite(plain) or np.ptp(y) < 1e-12:
        return none
    crossed = {"reader": _indicators(r), "case": _indicators(c)}
    by_reader, by_case = "reader", "case"
    if X.shape[1] > 1:
        by_reader, by_case = "reader:condition", "case:condition"
        crossed[by_reader] = crossed["reader"] * X[:, -1:]
        if len(np.unique(np.column_stack([c, X[:, -1]]), axis=0)) > C:  # cases that were read in both
            crossed[by_case] = crossed["case"] * X[:, -1:]
    fitted = _fit(y, X, crossed)
    if fitted is None:
        return none
    of_cases = fitted.variances.get(by_case, 0.0) / C
    share = min(of_cases / fitted.error**2, 0.9)
    return ReaderMean(fitted.value, fitted.error, (R - 1) / (1 - share) ** 2, R, C, "mixed")


def _indicators(places: NDArray[np.int64]) -> Floats:
    """Columns (n, groups) with a 1 for the group of each row."""
    return np.eye(places.max() + 1)[places]


@dataclass(frozen=True)
class _Fitted:
    """The last coefficient of a mixed model, its standard error, and the variance of each random effect."""

    value: float
    error: float
    variances: dict[str, float]


def _fit(y: Floats, X: Floats, crossed: dict[str, Floats]) -> _Fitted | None:
    """Fit a mixed model by restricted maximum likelihood; None where the fit fails.

    Args:
        y: Figures (n,).
        X: Columns of the fixed effects, (n, k).
        crossed: Columns of each random effect, (n, groups), by its name.
    """
    try:
        from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec
    except ImportError as error:
        raise UserError(
            "a study in which not every reader read every case in every condition needs statsmodels: "
            'pip install "radgaze[view]"'
        ) from error
    names, columns = list(crossed), list(crossed.values())
    labels = [[[str(k) for k in range(each.shape[1])]] for each in columns]
    scale = float(y.std())
    spec = VCSpec(names, labels, [[each] for each in columns])
    model = MixedLM(y / scale, X, groups=np.zeros(len(y)), exog_vc=spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a variance of 0 lies at the edge of what is allowed
        for method in ("lbfgs", "powell"):
            try:
                result = model.fit(reml=True, method=method)
            except (np.linalg.LinAlgError, ValueError):
                continue
            spread = float(result.bse_fe[-1])
            if np.isfinite(spread) and spread > 0:
                fitted = zip(model.exog_vc.names, result.vcomp, strict=True)
                variances = {name: float(value) * scale**2 for name, value in fitted}
                return _Fitted(float(result.fe_params[-1]) * scale, spread * scale, variances)
    return None
