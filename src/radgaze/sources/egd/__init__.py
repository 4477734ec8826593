"""Eye Gaze Data for Chest X-rays (PhysioNet `egd-cxr` 1.0.0) over MIMIC-CXR 2.0.0, read unchanged."""

from radgaze.sources.egd.options import EgdOptions
from radgaze.sources.egd.source import SOURCE, read

__all__ = ["SOURCE", "EgdOptions", "read"]
