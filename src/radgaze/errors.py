"""The one exception a user's mistake raises; the command line prints it in one line and exits with 2.

Messages name a setting by its field in backquotes, `` `resamples` `` or `` `input.size=224` ``, and what to
do next as a `call`; the command line spells both as its flags and commands, see `radgaze.cli.flags`.
"""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right: the message says what was wrong, where, and what to do."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C stopped work that can be resumed; the message says what is kept and how to go on."""


def call(verb: str, *arguments: object, **options: object) -> str:
    """A call of a verb for a message, in backquotes: `` `evaluate('runs/a', reject=True)` ``."""
    words = [repr(str(argument)) for argument in arguments]
    words += [
        f"{name}={value if isinstance(value, bool) else repr(str(value))}" for name, value in options.items()
    ]
    return f"`{verb}({', '.join(words)})`"


def in_words(error: Exception) -> str:
    """An error in one line: of a file the file and why, else its kind and message."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def shortened(text: str, most: int = 200) -> str:
    """A user's own words for a message, cut where they would fill the screen."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
