"""The check of wordings."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.tools import tool


@pytest.fixture(scope="module")
def language() -> ModuleType:
    return tool("check_language")


def messages(language: ModuleType, text: str, *, library: bool = True) -> list[str]:
    return [message for _, message in language.in_module(text, library=library)]


@pytest.mark.parametrize(
    "text",
    [
        '"""Draw it anew."""\n',  # language: example
        "# for want of memory\n",  # language: example
        'x = f"{1}: it stems from a file"\n',  # language: example
    ],
)
def test_a_phrase_that_is_not_used_is_found_in_docstrings_comments_and_strings(
    language: ModuleType, text: str
) -> None:
    assert len(messages(language, text)) == 1


def test_code_in_backquotes_is_no_prose(language: ModuleType) -> None:
    assert messages(language, '"""Call `anew()`."""\n') == []


@pytest.mark.parametrize("line", ["What is drawn.", "Of a model.", "The same of boxes."])
def test_a_docstring_begins_with_no_fragment(language: ModuleType, line: str) -> None:
    (message,) = messages(language, f'def f():\n    """{line}"""\n')
    assert "imperative or a noun phrase" in message
    assert messages(language, 'def f():\n    """Draw the map of a model."""\n') == []


def test_an_argument_is_described_by_a_noun_phrase(language: ModuleType) -> None:
    docstring = 'def f(seed):\n    """Draw.\n\n    Args:\n        seed: {}\n    """\n'
    (message,) = messages(language, docstring.format("Of the draw."))
    assert "noun phrase" in message
    assert messages(language, docstring.format("Random seed.")) == []


def test_library_code_names_no_flag_without_a_reason(language: ModuleType) -> None:
    (message,) = messages(language, 'raise UserError("--resamples must be 1")\n')
    assert message.startswith("--resamples")
    assert messages(language, 'run(["--resamples"])  # flags: a command for a subprocess\n') == []
    assert messages(language, 'raise UserError("--resamples must be 1")\n', library=False) == []


def test_variables_of_library_code_say_what_they_hold(language: ModuleType) -> None:
    assert messages(language, "found = 1\n") == ["found: name the variable after what it holds"]
    assert messages(language, "cases = [own for own in rows]\n") == [
        "own: name the variable after what it holds"
    ]
    assert messages(language, "found = 1\n", library=False) == []


def test_a_line_that_is_marked_as_an_example_is_skipped(language: ModuleType, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    fault = 'x = "drawn anew"'  # language: example
    module.write_text(f"{fault}  # language: example\n{fault}\n", encoding="utf-8")
    assert [line for line, _ in language.faults(module)] == [2]


def test_markdown_is_checked_line_by_line(language: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    lines = ("# Title", "", "It is drawn", "anew.")  # language: example
    page.write_text("\n".join(lines), encoding="utf-8")
    assert [line for line, _ in language.faults(page)] == [4]


def test_the_exit_code_tells_of_faults(language: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("anew\n", encoding="utf-8")  # language: example
    assert language.main([str(tmp_path)]) == 1
    page.write_text("again\n", encoding="utf-8")
    assert language.main([str(tmp_path)]) == 0
