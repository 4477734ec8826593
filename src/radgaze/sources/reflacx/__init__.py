"""REFLACX 1.0.0 (Bigolin Lanfredi et al. 2022) over MIMIC-CXR 2.0.0, read unchanged."""

from radgaze.sources.reflacx.source import SOURCE, ReflacxOptions, read

__all__ = ["SOURCE", "ReflacxOptions", "read"]
