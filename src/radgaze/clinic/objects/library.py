"""The library highdicom, an extra, which writes no line of a log about an image while it is used here."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from radgaze.clinic.objects.options import EXTRA
from radgaze.errors import UserError


def check_installed() -> None:
    """Check that highdicom is installed.

    Raises:
        UserError: It is not.
    """
    if find_spec("highdicom") is None:
        raise UserError(f'results as DICOM need the library highdicom: pip install "radgaze[{EXTRA}]"')


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the logs and warnings of highdicom and pydicom, which hold UIDs and values of the patient."""
    loggers = [logging.getLogger(name) for name in ("highdicom", "pydicom")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
