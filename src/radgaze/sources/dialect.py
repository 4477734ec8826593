"""Dialect of a file of delimited text: encoding, separator, and lines before its header."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.options import Options, option

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""Separators that are looked for in a header, and their names in messages."""
NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "bar": "|", "space": " "}
"""Names of separators, for those that are hard to type in a shell."""
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
"""Byte order marks at the beginning of a file, and the encodings that they indicate."""
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
OTHERS = {
    b"PK\x03\x04": "a spreadsheet or a zip archive: save its sheet as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet: save its sheet as CSV UTF-8",
    b"PAR1": "a Parquet file: its name must end in .parquet",
    b"%PDF": "a PDF",
}
"""First bytes of files that are not delimited text, and descriptions of these files."""
SAMPLE = 2**16
"""Number of bytes that are searched for the header."""

_chosen: ContextVar[tuple[str | None, str | None]] = ContextVar("chosen", default=(None, None))
_said = set[tuple[object, ...]]()


@dataclass(frozen=True)
class TextOptions(Options):
    """Options of files of delimited text.

    Attributes:
        encoding: Encoding of CSV files without a byte order mark, such as cp1252; without it UTF-8.
        separator: Separator of the cells of CSV files: a character, or comma, semicolon, tab, bar or space;
            without it the separator in their header.
    """

    encoding: str | None = option(None, metavar="NAME")
    separator: str | None = option(None, metavar="CHARACTER")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoding is not None:
            try:
                "".encode(codecs.lookup(self.encoding).name)
            except (LookupError, ValueError) as error:  # some names, such as `undefined`, raise the other
                raise UserError(
                    f"`encoding={self.encoding}` must be the name of an encoding: utf-8, cp1252, latin-1 …"
                ) from error
        if self.separator is not None:
            character = NAMES.get(self.separator, self.separator)
            if len(character) != 1 or not character.isascii() or character in '"\r\n':
                raise UserError(
                    f"`separator={self.separator}` must be one character, or one of {', '.join(NAMES)}"
                )


@contextmanager
def written_with(options: TextOptions) -> Iterator[None]:
    """Apply options to all delimited text that is read inside this context."""
    separator = options.separator
    before = _chosen.set((options.encoding, None if separator is None else NAMES.get(separator, separator)))
    try:
        yield
    finally:
        _chosen.reset(before)


@dataclass(frozen=True)
class Dialect:
    """Dialect of a file.

    Attributes:
        separator: Character between its cells.
        names: Names of its columns, in Unicode's composed form; "" for one without a name.
        begin: Number of bytes of the text, as UTF-8, before the first record.
        line: Number of the line in which the first record begins.
    """

    separator: str
    names: tuple[str, ...]
    begin: int
    line: int


def dialect_of(text: bytes, path: Path, *, whole: bool) -> Dialect | None:
    """Determine the dialect of a file that begins with `text`, and report anything that is not plain CSV.

    Args:
        text: Beginning of the file, in UTF-8.
        path: The file, for messages.
        whole: Whether the text is the whole file.

    Returns:
        The dialect; None if the header is longer than the text.
    """
    rest, lines, separator = text, 0, _chosen.get()[1]
    # Spreadsheets may write the separator in a line before the header.
    if stated := re.match(rb'"?sep=([^"\r\n])"?\r?(\n|$)', rest):
        lines, rest = 1, rest[stated.end() :]
        separator = separator or stated[1].decode()
    comments = 0
    while rest.startswith(b"#") and _is_comment(rest, separator):
        comments, rest = comments + 1, rest.partition(b"\n")[2]
    while (head := rest.partition(b"\n"))[1] and not head[0].strip():
        lines, rest = lines + 1, head[2]
    head_end = _end_of_header(rest)
    if head_end is None and not whole:
        return None
    header = rest[:head_end].decode()
    separator = separator or _likely(header)
    names = next(
        csv.reader([f"{one}\n" for one in header.rstrip("\r\n").split("\n")], delimiter=separator), []
    )
    if comments:
        say_once(
            path, f"{path.name}: lines before the header that begin with # are skipped (lines: {comments})"
        )
    if separator != "," and _chosen.get()[1] is None:
        kind = SEPARATORS.get(separator, f"“{separator}”")
        message = f"{path.name}: its cells are taken to be separated by {kind}; else give `separator`"
        say_once(path, message)
    return Dialect(
        separator,
        tuple(unicodedata.normalize("NFC", name.strip().strip("\ufeff")) for name in names),
        len(text) - len(rest) + len(header.encode()),
        1 + lines + comments + header.count("\n"),
    )


