"""Which resamples are drawn within classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from radgaze.evaluation.statistics import policy
from radgaze.evaluation.statistics.resampling import PatientBootstrap


def strata_drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record the number of cases and of strata of each resampling that is made from now on."""
    drawn: list[tuple[int, int]] = []

    def recorded(patients: Any, strata: Any, *rest: Any) -> PatientBootstrap:
        drawn.append((len(patients), len(np.unique(strata))))
        return PatientBootstrap(patients, strata, *rest)

    monkeypatch.setattr(policy, "PatientBootstrap", recorded)
    return drawn
