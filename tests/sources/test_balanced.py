"""Rounding at random: each chance exactly, sums as nearly as whole units let."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import numpy as np
import pytest

from radgaze.sources.balanced import balanced_rounding


class Scripted(random.Random):
    """Goes the ways that it is told, and multiplies up how likely they were."""

    def __init__(self, ways: tuple[bool, ...]) -> None:
        super().__init__(0)
        self.ways, self.taken, self.likelihood = ways, 0, 1.0

    def random(self) -> float:
        return Step(self)

    def goes_forth(self, likelihood: float) -> bool:
        forth = self.ways[self.taken] if self.taken < len(self.ways) else True
        self.taken += 1
        self.likelihood *= likelihood if forth else 1 - likelihood
        return forth


class Step(float):
    """In place of a number at random: times a total, it is below another number where the script says so."""

    def __new__(cls, script: Scripted) -> Self:
        return super().__new__(cls)

    def __init__(self, script: Scripted) -> None:
        self.script, self.total = script, 1.0

    def __mul__(self, total: float) -> Self:
        self.total = total
        return self

    def __lt__(self, below: float) -> bool:
        return self.script.goes_forth(below / self.total)


def outcomes(
    chances: Sequence[float], amounts: Sequence[Mapping[int, float]], rows: int
) -> Iterator[tuple[list[int], float]]:
    """Everything that can come of it, and how likely that is."""
    waiting: list[tuple[bool, ...]] = [()]
    while waiting:
        ways = waiting.pop()
        script = Scripted(ways)
        found = balanced_rounding(chances, amounts, rows, script)
        yield found, script.likelihood
        path = ways + (True,) * (script.taken - len(ways))
        waiting += [(*path[:at], False) for at in range(len(ways), len(path))]


def units(seed: int, count: int = 9, rows: int = 4) -> tuple[list[float], list[dict[int, int]], int]:
    draw = np.random.default_rng(seed)
    chances = [float(p) for p in draw.uniform(0.05, 0.95, count)]
    amounts = [
        {0: 1, **{int(r): int(draw.integers(1, 30)) for r in draw.integers(1, rows, 2)}} for _ in chances
    ]
    return chances, amounts, rows


@pytest.mark.parametrize("seed", range(6))
def test_each_unit_is_taken_with_its_own_chance_exactly(seed: int) -> None:
    chances, amounts, rows = units(seed)
    all_of = list(outcomes(chances, amounts, rows))
    assert len({tuple(found) for found, _ in all_of}) > 3
    assert sum(p for _, p in all_of) == pytest.approx(1, abs=1e-12)
    expected = sum(p * np.array(found) for found, p in all_of)
    np.testing.assert_allclose(expected, chances, rtol=0, atol=1e-9)


def test_the_first_sum_is_kept_and_the_others_are_nearly_so() -> None:
    """Independent draws of 300 units with three sums would be about ten times as far off."""
    draw = np.random.default_rng(1)
    chances = [0.1] * 300
    sizes = np.sort(draw.integers(1, 8, (300, 2)), axis=0)[::-1]
    amounts = [{0: 1, 1: int(a), 2: int(b)} for a, b in sizes]
    for seed in range(30):
        found = np.array(balanced_rounding(chances, amounts, 3, random.Random(seed)))
        assert found.sum() == 30
        assert (np.abs(found @ sizes - 0.1 * sizes.sum(0)) <= 7).all()


def test_a_sum_that_is_a_whole_number_is_kept_where_nothing_else_is_asked() -> None:
    for seed in range(20):
        assert sum(balanced_rounding([0.25] * 8, [{0: 1}] * 8, 1, random.Random(seed))) == 2
        assert sum(balanced_rounding([0.3] * 8, [{0: 1}] * 8, 1, random.Random(seed))) in (2, 3)


def test_certain_units_stay_and_nothing_is_asked_of_none() -> None:
    draw = random.Random(0)
    assert balanced_rounding([0, 1, 1 - 1e-12, 1e-12], [{0: 1}] * 4, 1, draw) == [0, 1, 1, 0]
    assert balanced_rounding([], [], 3, draw) == []


def test_without_any_sum_each_is_rounded_for_itself() -> None:
    draw = random.Random(0)
    counts = Counter(tuple(balanced_rounding([0.5, 0.5], [{}, {}], 0, draw)) for _ in range(400))
    assert all(counts[way] == pytest.approx(100, abs=35) for way in ((0, 0), (0, 1), (1, 0), (1, 1)))
