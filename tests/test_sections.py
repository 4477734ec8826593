"""Sections of a configuration check their own values; an error names its field from the outside in."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from radgaze.options import FieldError, check_choice, option
from radgaze.sections import Section


@dataclass
class Inner(Section):
    share: float | None = option(0.5, at_least=0, below=1)
    factors: tuple[int, ...] = option((1,), at_least=1)
    mode: str = "fast"

    def check(self) -> None:
        super().check()
        check_choice("mode", self.mode, ("fast", "slow"))


@dataclass
class Outer(Section):
    inner: Inner = field(default_factory=Inner)
    size: int = option(64, at_least=32, at_most=8192)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": 1.0}, "`share` must be at least 0 and below 1, got 1.0"),
        ({"share": float("nan")}, "`share` must be at least 0 and below 1, got nan"),
        ({"share": "much"}, "`share` must be at least 0 and below 1, got much"),
        ({"factors": (1, 0)}, "`factors` must be at least 1, got 0"),
        ({"factors": (1, float("inf"))}, "`factors` must be at least 1, got inf"),
        ({"mode": "no"}, "`mode` must be one of fast, slow, got no"),
        ({"mode": None}, "`mode` must be text, got None"),
        ({"factors": None}, "`factors` must be a sequence of values, got None"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_rule_and_value(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(FieldError, match=f"^{re.escape(message)}$"):
        Inner(**values)


def test_none_and_values_on_closed_ends_are_allowed() -> None:
    assert Inner(share=None).share is None  # as its type says
    assert Inner(share=0).share == 0
    assert (Outer(size=32).size, Outer(size=8192).size) == (32, 8192)


def test_a_value_that_was_changed_later_is_found_with_its_section() -> None:
    outer = Outer()
    outer.inner.share = -1.0
    with pytest.raises(FieldError, match=r"^`inner\.share` must be at least 0 and below 1, got -1\.0$"):
        outer.check()
    with pytest.raises(FieldError, match=r"^`inner\.share`"):
        replace(outer, size=32)


def test_an_error_survives_the_way_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(FieldError("share", "must be lower").inside("inner")))
    assert str(error) == "`inner.share` must be lower"
