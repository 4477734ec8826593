"""Simulation of chest radiographs and of gaze, in the layout of real archives.

`simulate` writes OUT/egd (egd-cxr 1.0.0) and OUT/mimic (MIMIC-CXR 2.0.0), the numbers of cases and planted
faults in OUT/planted.json, and the true findings of each image in OUT/truth.csv; on request also OUT/reflacx
(REFLACX 1.0.0, phase 3), with the true finding of each fixation in OUT/truth_reflacx.csv. With confounders or
twins it also writes OUT/truth/ID/NAME.png, the pixels of the abnormality ("lesion") and of each confounder.
The audio of the dictations and `table_descriptions.pdf` are left out. No data of real patients are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from radgaze.simulation.archive import Planted, simulate
    from radgaze.simulation.options import SimulationOptions

__all__ = ["Planted", "SimulationOptions", "simulate"]

_MODULES = {"Planted": "archive", "SimulationOptions": "options", "simulate": "archive"}


def __getattr__(name: str) -> object:
    # The command line imports options, and must not wait for pydicom and polars.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
