"""The gap closed, against Fieller's formula and a computation by hand on made predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from radgaze.evaluation.gap import Gaps, gaps
from radgaze.evaluation.statistics.ratio import ratio_over_seeds
from radgaze.evaluation.statistics.resampling import Estimate
from radgaze.runs.run import Run
from tests.evaluation.known import known
from tests.reporting.fakes import CLASSES, FakeRun

Floats = NDArray[np.float64]
LABELS = [f"label_{name}" for name in CLASSES]
SCORES = [f"probability_{name}" for name in CLASSES]


def run(folder: Path, name: str, seed: int, skill: float, cases: int = 0) -> FakeRun:
    """A run of which the test has the predictions; runs with the same `cases` have the same test cases."""
    path = folder / name / str(seed)
    noise = 100 * sum(map(ord, name)) + seed
    return FakeRun(path, experiment="baseline", seed=noise, cases=cases, skill=skill, test_cases=90)


def found(runs: Mapping[str, Mapping[int, FakeRun]], clean: Mapping[int, FakeRun]) -> Gaps:
    as_runs: dict[str, dict[int, Run]] = {name: dict(by_seed) for name, by_seed in runs.items()}
    return gaps(as_runs, dict(clean), CLASSES, resamples=400, seed=0)


def macro(table: pl.DataFrame) -> float:
    return float(roc_auc_score(table.select(LABELS).to_numpy(), table.select(SCORES).to_numpy()))


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, FakeRun]]:
    folder, skills = tmp_path_factory.mktemp("gap"), {"baseline": 0.3, "exchange": 1.0, "rrr": 0.35}
    return {name: {s: run(folder, name, s, skill) for s in range(3)} for name, skill in skills.items()}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[int, FakeRun]:
    return {s: run(tmp_path_factory.mktemp("clean"), "clean", s, 1.4) for s in range(3)}


def test_without_an_effect_of_cases_the_interval_is_fiellers() -> None:
    rng = np.random.default_rng(3)
    above, below = 0.2 + 0.03 * rng.normal(size=5), 0.3 + 0.05 * rng.normal(size=5)
    value, (low, high) = ratio_over_seeds(*([Estimate(x, np.full(9, x)) for x in y] for y in (above, below)))
    a, b, t = above.mean(), below.mean(), stats.t.ppf(0.975, 4)
    v = np.cov(above, below) / 5
    # The roots of (a − ρb)² = t² (v₀₀ − 2ρv₀₁ + ρ²v₁₁).
    roots = np.roots([b**2 - t**2 * v[1, 1], -2 * (a * b - t**2 * v[0, 1]), a**2 - t**2 * v[0, 0]])
    assert value == pytest.approx(a / b)
    assert [low, high] == pytest.approx(sorted(roots), abs=5e-3)


def test_one_seed_has_the_ratios_at_which_the_resampled_difference_leaves_zero() -> None:
    rng = np.random.default_rng(4)
    above, below = 0.2 + 0.05 * rng.normal(size=999), 0.3 + 0.05 * rng.normal(size=999)
    value, (low, high) = ratio_over_seeds([Estimate(0.2, above)], [Estimate(0.3, below)])
    assert value == pytest.approx(2 / 3)
    inside = [
        rho
        for rho in np.linspace(-1, 3, 4001)
        if np.quantile(above - rho * below, 0.025) <= 0 <= np.quantile(above - rho * below, 0.975)
    ]
    assert (low, high) == pytest.approx((min(inside), max(inside)), abs=2e-3)


def test_the_gap_closed_is_the_ratio_of_the_mean_gains(
    grid: dict[str, dict[int, FakeRun]], clean: dict[int, FakeRun]
) -> None:
    computed = found(grid, clean)
    auc = {name: [macro(runs[s].test()) for s in range(3)] for name, runs in {**grid, "clean": clean}.items()}
    size = np.mean(np.subtract(auc["clean"], auc["baseline"]))
    assert computed.clean.value == pytest.approx(np.mean(auc["clean"]))
    assert computed.size.value == pytest.approx(size)
    assert (computed.lack, computed.shared, computed.seeds) == ("", 3, 3)
    assert set(computed.closed) == {"exchange", "rrr"}
    for name, gap in computed.closed.items():
        assert gap.value == pytest.approx(np.mean(np.subtract(auc[name], auc["baseline"])) / size)
        low, high = interval_by_hand(
            [[runs[s].test() for s in range(3)] for runs in (grid[name], clean, grid["baseline"])]
        )
        assert (gap.low, gap.high) == pytest.approx((low, high), abs=0.1 * (high - low))
        assert gap.seeds == 3


def interval_by_hand(tables: Sequence[Sequence[pl.DataFrame]]) -> tuple[float, float]:
    """Resample patients and scan ratios, for the tables of a method, the clean run and the baseline."""
    rng = np.random.default_rng(9)
    values = np.array([[macro(table) for table in of_run] for of_run in tables])
    weights = drawn(tables[0][0], rng)
    resampled = np.array([[weighted_macro(table, weights) for table in of_run] for of_run in tables])
    gains, gains_drawn = ((x[0] - x[2], x[1] - x[2]) for x in (values, resampled))
    z, t = rng.normal(size=40_000), rng.standard_t(2, size=40_000)
    inside = []
    for rho in np.linspace(-2, 3, 1001):
        figures, shared = gains[0] - rho * gains[1], np.cov(gains_drawn[0] - rho * gains_drawn[1])
        c = (shared.sum() - np.trace(shared)) / 6
        spread = np.sqrt(max(0.0, c)) * z + figures.std(ddof=1) / np.sqrt(3) * t
        low, high = np.quantile(figures.mean() + spread, [0.025, 0.975])
        inside += [rho] if low <= 0 <= high else []
    return min(inside), max(inside)


def drawn(table: pl.DataFrame, rng: np.random.Generator, count: int = 600) -> Floats:
    """How often each case is in each resample of the patients of each class, (count, n)."""
    truth, patients = table.select(LABELS).to_numpy().argmax(1), table["patient"].to_numpy()
    first = {p: truth[np.flatnonzero(patients == p)[0]] for p in np.unique(patients)}
    weights = np.zeros((count, len(patients)))
    for row in weights:
        for k in range(3):
            same = [p for p, c in first.items() if c == k]
            for p in rng.choice(same, len(same)):
                row[patients == p] += 1
    return weights


def weighted_macro(table: pl.DataFrame, weights: Floats) -> Floats:
    """The macro AUC on each resample: the share of the pairs of a case with and one without the class."""
    aucs = []
    for label, score in zip(LABELS, SCORES, strict=True):
        has, x = table[label].to_numpy() == 1, table[score].to_numpy()
        ordered = (x[has][:, None] > x[~has]).astype(float)
        won = ((weights[:, has] @ ordered) * weights[:, ~has]).sum(1)
        aucs.append(won / (weights[:, has].sum(1) * weights[:, ~has].sum(1)))
    means: Floats = np.mean(np.stack(aucs), 0)
    return means


def test_a_method_with_the_predictions_of_the_clean_run_closes_exactly_all_of_the_gap(
    grid: dict[str, dict[int, FakeRun]], clean: dict[int, FakeRun]
) -> None:
    gap = found({"baseline": grid["baseline"], "ideal": clean}, clean).closed["ideal"]
    assert (gap.value, gap.low, gap.high) == pytest.approx((1, 1, 1), abs=1e-3)


def test_other_test_patients_are_resampled_on_their_own(
    grid: dict[str, dict[int, FakeRun]], clean: dict[int, FakeRun], tmp_path: Path
) -> None:
    one = {name: {0: runs[0]} for name, runs in grid.items()}
    same = found(one, {0: clean[0]})
    other = found(one, {0: run(tmp_path, "clean", 0, 1.4, cases=50)})
    assert (same.shared, other.shared, other.seeds) == (1, 0, 1)
    assert other.closed["exchange"].value is not None
    # Patients without a common draw: the variance of the difference is the sum of both.
    test = known(other.clean.high) - known(other.clean.low)
    assert known(other.size.high) - known(other.size.low) > test


def test_no_gap_no_clean_run_and_no_common_seed_are_undefined_and_told_apart(
    grid: dict[str, dict[int, FakeRun]], clean: dict[int, FakeRun], tmp_path: Path
) -> None:
    equal = {s: run(tmp_path, "equal", s, 0.3) for s in range(3)}
    cases = {
        "no gap": (grid, equal),
        "no clean run": (grid, {}),
        "no baseline": ({"exchange": grid["exchange"]}, clean),
        "no common seed": (grid, {7: clean[0]}),
    }
    for lack, (runs, reference) in cases.items():
        computed = found(runs, reference)
        assert computed.lack == lack
        assert {(gap.value, gap.lack) for gap in computed.closed.values()} == {(None, lack)}
    assert known(found(grid, equal).size.low) < 0


def test_two_seeds_have_a_value_and_no_interval(
    grid: dict[str, dict[int, FakeRun]], clean: dict[int, FakeRun]
) -> None:
    gap = found(grid, {s: clean[s] for s in (0, 1)}).closed["exchange"]
    assert gap.value is not None
    assert (gap.low, gap.high, gap.has_too_few_seeds) == (None, None, True)


def test_a_control_that_failed_for_a_seed_is_compared_on_the_others(
    grid: dict[str, dict[int, FakeRun]], clean: dict[int, FakeRun]
) -> None:
    runs = {**grid, "exchange": {s: grid["exchange"][s] for s in (0, 2)}}
    gap = found(runs, clean).closed["exchange"]
    auc = {name: [macro(each[s].test()) for s in (0, 2)] for name, each in {**runs, "clean": clean}.items()}
    gain = np.subtract(auc["exchange"], auc["baseline"]).sum()
    assert gap.value == pytest.approx(gain / np.subtract(auc["clean"], auc["baseline"]).sum())
    assert gap.seeds == 2
