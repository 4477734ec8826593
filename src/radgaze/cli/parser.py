"""The parser of every verb: a mistake is told in one line, not after a page of usage."""

from __future__ import annotations

from typing import NoReturn

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt, PositiveInt, restricted_number_type

from radgaze.errors import UserError

__all__ = ["NonNegativeInt", "Parser", "PositiveInt", "Seed"]

Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**32)], docstring="Of a draw: 0 to 2³² − 1.")


class Parser(ArgumentParser):
    """An argument parser that raises `UserError`, which names the verb's own help."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong with the arguments as one line."""
        verb = getattr(ex, "subcommand_parser", None) or self
        prog = verb.prog.replace(" [options]", "")
        raise UserError(f"{' '.join(message.split()).rstrip('.')}; see `{prog} --help`") from ex
