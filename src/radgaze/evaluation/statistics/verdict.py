"""Is it better? One answer for the report, the comparison, the audit and the paper's claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from radgaze.evaluation.statistics.evidence import LEVEL, Evidence

Verdict = Literal["better", "even", "worse", "few"]
"""Few: what it rests on is less than `evidence` asks of a verdict."""


def verdict(
    entry: Mapping[str, Any],
    *,
    higher_is_better: bool = True,
    tested: bool = False,
    evidence: Evidence | None = None,
) -> Verdict | None:
    """What a difference says: better or worse where its interval leaves 0 out, "even" where it does not.

    Even says that these cases cannot tell, not that there is no difference.

    Args:
        entry: `value` (or `difference`), `low` and `high`; with `tested` also `p`.
        higher_is_better: Which way the figure points.
        tested: Whether the p-value, after the correction for all that is tested with it, must be below
            `LEVEL`, too.
        evidence: What the difference rests on; by default what the entry says, see `Evidence.of`.

    Returns:
        None where the difference is undefined or has no interval; with `tested` also where it has no p-value.
    """
    value, low, high = (
        _known(entry.get(name)) for name in ("value" if "value" in entry else "difference", "low", "high")
    )
    if value is None:
        return None
    evidence = evidence or Evidence.of(entry)
    if evidence is not None and evidence.lacking:
        return "few"
    if low is None or high is None:
        return None
    if tested:
        p = _known(entry.get("p"))
        if p is None:
            return None
        if p >= LEVEL:
            return "even"
    if low <= 0 <= high:
        return "even"
    return "better" if (low > 0) == higher_is_better else "worse"


def verdict_words(entry: Mapping[str, Any], *, higher_is_better: bool = True) -> str:
    """The verdict as a table shows it; in its place the reason where none can be given."""
    said = verdict(entry, higher_is_better=higher_is_better)
    evidence = Evidence.of(entry)
    if said == "few" and evidence is not None:
        return evidence.lacking
    return {"better": "better", "worse": "worse", "even": "not distinguishable"}.get(said or "", "undefined")


def against_all(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    """Better than all, worse than at least one, else even; "few" where one is, undefined ones left out."""
    known = [one for one in verdicts if one is not None]
    if not known:
        return None
    if "few" in known:
        return "few"
    if "worse" in known:
        return "worse"
    return "better" if set(known) == {"better"} else "even"


def _known(value: Any) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
