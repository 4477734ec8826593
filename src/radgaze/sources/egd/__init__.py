"""Eye Gaze Data for Chest X-rays (PhysioNet `egd-cxr` 1.0.0) over MIMIC-CXR 2.0.0, read unchanged."""

from radgaze.sources.egd.source import EXAMPLE, add_arguments, read

__all__ = ["EXAMPLE", "add_arguments", "read"]
