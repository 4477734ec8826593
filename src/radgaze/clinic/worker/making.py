"""The objects of an image: their maker, and the name under which the journal keeps what is done.

The worker knows no run: it is given a `Maker`, so that it needs no torch, and tests give it another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from radgaze.dicom.error import DicomError


@dataclass(frozen=True)
class Made:
    """An object that was made of an image.

    Attributes:
        kind: Kind of the object, such as "sr".
        dataset: The object, whose SOP Instance UID follows from image, weights and options.
    """

    kind: str
    dataset: Dataset

    @property
    def uid(self) -> str:
        """Its SOP Instance UID."""
        return str(self.dataset.SOPInstanceUID)


@dataclass(frozen=True)
class Maker:
    """A maker of the objects of images.

    Attributes:
        name: Name of the run's weights and of the options; with others, an image is predicted again.
        stream: Function that makes the objects of each DICOM file of an iterator, in order, or gives the
            reason why there are none. It may take a few files ahead.
        expected: Function that gives the SOP Instance UIDs of the objects of an image from its own, without
            making them.
    """

    name: str
    stream: Callable[[Iterator[Path]], Generator[Sequence[Made] | DicomError, None, None]]
    expected: Callable[[str], Sequence[str]]

    @property
    def short(self) -> str:
        """A short name of the weights and options, for a path."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:8]
