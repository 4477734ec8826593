"""The exception that a user's mistake raises; the command line prints it on one line and exits with 2.

Messages name a setting by its field in backquotes, `` `resamples` `` or `` `input.size=224` ``, and what to
do next as a `call`; the command line spells both as its flags and commands, see `radgaze.cli.flags`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class UserError(Exception):
    """A mistake that the user can correct: the message says what is wrong, where, and what to do."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C stopped work that can be resumed; the message says what is kept and how to go on."""


def call(verb: str, *arguments: object, **options: object) -> str:
    """Format a call of a verb for a message: `` `evaluate('runs/a', reject=True)` ``, with the backquotes."""
    words = [repr(str(argument)) for argument in arguments]
    words += [
        f"{name}={value if isinstance(value, bool) else repr(str(value))}" for name, value in options.items()
    ]
    return f"`{verb}({', '.join(words)})`"


def in_words(error: Exception) -> str:
    """Format an error on one line: the path and the reason of an `OSError`, else its class and message."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def close_to(word: str, names: Iterable[str]) -> str:
    """The end of a message about a name that there is not: the one that was perhaps meant, if any."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(names), 1)
    return f"; did you mean {close[0]}?" if close else ""


def to_grey(shape: Sequence[int], name: str) -> str:
    """The end of a message about an array that is not grey: how its colours become greys, if it has any.

    Args:
        shape: Shape of the array, such as (H, W, 3) or (3, H, W).
        name: Name of the array.
    """
    channels = next((axis for axis in (-1, -3) if len(shape) >= 3 and shape[axis] in (3, 4)), None)
    if channels is None:
        return ""
    colours = name if shape[channels] == 3 else f"{name}[..., :3{', :, :' if channels == -3 else ''}]"
    return f"; colours become greys by `{colours}.mean({channels}).astype({name}.dtype)` of a NumPy array"


def shortened(text: str, most: int = 200) -> str:
    """Shorten a text of the user for a message."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
