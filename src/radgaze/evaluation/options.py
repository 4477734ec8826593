"""Names of the choices that `evaluate` offers."""

from __future__ import annotations

from typing import Literal

Interval = Literal["delong", "bootstrap", "seed"]
Target = Literal["predicted", "true"]

GENERATOR = "guided_backprop"
"""The generator of the heatmaps of all runs that are compared, also of those trained without a heatmap."""
