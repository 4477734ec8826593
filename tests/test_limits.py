"""The check of lengths, arguments and `Any`."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.tools import tool


@pytest.fixture(scope="module")
def limits() -> ModuleType:
    return tool("check_limits")


def function(lines: int, signature: str = "def f():", above: str = "") -> str:
    """A function of so many lines of code, with a docstring, a comment and a blank line."""
    body = "".join(f"    x = {k}\n" for k in range(lines - 1))
    return f'{above}{signature}\n    """Of\n\n    many words.\n    """\n    # a comment\n\n{body}'


def found(limits: ModuleType, text: str) -> list[str]:
    return [message for _, message in limits.faults(text)]


def test_docstring_comments_and_blank_lines_do_not_count_to_a_functions_length(limits: ModuleType) -> None:
    assert found(limits, function(60)) == []
    (message,) = found(limits, function(61))
    assert message.startswith("f has 61 lines of code, over 60")


@pytest.mark.parametrize("arguments", ["a, b, c, d, e, f, g, h, i", "a, b, c, d, /, e, *f, g, h, **i"])
def test_nine_arguments_of_any_kind_are_too_many(limits: ModuleType, arguments: str) -> None:
    (message,) = found(limits, f"def f({arguments}):\n    pass\n")
    assert message.startswith("f has 9 arguments, over 8")


def test_self_is_no_argument(limits: ModuleType) -> None:
    method = "class C:\n    def f(self, a, b, c, d, e, f, g, h):\n        pass\n"
    assert found(limits, method) == []
    assert len(found(limits, method.replace("self", "ctx"))) == 1


@pytest.mark.parametrize(
    ("above", "signature"),
    [
        ("", "def f():  # long: a table"),
        ("# long: a table\n", "def f():"),
        ("# long: a table\n@cache\n", "def f():"),
        ("", "def f(\n    a,\n) -> None:  # long: a table"),
    ],
)
def test_a_reason_in_the_signature_or_above_it_is_enough(
    limits: ModuleType, above: str, signature: str
) -> None:
    assert found(limits, function(80, signature, above)) == []


def test_a_reason_for_one_limit_is_none_for_the_other(limits: ModuleType) -> None:
    long = function(80, "def f(a, b, c, d, e, f, g, h, i):  # many arguments: torch's own")
    (message,) = found(limits, long)
    assert "lines of code" in message


@pytest.mark.parametrize("reason", ["# long:", "# long", "# because it is long"])
def test_a_reason_says_something(limits: ModuleType, reason: str) -> None:
    assert len(found(limits, function(80, f"def f():  {reason}"))) == 1


def test_a_reason_that_is_not_needed_is_a_fault(limits: ModuleType) -> None:
    assert "not needed" in found(limits, function(5, "def f():  # long: a table"))[0]
    assert "belongs to no function" in found(limits, function(5) + "    # long: a table\n    y = 1\n")[0]


def test_any_is_counted_where_it_is_used_and_may_only_fall(limits: ModuleType) -> None:
    text = "from typing import Any\n\nx: dict[str, Any] = {}\n\n\ndef f(y: Any) -> Any: ...  # Any\n"
    assert limits.uses_of_any(text) == 3
    assert limits.judged(limits.ANY) is None
    assert "give the new ones a type" in limits.judged(limits.ANY + 0.01)
    assert "lower ANY" in limits.judged(limits.ANY - limits.SLACK - 0.01)
