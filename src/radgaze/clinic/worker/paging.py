"""Results of searches (QIDO-RS) in DICOM JSON, page by page, whatever a server makes of pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from radgaze.console import note

Found = Mapping[str, Any]
Page = Callable[[int, int], list[Found]]

PAGE = 100
"""Results that are asked for at a time."""
UID = re.compile(r"(?=.{1,64}\Z)\d+(\.\d+)*\Z", re.ASCII)


def pages(page: Page, tag: str) -> Iterator[Found]:
    """Yield the results of a search; those without a valid UID are left out.

    Some servers apply the limit of a page before its offset, so that the second page is empty: a wider one is
    asked for before it is taken as the end. Others know no offsets, and give the first page again.

    Args:
        page: Function of offset and limit that gives a page.
        tag: Tag of the UID.
    """
    offset, before, is_wide = 0, set[str](), False
    while True:
        results = page(offset, PAGE + offset * is_wide)
        uids = {first(each, tag) for each in results}
        if results and uids == before:
            yield from _without_offsets(page, tag, offset)
            return
        yield from _valid(results, tag)
        if results:
            offset, before = offset + len(uids), uids  # some servers give a result twice
        elif is_wide or not offset:
            return
        else:
            is_wide = True


def _without_offsets(page: Page, tag: str, seen: int) -> Iterator[Found]:
    """The results after those that were seen, by ever larger pages."""
    while len(results := page(0, seen + PAGE)) > seen:
        yield from _valid(results[seen:], tag)
        seen = len(results)
    note(f"the PACS knows no offsets in searches: if it limits them to {seen} results, others are not seen")


def _valid(results: list[Found], tag: str) -> Iterator[Found]:
    return (each for each in results if UID.match(first(each, tag)))


def first(item: Found, tag: str) -> str:
    """Return the first value of an attribute, "" where there is none."""
    present = values(item, tag)
    return str(present[0]) if present else ""


def values(item: Found, tag: str) -> list[object]:
    """Return the values of an attribute, none where they make no sense."""
    attribute = item.get(tag)
    listed = attribute.get("Value") if isinstance(attribute, dict) else None
    return [each for each in listed if each is not None] if isinstance(listed, list) else []


def dictionaries(results: object) -> list[Found]:
    """Return the results of a response that are objects in JSON."""
    return [each for each in results if isinstance(each, dict)] if isinstance(results, list) else []
