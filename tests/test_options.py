"""Options check themselves: bounds, choices, and messages that name the field."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from radgaze.errors import UserError
from radgaze.options import Options, descriptions, option


@dataclass(frozen=True)
class Sampling(Options):
    """How cases are drawn.

    Attributes:
        rate: Share of the cases.
        kind: How they are drawn,
            in words.
    """

    rate: float = option(0.5, at_least=0.0, at_most=1.0)
    kind: Literal["random", "first"] = "random"


@dataclass(frozen=True)
class Study(Sampling):
    """A study.

    Attributes:
        count: Number of cases.
        seeds: Random seeds.
        threshold: Least value.
        method: Name of a method.
        phases: Phases that count.
        most: Most of something.
        replace: Whether to replace.
        name: A name.
        folder: A folder.
    """

    count: int = option(2000, at_least=1, at_most=1_000_000)
    seeds: tuple[int, ...] = option((1, 2), at_least=0)
    threshold: float | None = option(None, above=0.0)
    method: str = option("left", choices=lambda: ("left", "right"))
    phases: tuple[Literal[1, 2, 3], ...] | None = None
    most: int = option(1, at_most=5)
    replace: bool = False
    name: str | None = None
    folder: str | Path = "."


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "`count` must be from 1 to 1,000,000, got 0"),
        ({"count": 1_000_001}, "`count` must be from 1 to 1,000,000, got 1000001"),
        ({"rate": float("nan")}, "`rate` must be from 0 to 1, got nan"),
        ({"rate": float("inf")}, "`rate` must be from 0 to 1, got inf"),
        ({"seeds": (4, -1)}, "`seeds` must be at least 0, got -1"),
        ({"threshold": 0.0}, "`threshold` must be above 0, got 0.0"),
        ({"threshold": float("nan")}, "`threshold` must be above 0, got nan"),
        ({"most": 6}, "`most` must be at most 5, got 6"),
        ({"kind": "last"}, "`kind` must be one of random, first, got last"),
        ({"method": "up"}, "`method` must be one of left, right, got up"),
        ({"seeds": "12"}, "`seeds` must be a sequence of values, got '12'"),
        ({"phases": (1, 4)}, "`phases` must be one of 1, 2, 3, got 4"),
        ({"count": None}, "`count` must be a whole number, got None"),
        ({"kind": None}, "`kind` must be one of random, first, got None"),
        ({"seeds": None}, "`seeds` must be a sequence of values, got None"),
        ({"folder": None}, "`folder` must be text or a path, got None"),
        ({"count": 100.5}, "`count` must be a whole number, got 100.5"),
        ({"replace": "no"}, "`replace` must be true or false, got 'no'"),
        ({"replace": 0}, "`replace` must be true or false, got 0"),
        ({"name": True}, "`name` must be text, got True"),
        ({"folder": 3}, "`folder` must be text or a path, got 3"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_by_the_name_of_its_field(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as refused:
        Study(**values)
    assert str(refused.value) == message


def test_bounds_themselves_none_and_choices_are_allowed() -> None:
    study = Study(count=1, rate=1.0, threshold=None, phases=(3, 1), method="right", seeds=(0,))
    assert (study.count, study.rate, study.phases) == (1, 1.0, (3, 1))
    assert Study(count=1_000_000, rate=0.0, threshold=1e-9).threshold == 1e-9
    assert Study(rate=1, replace=True, name=None, folder=Path("a")).folder == Path("a")


def test_choices_are_not_looked_up_for_a_default() -> None:
    def choices() -> tuple[str, ...]:
        raise AssertionError("this may import much")

    @dataclass(frozen=True)
    class Lazy(Options):
        name: str = option("first", choices=choices)

    assert Lazy().name == "first"


def test_a_field_without_a_default_is_required() -> None:
    @dataclass(frozen=True)
    class Needed(Options):
        path: str = option(metavar="DIR")

    with pytest.raises(TypeError, match="path"):
        Needed()


def test_descriptions_are_one_line_each_and_those_of_the_base_count_too() -> None:
    texts = descriptions(Study)
    assert texts["kind"] == "How they are drawn, in words."
    assert texts["count"] == "Number of cases."
    assert set(texts) == {*Sampling.__dataclass_fields__, *Study.__dataclass_fields__}
