"""The library highdicom, an extra, which writes no line of a log about an image while it is used here."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from radgaze.clinic.objects.options import EXTRA
from radgaze.errors import UserError


def check_installed() -> None:
    """Check that highdicom is installed.

    Raises:
        UserError: It is not.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise UserError(
            f'results as DICOM need the library highdicom: pip install "radgaze[{EXTRA}]"'
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence highdicom's log and pydicom's warnings, which hold UIDs and values of the patient."""
    logger = logging.getLogger("highdicom")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
