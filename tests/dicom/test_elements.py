"""JPEG's codes walked in lanes: what a walk from the first bit gives, whatever the data are."""

from __future__ import annotations

from collections.abc import Sequence

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from radgaze.dicom import elements
from radgaze.dicom.error import DicomError
from radgaze.dicom.scan import check_sequential, parse


@pytest.mark.parametrize(("bits", "colours"), [(8, 1), (8, 3), (12, 1)])
def test_lanes_give_what_one_walk_gives(monkeypatch: pytest.MonkeyPatch, bits: int, colours: int) -> None:
    rng = np.random.default_rng(bits + colours)
    verdicts = []
    for trial in range(16):
        codestream = damaged(rng, bits, colours, changes=trial % 4)
        monkeypatch.setattr(elements, "SHORT", 2**40)
        alone = verdict(codestream)
        monkeypatch.setattr(elements, "SHORT", 0)
        assert verdict(codestream) == alone
        verdicts.append(alone)
    assert set(verdicts) == {True, False}


def test_most_codes_of_a_long_scan_are_not_walked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    codestream = damaged(np.random.default_rng(0), 12, 1, changes=0, side=600)
    walked, one_by_one = [], elements._one_by_one

    def counted(
        window: NDArray[np.int32],
        place: elements.Place,
        origin: int,
        units: int,
        stop: int,
        blocks: Sequence[elements.Block],
    ) -> None:
        before = place.at
        one_by_one(window, place, origin, units, stop, blocks)
        walked.append(place.at - before)

    monkeypatch.setattr(elements, "_one_by_one", counted)
    check_sequential(parse(codestream))
    assert sum(walked) < 8 * len(codestream) / 4


def damaged(rng: np.random.Generator, bits: int, colours: int, *, changes: int, side: int = 160) -> bytes:
    """Noise with a flat border, where codes repeat, and so many bytes changed."""
    shape = (side, side) if colours == 1 else (side, side, colours)
    pixels = rng.normal(2 ** (bits - 1), 2**bits / 40, shape).clip(0, 2**bits - 1)
    pixels[: side // 4] = 0
    pixels = pixels.astype(np.uint8 if bits == 8 else np.uint16)
    codestream = bytearray(imagecodecs.jpeg8_encode(pixels, level=92, bitspersample=bits))
    for _ in range(changes):
        codestream[rng.integers(len(codestream) // 2, len(codestream) - 2)] = rng.integers(255)
    return bytes(codestream)


def verdict(codestream: bytes) -> bool:
    try:
        check_sequential(parse(codestream))
    except DicomError:
        return False
    return True
