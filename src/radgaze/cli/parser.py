"""The parser of every verb: a mistake is told in one line, not after a page of usage."""

from __future__ import annotations

from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from radgaze.errors import UserError


class Parser(ArgumentParser):
    """An argument parser that raises `UserError`, which names the verb's own help.

    Options have no abbreviations: a field's name that happens to begin like another's must never set it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong with the arguments as one line."""
        verb = getattr(ex, "subcommand_parser", None) or self
        prog = verb.prog.replace(" [options]", "")
        raise UserError(f"{' '.join(message.split()).rstrip('.')}; see `{prog} --help`") from ex
