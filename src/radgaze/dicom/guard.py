"""A file from outside: opened only if its size is bearable, and whatever it breaks told in one way."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydicom.errors import InvalidDicomError

from radgaze.dicom.error import DicomError


@contextmanager
def errors_only() -> Iterator[None]:
    """Whatever goes wrong, of all that a decoder may raise on broken bytes, is a DicomError."""
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
        raise DicomError("broken", f"{type(error).__name__} while reading") from error


@contextmanager
def opened(path: str | os.PathLike[str], limit: int) -> Iterator[BinaryIO]:
    """The file, if it is one, not empty, and at most `limit` bytes long.

    Raises:
        DicomError: It is not.
    """
    found = Path(path).stat()
    if not stat.S_ISREG(found.st_mode):
        raise DicomError("not_a_file", "this is a folder or a device")
    if found.st_size == 0:
        raise DicomError("empty", "the file is empty")
    if found.st_size > limit:
        raise DicomError("too_large", f"the file is larger than {limit >> 20} MiB")
    with Path(path).open("rb") as file:
        yield file
