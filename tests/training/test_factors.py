"""The factors of the weights: schedules over the training, and the balance of the first ten steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from radgaze.objectives.config import EdgeConfig, ObjectiveConfig, TermConfig
from radgaze.sections import Value
from radgaze.training.factors import STEPS, Factors

PERTURBED: dict[str, Value] = {"by": "gaze", "compare": "classification"}


def config() -> ObjectiveConfig:
    return ObjectiveConfig(
        gamma=0.5,
        gamma_schedule="linear(1 -> 0.2)",
        mask_gaze=EdgeConfig(0.5, "mse", schedule="warmup(0.5)"),
        terms={
            "kept": TermConfig(2.0, "perturbed", balance="start", options=PERTURBED),
            "steps": TermConfig(
                1.0, "perturbed", balance="start", schedule="steps(1, 0.5: 3)", options=PERTURBED
            ),
            "without": TermConfig(0.0, "perturbed", balance="start", options=PERTURBED),
        },
    )


def values(step: int) -> dict[str, Tensor]:
    return {
        "classification": torch.tensor(1.0 + step % 3),
        "mask_gaze": torch.tensor(0.1),
        "kept": torch.tensor(0.01 * (1 + step)),
        "steps": torch.tensor(50.0 - step),
    }


def cases(**given: int) -> dict[str, Tensor]:
    return {name: torch.tensor(float(given.get(name, 4))) for name in ("mask_gaze", "kept", "steps")}


def test_the_balance_is_the_ratio_of_means_of_the_steps_until_now_and_constant_after_ten() -> None:
    factors = Factors(config())
    for step in range(25):
        t = step / 25
        found = factors.at(t, values(step), cases(), float)
        counted = range(min(step + 1, STEPS))
        sums = {name: sum(float(values(k)[name]) for k in counted) for name in values(0)}
        assert found == pytest.approx(
            {
                "gamma": 1 - 0.8 * t,
                "mask_gaze": min(t / 0.5, 1),
                "kept": sums["classification"] / sums["kept"],
                "steps": (3 if t >= 0.5 else 1) * sums["classification"] / sums["steps"],
            }
        )


def test_both_terms_begin_equal() -> None:
    first = values(0)
    found = Factors(config()).at(0.0, first, cases(), float)
    assert found["kept"] * float(first["kept"]) == pytest.approx(float(first["classification"]))


@pytest.mark.parametrize("stop", [1, 7, 10, 13])
def test_a_restored_balance_goes_on_as_one_that_never_stopped(stop: int) -> None:
    whole, before, after = (Factors(config()) for _ in range(3))
    for step in range(stop):
        whole.at(0.0, values(step), cases(), float)
        before.at(0.0, values(step), cases(), float)
    after.restore(before.state())
    for step in range(stop, 20):
        assert after.at(0.3, values(step), cases(), float) == whole.at(0.3, values(step), cases(), float)


def test_nothing_is_kept_where_nothing_is_balanced() -> None:
    plain = Factors(ObjectiveConfig(mask_gaze=EdgeConfig(1.0)))
    assert plain.at(0.5, values(0), cases(), float) == {"gamma": 1.0, "mask_gaze": 1.0}
    assert plain.state() == {}


def test_a_term_of_zeros_is_not_balanced_until_it_has_a_value() -> None:
    factors = Factors(config())
    zero = {**values(0), "kept": torch.tensor(0.0)}
    assert factors.at(0.0, zero, cases(), float)["kept"] == 1.0
    assert factors.at(0.0, values(1), cases(), float)["kept"] == pytest.approx(3 / 0.02)


def test_the_mean_is_that_of_all_processes() -> None:
    """Two processes that see other cases have the same factors."""
    ours, theirs = values(0), values(4)
    means = {id(ours[name]): float(ours[name] + theirs[name]) / 2 for name in ours}
    means |= {id(theirs[name]): means[id(ours[name])] for name in ours}
    found = [
        Factors(config()).at(0.0, each, cases(), lambda value: means.get(id(value), 4.0))
        for each in (ours, theirs)
    ]
    assert found[0] == found[1]
    assert found[0]["kept"] == pytest.approx((1 + 2) / (0.01 + 0.05))


def test_steps_without_a_case_of_a_term_count_neither_for_it_nor_for_the_classification_beside_it() -> None:
    """Every third step has a case with gaze, which the term "kept" needs; all have one for "steps"."""
    factors = Factors(config())
    counted: list[int] = []
    for step in range(45):
        has = step % 3 == 2
        given = values(step) if has else {**values(step), "kept": torch.tensor(0.0)}
        found = factors.at(0.0, given, cases(kept=3 if has else 0), float)
        if has and len(counted) < STEPS:
            counted.append(step)
        kept = [0.01 * (1 + k) for k in counted]
        beside = [1.0 + k % 3 for k in counted]
        assert found["kept"] == pytest.approx(sum(beside) / sum(kept) if counted else 1.0)
        first = range(min(step + 1, STEPS))
        expected = sum(1.0 + k % 3 for k in first) / sum(50.0 - k for k in first)
        assert found["steps"] == pytest.approx(expected)
        assert factors.counting == (len(counted) < STEPS)


def test_a_term_whose_cases_come_late_is_balanced_when_they_come() -> None:
    factors = Factors(config())
    for step in range(2 * STEPS):
        late = {**values(step), "kept": torch.tensor(0.0)}
        assert factors.at(0.0, late, cases(kept=0), float)["kept"] == 1.0
    restored = Factors(config())
    restored.restore(factors.state())
    for each in (factors, restored):
        assert each.at(0.0, values(4), cases(), float)["kept"] == pytest.approx(2.0 / 0.05)


def test_a_step_counts_for_all_processes_if_one_of_them_has_a_case() -> None:
    """Else their factors, and then their weights, would differ."""
    ours, theirs = (Factors(config()) for _ in range(2))
    values_of = ({**values(0), "kept": torch.tensor(0.0)}, {**values(0), "kept": torch.tensor(0.02)})
    cases_of = (cases(kept=0), cases(kept=2))
    means = {
        id(given[name]): (float(pair[0][name]) + float(pair[1][name])) / 2
        for pair in (values_of, cases_of)
        for given in pair
        for name in given
    }
    found = [
        each.at(0.0, given, counts, lambda value: means[id(value)])
        for each, given, counts in zip((ours, theirs), values_of, cases_of, strict=True)
    ]
    assert found[0] == found[1]
    assert found[0]["kept"] == pytest.approx(1 / 0.01)
    assert ours.state() == theirs.state()
