"""The one exception a user's mistake raises; the command line prints it in one line and exits with 2."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right: the message says what was wrong, where, and what to do."""


def in_words(error: Exception) -> str:
    """An error in one line: of a file the file and why, else its kind and message."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def shortened(text: str, most: int = 200) -> str:
    """A user's own words for a message, cut where they would fill the screen."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
