"""Names of boxes and regions: of findings, of organs, and of what an earlier run looked at."""

from __future__ import annotations

from typing import Literal

from radgaze.store.names import plain

_SIDED = (
    "apical zone",
    "clavicle",
    "costophrenic angle",
    "hemidiaphragm",
    "hilar structures",
    "lower lung zone",
    "lung",
    "mid lung zone",
    "upper lung zone",
)
ANATOMY = frozenset(f"{side} {name}" for side in ("left", "right") for name in _SIDED) | {
    "abdomen",
    "aortic arch",
    "aortic knob",
    "cardiac silhouette",
    "carina",
    "chest",
    "cavoatrial junction",
    "descending aorta",
    "mediastinum",
    "right atrium",
    "spine",
    "svc",
    "trachea",
    "upper mediastinum",
}
"""Names of boxes and regions of organs (in egd-cxr, Chest ImaGenome and REFLACX).

Every case has them, whatever its class, so they mark neither attention nor findings.
"""

EXPLAINED_BEFORE = "explained before"
"""Name of the masks of places on which the decision of an earlier run depends most."""

_BESIDE = {"left", "right", "both", "l", "r", "and", "field", "fields", "mask"}
"""Words beside "lung" that leave it a lung."""


def lung_of(name: str) -> Literal["left", "right", "both"] | None:
    """Return the lung that a name means; None for another name, such as "lung opacity"."""
    words = set(plain(name).split())
    if not words & {"lung", "lungs"} or words - _BESIDE - {"lung", "lungs"}:
        return None
    left, right = bool(words & {"left", "l"}), bool(words & {"right", "r"})
    return "both" if left == right else "left" if left else "right"


def is_finding(name: str) -> bool:
    """Return whether a name is that of a finding; all others mark neither attention nor findings."""
    return plain(name) not in ANATOMY and lung_of(name) is None and plain(name) != EXPLAINED_BEFORE
