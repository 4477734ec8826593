"""Schedules: factors of a weight that follow the progress of training.

A schedule is written as text, such as "linear(0.1 -> 0.9)", and is a function of the progress t, the share of
all training steps that are done, in [0, 1]. This module does not import torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import isfinite

from radgaze.options import FieldError

CONSTANT = "constant"

FORMS = "constant, linear(A -> B), linear(A -> B, until T), warmup(T) or steps(A, T: B, ...)"
"""The forms of a schedule, for messages."""

_NUMBER = r"\s*((?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*"
_LINEAR = re.compile(rf"linear\({_NUMBER}->{_NUMBER}(?:,\s*until{_NUMBER})?\)", re.IGNORECASE)
_WARMUP = re.compile(rf"warmup\({_NUMBER}\)", re.IGNORECASE)
_STEPS = re.compile(rf"steps\({_NUMBER}((?:,{_NUMBER}:{_NUMBER})+)\)", re.IGNORECASE)
_STEP = re.compile(rf",{_NUMBER}:{_NUMBER}", re.IGNORECASE)


@dataclass(frozen=True)
class Linear:
    """A line from `first` at t = 0 to `last` at t = `until`, constant from there on."""

    first: float
    last: float
    until: float = 1.0

    @property
    def highest(self) -> float:
        """The highest value."""
        return max(self.first, self.last)

    def __call__(self, t: float) -> float:
        return self.first + (self.last - self.first) * min(t / self.until, 1.0)


@dataclass(frozen=True)
class Steps:
    """The constant `first` and, from the time of each pair (time, value) in `later` on, its value."""

    first: float
    later: tuple[tuple[float, float], ...]

    @property
    def highest(self) -> float:
        """The highest value."""
        return max(self.first, *(value for _, value in self.later))

    def __call__(self, t: float) -> float:
        return next((value for start, value in reversed(self.later) if t >= start), self.first)


Schedule = Linear | Steps


@cache
def parse(text: str) -> Schedule:
    """Parse a schedule.

    Args:
        text: One of these, where numbers are at least 0, and times T are shares of the training in (0, 1]:

            - "constant", the factor 1;
            - "linear(A -> B)", from A to B over the whole training, or "linear(A -> B, until T)";
            - "warmup(T)", the same as "linear(0 -> 1, until T)";
            - "steps(A, T: B, ...)", A at first, and B from the time T on.

    Raises:
        ValueError: The text has another form, a number is not finite, or a time is out of range or not later
            than the one before.
    """
    text = text.strip()
    if text == CONSTANT:
        return Linear(1.0, 1.0)
    if match := _LINEAR.fullmatch(text):
        first, last, until = match.groups()
        return Linear(_value(first), _value(last), _time(until or 1.0))
    if match := _WARMUP.fullmatch(text):
        return Linear(0.0, 1.0, _time(match[1]))
    if match := _STEPS.fullmatch(text):
        later = tuple((_time(start), _value(value)) for start, value in _STEP.findall(match[2]))
        if any(after[0] <= before[0] for before, after in pairwise(later)):
            raise ValueError("the times must ascend")
        return Steps(_value(match[1]), later)
    raise ValueError(f"must be {FORMS}")


def check(name: str, text: str) -> None:
    """Check the text of a schedule.

    Raises:
        FieldError: It is no schedule.
    """
    try:
        parse(text)
    except ValueError as error:
        raise FieldError(name, f"is no schedule: {error}; got {text!r}") from None


def _value(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"the number {text} is not finite")
    return value


def _time(value: str | float) -> float:
    time = float(value)
    if not 0 < time <= 1:
        raise ValueError(f"a time is a share of the training above 0 and at most 1, not {time:g}")
    return time
