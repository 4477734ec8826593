"""Draw the layers of radgaze as the import contract in pyproject.toml has them.

python tools/draw_architecture.py            # write docs/images/architecture.svg
python tools/draw_architecture.py --check    # exit with 1 where that file is not what would be written
"""

from __future__ import annotations

import argparse
import ast
import sys
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DRAWING = ROOT / "docs" / "images" / "architecture.svg"
CAPTION = "A package imports only from rows below its own."
WIDTH, HEIGHT, GAP, MARGIN = 900, 34, 7, 14


def layers() -> list[list[str]]:
    """Packages of each layer, from the highest; those of one layer know nothing of one another."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rows = config["tool"]["importlinter"]["contracts"][0]["layers"]
    return [[name.strip() for name in row.replace(":", "|").split("|")] for row in rows]


def summary(package: str) -> str:
    """First line of a package's docstring, without its stop."""
    path = ROOT / "src" / Path(*package.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.split("\n", 1)[0].rstrip(".")


def drawing() -> str:
    """The layers as an SVG, the highest on top."""
    rows = layers()
    height = len(rows) * (HEIGHT + GAP) + 2 * MARGIN + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{MARGIN}" y="{MARGIN + 8}" fill="#555">{CAPTION}</text>',
    ]
    for k, row in enumerate(rows):
        y = MARGIN + 20 + k * (HEIGHT + GAP)
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        for n, package in enumerate(row):
            x = MARGIN + n * (width + GAP)
            name, words = package.removeprefix("radgaze."), _fitting(summary(package), width)
            parts += [
                f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{HEIGHT}" rx="4" fill="#eef3f8" '
                'stroke="#7f97ad"/>',
                f'<text x="{x + 9:.0f}" y="{y + 15}" font-weight="bold" fill="#123">{escape(name)}</text>',
                f'<text x="{x + 9:.0f}" y="{y + 28}" font-size="10" fill="#345">{escape(words)}</text>',
            ]
    return "\n".join([*parts, "</svg>", ""])


def _fitting(text: str, width: float) -> str:
    most = int((width - 18) / 5.0)
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def main() -> int:
    """Write or check the drawing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        current = DRAWING.is_file() and DRAWING.read_text(encoding="utf-8") == drawing()
        if not current:
            print(f"{DRAWING.relative_to(ROOT)} is out of date: run python tools/draw_architecture.py")
        return 0 if current else 1
    DRAWING.write_text(drawing(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
