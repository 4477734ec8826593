"""Names of files that a table can hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from radgaze.console import note
from radgaze.words import count

_UNDECODED = re.compile("[\ud800-\udfff]")
"""What Python has in place of bytes of a path that are not UTF-8."""


def in_utf8(files: Sequence[Path]) -> list[Path]:
    """Leave out the files whose paths are not UTF-8, as on old shares, and tell how many they are."""
    readable = [file for file in files if not _UNDECODED.search(str(file))]
    if len(readable) < len(files):
        left = count(len(files) - len(readable), "picture")
        note(f"{left} left out, since a table holds no path that is not UTF-8: rename them to use them")
    return readable
