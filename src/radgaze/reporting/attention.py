"""Kind of attention that the cases of a store have: gaze, or boxes or masks where there is none."""

from __future__ import annotations

import re
from typing import Literal

from radgaze.store.store import Store

Attention = Literal["gaze", "boxes", "masks"]
MAPS: dict[Attention, str] = {"gaze": "gaze map", "boxes": "map of the boxes", "masks": "map of the masks"}


def attention_of(store: Store) -> Attention:
    """Return what a store has: gaze if it has any reading, else boxes, else masks; gaze where it has none."""
    counts = store.manifest.get("counts") or {}
    if counts.get("readings", 1):
        return "gaze"
    if store.boxes.height:
        return "boxes"
    return "masks" if counts.get("regions") else "gaze"


def told_of(words: str, attention: Attention) -> str:
    """Name boxes or masks in a text that speaks of gaze, for a store without any gaze."""
    if attention == "gaze":
        return words
    return re.sub(r"\bgaze\b", attention, words.replace("gaze map", MAPS[attention]))
