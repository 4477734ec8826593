"""Twins of an image: the same patient, disease, noise and gaze, with another confounder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from radgaze.simulation.kinds import CLASSES, KINDS, class_of, variant_of
from radgaze.simulation.overlay import Mask
from radgaze.simulation.plan import STREAM_TWIN, Case, dicom_id, stream


@dataclass(frozen=True)
class Twin:
    """An image that differs from that of a case in one confounder.

    Attributes:
        case: The case, with the id of the twin.
        twin_of: Id of the case.
        kind: Kind of the confounder that differs, one of `KINDS`.
        shows: Class whose confounder the twin shows; None where it shows none of this kind.
        original_shows: Class whose confounder the case shows.
        variants: Variant of each kind of confounder in the twin.
    """

    case: Case
    twin_of: str
    kind: str
    shows: str | None
    original_shows: str
    variants: Mapping[str, str]


def twins_of(case: Case, seed: int) -> tuple[Twin, ...]:
    """List the twins of a case: for each kind one without it, and one with that of each other class.

    The kinds are those of `SimulationOptions.confounder`, or the marker where none is given.

    Args:
        case: The case.
        seed: Random seed of the data set.
    """
    twins = []
    for kind in dict(case.confounders) or ("marker",):
        original = class_of(kind, case.variants[kind])
        rest = {name: variant for name, variant in case.variants.items() if name != kind}
        for place, shows in enumerate((None, *CLASSES)):
            if shows == original:
                continue
            rng = stream(seed, STREAM_TWIN, case.index, KINDS.index(kind), place)
            named = replace(case, dicom_id=dicom_id(rng))
            variants = rest if shows is None else {**rest, kind: variant_of(kind, shows)}
            twins.append(Twin(named, case.dicom_id, kind, shows, original, variants))
    return tuple(twins)


def write_masks(folder: Path, masks: Mapping[str, Mask]) -> None:
    """Write masks (H, W) as PNG files of one bit, NAME.png each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, mask in masks.items():
        picture = Image.fromarray(mask.astype(np.uint8) * 255).convert("1", dither=Image.Dither.NONE)
        picture.save(folder / f"{name}.png")
