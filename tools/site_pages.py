"""Hook of mkdocs: pages from outside of docs/, and links to them as the site has them.

The Markdown files are written to be read in the repository: from `docs/` they link to `../benchmarks/…`. On
the site the root of the repository and docs/ are one folder.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[1]

PAGES = ("CONTRIBUTING.md", "CHANGELOG.md")
"""Pages of the navigation; those of the benchmarks are reached by links alone."""

LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
"""A link: its text, its target, and its anchor."""

SOURCES = ("src/", "figures/", "tests/")
"""Folders of the repository that are not on the site."""


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages from outside of docs/."""
    for path in (*(ROOT / name for name in PAGES), *sorted((ROOT / "benchmarks" / "results").glob("*.md"))):
        name = path.relative_to(ROOT).as_posix()
        level = InclusionLevel.INCLUDED if name in PAGES else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, name, abs_src_path=str(path), inclusion=level))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Write links between the repository's files as links between the site's."""
    place = page.file.src_uri

    def on_site(found: re.Match[str]) -> str:
        text, target, anchor = found[1], _on_site(found[2], place), found[3] or ""
        return text if target.startswith(SOURCES) else f"[{text}]({target}{anchor})"

    return LINK.sub(on_site, markdown)


def _on_site(target: str, page: str) -> str:
    if "://" in target:
        return target
    if page in PAGES:
        return "index.md" if target == "README.md" else target.removeprefix("docs/")
    inside = target.removeprefix("../")
    if inside == target or page.count("/"):
        return target
    return "index.md" if inside == "README.md" else inside
