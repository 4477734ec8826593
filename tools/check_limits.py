"""Check that functions stay short, take few arguments, and that `Any` in src becomes rarer.

    python tools/check_limits.py

A function that has a reason to be over a limit names it in its signature or in the line above it:
`# long: REASON` or `# many arguments: REASON`. A reason that is no longer needed is a fault as well.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINES, ARGUMENTS = 60, 8
ANY = 0.5
"""Most uses of `Any` per thousand lines of src. It is lowered when the number falls, and never raised."""
SLACK = 1.0
"""How far the number may fall before the ceiling must follow."""
REASON = re.compile(r"# (long|many arguments): \S")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def lines_of_code(function: Function, code: set[int]) -> int:
    """Lines of a function with its signature, without its docstring, comments and blank lines."""
    own = code & set(range(function.lineno, (function.end_lineno or function.lineno) + 1))
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        own -= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return len(own)


def arguments(function: Function) -> int:
    """Number of a function's arguments, without self and cls."""
    of = function.args
    named = [each.arg for each in (*of.posonlyargs, *of.args, *of.kwonlyargs)]
    starred = [each for each in (of.vararg, of.kwarg) if each is not None]
    return len(named) + len(starred) - (named[:1] in (["self"], ["cls"]))


def faults(text: str) -> Iterator[tuple[int, str]]:
    """Line and message of each function of a module that is over a limit, or gives a reason without need."""
    code: set[int] = set()
    reasons: dict[int, str] = {}
    blank = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if found := REASON.match(token.string):
                reasons[token.start[0]] = found[1]
        elif token.type not in blank:
            code.update(range(token.start[0], token.end[0] + 1))
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, Function))
    for function in sorted(functions, key=lambda each: each.lineno):
        first = min([function.lineno, *(each.lineno for each in function.decorator_list)]) - 1
        beside = [line for line in reasons if first <= line < function.body[0].lineno]
        given = {reasons.pop(line) for line in beside}
        for kind, count, most, what in (
            ("long", lines_of_code(function, code), LINES, "lines of code"),
            ("many arguments", arguments(function), ARGUMENTS, "arguments"),
        ):
            if count > most and kind not in given:
                yield (
                    function.lineno,
                    f"{function.name} has {count} {what}, over {most}: split it, or write "
                    f"`# {kind}: REASON` beside its signature",
                )
            elif count <= most and kind in given:
                yield function.lineno, f"{function.name} has {count} {what}: `# {kind}:` is not needed"
    for line, kind in reasons.items():
        yield line, f"`# {kind}:` belongs to no function: it stands in a signature or in the line above it"


def uses_of_any(text: str) -> int:
    """How often a module names `Any`, without its import."""
    return sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(ast.parse(text)))


def judged(rate: float) -> str | None:
    """Message about a number of `Any` per thousand lines that is too high or too low, or None."""
    if rate > ANY:
        return (
            f"`Any` stands {rate:.1f} times per thousand lines of src, over {ANY}: give the new ones a type"
        )
    if rate < ANY - SLACK:
        return (
            f"`Any` fell to {rate:.1f} per thousand lines of src: "
            f"lower ANY, which is {ANY}, in tools/check_limits.py"
        )
    return None


def main() -> int:
    modules = sorted((ROOT / "src").rglob("*.py"))
    texts = {path: path.read_text(encoding="utf-8") for path in modules}
    found = [
        f"{path.relative_to(ROOT)}:{line}: {message}"
        for path, text in texts.items()
        for line, message in faults(text)
    ]
    uses, lines = (sum(map(count, texts.values())) for count in (uses_of_any, lambda text: text.count("\n")))
    rate = 1000 * uses / lines
    print(f"Any: {uses} in {lines} lines of src, {rate:.2f} per thousand (at most {ANY})")
    found += filter(None, [judged(rate)])
    print("\n".join(found) or "No function is over its limits without a reason.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
