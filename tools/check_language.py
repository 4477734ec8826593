"""Check docstrings, comments, messages and documentation for wordings that readers stumble over.

    python tools/check_language.py [PATH ...]

Without paths: src, tests, tools, benchmarks, docs, README.md and CONTRIBUTING.md. Checked are

- words and phrases that technical English does not use (`PHRASES`);
- docstrings whose first line, or whose description of an argument, is a fragment (`FRAGMENTS`);
- flags of the command line in library code, outside `radgaze/cli`: messages there name the setting, as
  radgaze/errors.py describes. A line that needs a flag ends with `# flags: REASON`;
- local variables of library code whose names do not say what they hold (`VAGUE`).

A line that ends with `# language: example` is skipped: tests quote faulty wordings.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKED = ("src", "tests", "tools", "benchmarks", "docs", "README.md", "CONTRIBUTING.md")

PHRASES = {
    r"\banew\b": "write “again” or “new”",
    r"\bso to say\b|\bas it were\b": "leave it out",
    r"\bfor want of\b": "write “because … is missing”",
    r"\b(?:cannot|can|could|can not|to) be had\b": "write “is available”",
    r"\bstems? from\b": "write “comes from”",
    r"\b(?:is|are|be) told (?:from|apart)\b": "write “is distinguished from”",
    r"\b(?:there|where|here)(?:of|in|by|to|upon|from)\b": "write it out",
    r"\bis no matter\b|\bare no matter\b": "write “does not matter”",
    r"\bnobody's\b|\banybody's\b|\bsomebody's\b": "say whose",
    r"\bleaves? it alone\b|\bgo(?:es)? on where\b": "say what happens",
}
"""Phrases that are not used, and what to do about each."""

FRAGMENT = re.compile(r"(?:Of|Whose|The same of|The same as of)\b")
"""Beginning of a description that is no phrase of its own."""
SUMMARY = re.compile(r"(?:What|Whose|Of|The same|Nothing but)\b")
"""Beginning of a docstring that is neither imperative nor a plain noun phrase."""
ENTRY = re.compile(r"^\s+\*{0,2}\w+(?: \([^)]*\))?: (.*)$")
FLAG = re.compile(r"(?<![\w-])--[a-z][\w.-]*")
VAGUE = ("found", "own", "known", "wanted", "there", "asked", "told", "kept", "of", "who")

EXAMPLE = "# language: example"
"""End of a line that is not checked."""

Fault = tuple[int, str]


def in_prose(text: str, first: int = 1) -> Iterator[Fault]:
    """Line and message of each phrase that is not used; code in backquotes is passed over."""
    for number, line in enumerate(text.splitlines(), first):
        prose = re.sub(r"`[^`]*`", "", line)
        for phrase, advice in PHRASES.items():
            for match in re.finditer(phrase, prose, re.IGNORECASE):
                yield number, f"“{match[0]}”: {advice}"


def in_docstring(text: str, first: int) -> Iterator[Fault]:
    """Line and message of each fragment in a docstring."""
    lines = text.splitlines()
    if lines and SUMMARY.match(lines[0].strip()):
        yield first, f"“{lines[0].strip()[:40]}”: begin with an imperative or a noun phrase"
    for number, line in enumerate(lines, first):
        entry = ENTRY.match(line)
        if entry and FRAGMENT.match(entry[1]):
            yield number, f"“{line.strip()[:50]}”: describe it with a noun phrase"


def in_module(text: str, *, library: bool) -> Iterator[Fault]:
    """Line and message of each fault of a Python module.

    Args:
        text: Its source.
        library: Whether it is library code, in which flags and vague names are faults too.
    """
    tree = ast.parse(text)
    lines = text.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring is not None:
                yield from in_docstring(docstring, node.body[0].lineno)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from in_prose(node.value, node.lineno)
            for number, line in enumerate(node.value.splitlines() if library else (), node.lineno):
                if (match := FLAG.search(line)) and "# flags: " not in lines[
                    (node.end_lineno or node.lineno) - 1
                ]:
                    yield number, f"{match[0]}: library code names the setting, see radgaze/errors.py"
        if library and isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VAGUE:
            yield node.lineno, f"{node.id}: name the variable after what it holds"
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield from in_prose(token.string, token.start[0])


def faults(path: Path) -> list[Fault]:
    """Line and message of each fault of a file, in order, each once."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return sorted(set(in_prose(text)))
    place = path.resolve().as_posix()
    library = "/src/radgaze/" in place and "/src/radgaze/cli/" not in place
    lines = text.splitlines()
    return sorted(
        (line, message)
        for line, message in set(in_module(text, library=library))
        if not lines[line - 1].endswith(EXAMPLE)
    )


def files(paths: Sequence[Path]) -> list[Path]:
    """The files to check, in order; of a folder the Python modules, Markdown pages and templates in it."""
    inside = (path.rglob("*") if path.is_dir() else (path,) for path in paths)
    suffixes = (".py", ".md", ".html", ".yaml")
    return sorted(
        path for group in inside for path in group if path.suffix in suffixes and path != Path(__file__)
    )


def main(arguments: Sequence[str]) -> int:
    """Print the faults; return 1 where there are any."""
    paths = files([Path(each) for each in arguments] or [ROOT / each for each in CHECKED])
    count = 0
    for path in paths:
        for line, message in faults(path):
            print(f"{path}:{line}: {message}")
            count += 1
    print(f"{count} faults in {len(paths)} files")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