class Text:
    """Stream of the text of a file as UTF-8, whatever its encoding on disk; lone \\r become \\n.

    Args:
        raw: The opened file; it may be compressed with gzip or Zstandard.
        path: Path of the file, for messages.

    Raises:
        UserError: The file is not text, or not in this encoding.
    """

    def __init__(self, raw: BinaryIO, path: Path) -> None:
        self._path, self._file = path, _unpacked(raw)
        self._rest = self._file.read(SAMPLE)
        for magic, kind in OTHERS.items():
            if self._rest.startswith(magic):
                raise UserError(f"{path} is no CSV file but {kind}")
        given = _chosen.get()[0]
        mark = next((mark for mark in MARKS if self._rest.startswith(mark)), b"")
        self._encoding = MARKS[mark] if mark else given or "utf-8"
        if b"\0" in self._rest and not (mark or given):
            raise UserError(
                f"{path} holds zero bytes: it is no CSV file, or UTF-16 without a byte order mark "
                "(`encoding=utf-16-le` or utf-16-be)"
            )
        self._rest = self._rest[len(mark) :]
        # Lines of old Macintosh files end with \r alone.
        self._lone = b"\r" in self._rest and b"\n" not in self._rest
        self._decoder = codecs.getincrementaldecoder(self._encoding)()
        self._other = given is not None and not mark and codecs.lookup(given).name != "utf-8"
        self._could_be = codecs.getincrementaldecoder("utf-8")()
        self._plain, self._lines = True, 1

    def read(self, size: int) -> bytes:
        """Read about `size` bytes; return no bytes at the end of the file."""
        while True:
            block, self._rest = self._rest[:size], self._rest[size:]
            block = block or self._file.read(size)
            try:
                text = self._decoder.decode(block, final=not block)
                content = (text.replace("\r", "\n") if self._lone else text).encode()
            except UnicodeError as error:
                raise self._not_in_encoding(error) from error
            self._look_for_utf8(block)
            self._lines += content.count(b"\n")
            if content or not block:
                return content

    def _not_in_encoding(self, error: UnicodeError) -> UserError:
        if not isinstance(error, UnicodeDecodeError):
            kind = codecs.lookup(self._encoding).name
            if kind in ("utf-16", "utf-32"):
                return UserError(
                    f"{self._path} has no byte order mark, by which {kind} is read; give "
                    f"`encoding={kind}-le` (as Windows writes it) or {kind}-be"
                )
            return UserError(f"{self._path} is not {self._encoding}; `encoding` names what it is written in")
        line = self._lines + error.object[: error.start].count(b"\n")
        byte = error.object[error.start]
        name = "UTF-8" if self._encoding == "utf-8" else self._encoding
        return UserError(
            f"{self._path}, line {line}: byte 0x{byte:02X} is not {name}; `encoding` names what the file is "
            "written in, such as cp1252 (Windows, western Europe), cp1250, cp1251, shift_jis or gb18030; or "
            "save it as UTF-8"
        )

    def _look_for_utf8(self, block: bytes) -> None:
        """Report at the end of the file if it is valid UTF-8 although another encoding was requested."""
        if not self._other:
            return
        try:
            self._could_be.decode(block, final=not block)
        except UnicodeDecodeError:
            self._other = False
            return
        self._plain &= block.isascii()
        if not block and not self._plain:
            say_once(self._path, f"{self._path.name}: it is valid UTF-8, but read as `encoding` says")


def called(name: str) -> str:
    """Convert the name of a column, as typed by a user, to the Unicode form of `Dialect.names`."""
    return unicodedata.normalize("NFC", name)


def say_once(path: Path, message: str) -> None:
    """Print a message once for a file, however often the file is read."""
    about = path.stat()
    key = (path.absolute(), about.st_mtime_ns, about.st_size, message)
    if key not in _said:
        _said.add(key)
        note(message)


def _unpacked(raw: BinaryIO) -> BinaryIO:
    magic = raw.read(4)
    raw.seek(0)
    if magic.startswith(GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw))
    if magic == ZSTANDARD:
        import io

        import imagecodecs

        try:
            return io.BytesIO(bytes(imagecodecs.zstd_decode(raw.read())))
        except imagecodecs.ZstdError as error:
            raise OSError(f"its Zstandard data are broken: {error}") from error
    return raw


def _is_comment(text: bytes, separator: str | None) -> bool:
    """Whether the first line, which begins with #, is a comment and no header of which # is a part.

    A comment has fewer cells than the header; or # and each separator stand apart from the next word, as in
    prose, and what follows is no record with a number.
    """
    first, *after = (line.decode(errors="replace") for line in text.split(b"\n", 100)[:100])
    header = next((line for line in after if line.strip() and not line.startswith("#")), "")
    separator = separator or _likely(header)
    cells, after_it = _cells(first, separator), _cells(header, separator)
    if len(after_it) > len(cells):
        return True
    is_prose = first.startswith("# ") and all(cell.startswith(" ") for cell in cells[1:])
    return is_prose and bool(header) and not any(map(_is_number, after_it))


def _likely(header: str) -> str:
    """The separator that results in the most cells; a comma if none occurs."""
    return max(SEPARATORS, key=lambda separator: len(_cells(header, separator)))


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=separator), [])
    except csv.Error:
        return []


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _end_of_header(text: bytes) -> int | None:
    """The end of the first line up to which the number of quotes is even; None where there is none."""
    end = 0
    while (end := text.find(b"\n", end) + 1) > 0:
        if text.count(b'"', 0, end) % 2 == 0:
            return end
    return None
