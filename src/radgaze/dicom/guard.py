"""Guards for files from outside: a limit on their size, and one exception for all their errors."""

from __future__ import annotations

import io
import logging
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from pydicom.errors import InvalidDicomError

from radgaze.dicom.error import DicomError

Source: TypeAlias = str | os.PathLike[str] | bytes
"""Path of a file, or the content of one that is in memory alone."""


@contextmanager
def errors_only(otherwise: str = "the file is damaged, or not as its format says") -> Iterator[None]:
    """Raise any error of a parser or decoder as a DicomError.

    Args:
        otherwise: Detail of the reason `broken`, which stands for the errors that damaged bytes may cause
            anywhere; the exception's class is added to it.
    """
    try:
        yield
    except DicomError:
        raise
    except InvalidDicomError as error:
        raise DicomError("not_dicom", "this is not a DICOM file") from error
    except MemoryError as error:
        raise DicomError("out_of_memory", "reading it takes more memory than is allowed") from error
    except FileNotFoundError as error:
        raise DicomError("not_a_file", "there is no such file") from error
    except OSError as error:
        raise DicomError("not_readable", error.strerror or "the file cannot be read") from error
    except EOFError as error:
        raise DicomError("truncated", "the file ends too early") from error
    except Exception as error:  # its message may hold the path, or elements of the patient
        raise DicomError("broken", f"{otherwise} ({type(error).__name__})") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the warnings of parsers, which repeat values of a file, in all threads of this process."""
    logger = logging.getLogger("pydicom")
    disabled, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.disabled = disabled


@contextmanager
def opened(source: Source, limit: int) -> Iterator[BinaryIO]:
    """Open a file that is not empty and at most `limit` bytes long.

    Raises:
        DicomError: The path is no file, or its size is not allowed.
    """
    if isinstance(source, bytes):
        _check_size(len(source), limit)
        yield io.BytesIO(source)
        return
    status = Path(source).stat()
    if not stat.S_ISREG(status.st_mode):
        raise DicomError("not_a_file", "this is a folder or a device")
    _check_size(status.st_size, limit)
    with Path(source).open("rb") as file:
        yield file


def _check_size(size: int, limit: int) -> None:
    if size == 0:
        raise DicomError("empty", "the file is empty")
    if size > limit:
        raise DicomError("too_large", f"the file is larger than {limit >> 20} MiB")
