"""A simulator of chest radiographs and of the radiologists who read them, laid out like the real archives.

`simulate` writes OUT/egd (egd-cxr 1.0.0) and OUT/mimic (MIMIC-CXR 2.0.0), what was planted in
OUT/planted.json, and what is really on each image in OUT/truth.csv. The audio of the dictations and
`table_descriptions.pdf` are left out. Nothing in it stems from a real patient.
"""

from __future__ import annotations

from radgaze.simulation.archive import simulate

__all__ = ["simulate"]
