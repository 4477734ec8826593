"""Schedules against straight lines and tables, and the texts that are none."""

from __future__ import annotations

import numpy as np
import pytest

from radgaze.objectives import schedules
from radgaze.options import FieldError

TIMES = np.linspace(0, 1, 41)


@pytest.mark.parametrize(
    ("text", "times", "values"),
    [
        ("constant", [0, 1], [1, 1]),
        ("linear(0.1 -> 0.9)", [0, 1], [0.1, 0.9]),
        ("linear(0.9->0)", [0, 1], [0.9, 0]),
        ("Linear( 2 -> 1e-1 , until 0.25 )", [0, 0.25, 1], [2, 0.1, 0.1]),
        ("warmup(0.3)", [0, 0.3, 1], [0, 1, 1]),
        (" warmup(1) ", [0, 1], [0, 1]),
        ("linear(.5 -> 1.)", [0, 1], [0.5, 1]),
    ],
)
def test_lines_are_numpys_interpolation(text: str, times: list[float], values: list[float]) -> None:
    schedule = schedules.parse(text)
    assert [schedule(float(t)) for t in TIMES] == pytest.approx(np.interp(TIMES, times, values))


def test_steps_hold_a_value_from_its_time_on() -> None:
    schedule = schedules.parse("steps(0, 0.25: 1, 0.5: 2e-1,1 : 3)")
    expected = np.select([TIMES >= 1, TIMES >= 0.5, TIMES >= 0.25], [3, 0.2, 1], 0)
    assert [schedule(float(t)) for t in TIMES] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be constant, linear"),
        ("ramp(0 -> 1)", "must be constant, linear"),
        ("linear(0, 1)", "must be constant, linear"),
        ("linear(0 -> -1)", "must be constant, linear"),
        ("linear(0 -> nan)", "must be constant, linear"),
        ("linear(0 -> 1, until 0)", "above 0 and at most 1, not 0"),
        ("linear(0 -> 1, until 1.5)", "above 0 and at most 1, not 1.5"),
        ("linear(0 -> 1) and more", "must be constant, linear"),
        ("warmup(30)", "above 0 and at most 1, not 30"),
        ("steps(1)", "must be constant, linear"),
        ("steps(1, 0.5: 2, 0.5: 3)", "the times must ascend"),
        ("steps(1, 0.5: 2, 0.4: 3)", "the times must ascend"),
        ("steps(1, 0: 2)", "above 0 and at most 1, not 0"),
        ("linear(0 -> 1e999)", "is not finite"),
        ("1", "must be constant, linear"),
    ],
)
def test_a_text_that_is_no_schedule_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(FieldError) as error:
        schedules.check("schedule", text)
    assert str(error.value).startswith("`schedule` is no schedule: ")
    assert said in str(error.value)
    assert str(error.value).endswith(f"got {text!r}")
