"""Results as JSON files: frozen dataclasses, written atomically and validated when they are read.

A record is a frozen dataclass of plain values, other dataclasses, and lists, tuples and dictionaries of them.
The outermost one is a `Record`: it has a field `schema`, the version of its layout. Fields made with
`optional` are left out of the file while they are None.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TypeVar, overload

from pydantic import TypeAdapter, ValidationError

from radgaze.errors import UserError, shortened
from radgaze.files import read_json, write_text

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
"""A value of JSON."""

T = TypeVar("T")

_OMITTED = "radgaze.optional"


@dataclass(frozen=True)
class Record:
    """Base of the outermost dataclass of a result file.

    Attributes:
        schema: Version of the file's layout. A class whose layout has changed sets a higher default.
    """

    schema: int = field(default=1, kw_only=True)


@overload
def optional() -> None: ...
@overload
def optional(default: T) -> T: ...
def optional(default: object = None) -> object:
    """Make a field that is left out of the file while it is None."""
    return field(default=default, metadata={_OMITTED: True})


def plain(record: object) -> Plain:
    """Convert a record to the values of JSON: dictionaries, lists, text, numbers and None.

    Raises:
        TypeError: A value is none of these.
    """
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
    if record is None or isinstance(record, (bool, int, float, str)):
        return record
    raise TypeError(f"a {type(record).__name__} is no value of a JSON file")


def plain_fields(record: object) -> dict[str, Plain]:
    """Convert a record to a dictionary of its fields; see `plain`."""
    content = plain(record)
    if not isinstance(content, dict):
        raise TypeError(f"{type(record).__name__} has no fields")
    return content


def as_json(record: object) -> str:
    """Format a record as the text of its file.

    Raises:
        ValueError: A number is NaN or infinite, which JSON does not have.
    """
    return json.dumps(plain(record), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write(record: object, path: Path) -> None:
    """Write a record atomically.

    Raises:
        ValueError: A number is NaN or infinite. The file stays as it was.
    """
    write_text(as_json(record), path)


def read(cls: type[T], path: Path, advice: str) -> T:
    """Read a record.

    Args:
        cls: Class of the record.
        path: Path of the file.
        advice: What to do about a damaged file; the end of the message.

    Raises:
        UserError: The file is damaged, has a value of another type, or is of a later schema.
    """
    content = read_json(path, lambda value: isinstance(value, dict), advice)
    return validated(cls, content, path, advice)


def validated(cls: type[T], content: object, path: Path, advice: str) -> T:
    """Make a record of the values of JSON; see `read`. Keys that the class does not have are ignored."""
    newest = getattr(cls, "schema", None)
    version = content.get("schema") if isinstance(content, dict) else None
    if isinstance(newest, int) and isinstance(version, int) and version > newest:
        raise UserError(f"{path} has schema {version}, this radgaze reads up to {newest}; update radgaze")
    if (place := _not_finite(content)) is not None:
        raise UserError(f"{path} is damaged: {place or 'the whole'}: not a finite number; {advice}")
    try:
        return TypeAdapter(cls).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = shortened(".".join(map(str, first["loc"])) or "the whole")
        raise UserError(f"{path} is damaged: {place}: {first['msg']}; {advice}") from error


def _not_finite(content: object) -> str | None:
    """The place of the first number that is NaN or infinite; None if all are finite."""
    if isinstance(content, float):
        return None if math.isfinite(content) else ""
    items = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in items:
        inner = _not_finite(value)
        if inner is not None:
            return f"{key}.{inner}" if inner else str(key)
    return None
