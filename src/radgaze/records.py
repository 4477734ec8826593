"""Results as JSON files: frozen dataclasses, written whole and read with validation.

A record is a frozen dataclass of plain values, other dataclasses, and lists, tuples and dictionaries of them.
The outermost one is a `Record`: it has a field `schema`, the version of its layout. Fields made with
`optional` are left out of the file while they are None.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from radgaze.errors import UserError
from radgaze.files import read_json, write_text

_OMITTED = "radgaze.optional"


@dataclass(frozen=True)
class Record:
    """Base of the outermost dataclass of a result file.

    Attributes:
        schema: Version of the file's layout. A class whose layout changed sets a higher default.
    """

    schema: int = field(default=1, kw_only=True)


Read = TypeVar("Read")


def optional(default: Any = None) -> Any:
    """A field that the file lacks while it is None."""
    return field(default=default, metadata={_OMITTED: True})


def plain(record: object) -> Any:
    """A record as the values of JSON: dictionaries, lists, text, numbers and None."""
    if is_dataclass(record) and not isinstance(record, type):
        named = ((each, getattr(record, each.name)) for each in fields(record))
        return {
            each.name: plain(value)
            for each, value in named
            if value is not None or not each.metadata.get(_OMITTED, False)
        }
    if isinstance(record, Mapping):
        return {str(key): plain(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [plain(value) for value in record]
    return record


def as_json(record: object) -> str:
    """A record as the text of its file."""
    return json.dumps(plain(record), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write(record: object, path: Path) -> None:
    """Write a record, whole or not at all."""
    write_text(as_json(record), path)


def read(cls: type[Read], path: Path, advice: str) -> Read:
    """Read a record.

    Args:
        cls: Its class.
        path: The file.
        advice: What to do about a damaged file; ends the message.

    Raises:
        UserError: The file is damaged, has a value of another type, or is of a later schema.
    """
    content = read_json(path, lambda value: isinstance(value, dict), advice)
    return validated(cls, content, path, advice)


def validated(cls: type[Read], content: object, path: Path, advice: str) -> Read:
    """A record from the values of JSON; see `read`."""
    newest = getattr(cls, "schema", None)
    version = content.get("schema") if isinstance(content, dict) else None
    if isinstance(newest, int) and isinstance(version, int) and version > newest:
        raise UserError(f"{path} has schema {version}, this radgaze reads up to {newest}; update radgaze")
    try:
        record: Read = TypeAdapter(cls).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise UserError(f"{path} is damaged: {place}: {first['msg']}; {advice}") from error
    return record
