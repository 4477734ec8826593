"""DICOM objects of a run's prediction for a radiograph: report, segmentations, and a picture.

    maker = Maker.of(run, ObjectOptions())
    for result in maker("chest.dcm"):
        result.dataset.save_as(f"{result.kind}.dcm")

Options are imported without torch; what makes objects is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radgaze.clinic.objects.options import KINDS, Kind, ObjectOptions

if TYPE_CHECKING:
    from radgaze.clinic.objects.making import Maker, make
    from radgaze.clinic.objects.result import Result

__all__ = ["KINDS", "Kind", "Maker", "ObjectOptions", "Result", "make"]

_LAZY = {"Maker": "making", "make": "making", "Result": "result"}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"radgaze.clinic.objects.{_LAZY[name]}"), name)
