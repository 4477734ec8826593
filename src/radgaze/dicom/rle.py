"""Decode RLE Lossless (DICOM PS3.5 annex G)."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from radgaze.dicom.error import DicomError

HEADER = 64
"""Bytes of the header: the number of segments, and the offset of each."""


def decode(frame: bytes, rows: int, columns: int, bits: int) -> NDArray[np.integer]:
    """Decode a frame to pixels (rows, columns) as they are in the file, unsigned.

    Raises:
        DicomError: A segment does not have exactly one byte for each pixel.
    """
    import imagecodecs

    if len(frame) < HEADER:
        raise DicomError("truncated", "the RLE data end early")
    count, *starts = struct.unpack("<16I", frame[:HEADER])
    if count != bits // 8:
        raise DicomError("wrong_length", f"{count} RLE segments, for {bits // 8} stated")
    starts = starts[:count]
    ends = [*starts[1:], len(frame)]
    if starts[0] != HEADER or any(start >= end for start, end in zip(starts, ends, strict=True)):
        raise DicomError("broken", "the RLE segments make no sense")
    planes = []
    for start, end in zip(starts, ends, strict=True):
        segment = frame[start:end]
        size = _size(segment, rows * columns)
        try:
            plane = np.frombuffer(imagecodecs.packbits_decode(segment[:size]), np.uint8)
        except RuntimeError:
            raise DicomError("truncated", "an RLE segment ends early") from None
        if plane.size != rows * columns:
            raise DicomError("wrong_length", "the RLE data have not the size that the header says")
        planes.append(plane.reshape(rows, columns))
    if len(planes) == 1:
        return planes[0]
    return planes[0].astype(np.uint16) << 8 | planes[1]  # the most significant byte comes first


def _size(segment: bytes, pixels: int) -> int:
    """Length of a segment's runs: at most one byte follows them, for an even length."""
    at, done = 0, 0
    while at < len(segment) and done < pixels:
        count = segment[at]
        if count < 128:
            done += count + 1
            at += count + 2
        else:
            done += 257 - count if count > 128 else 0
            at += 2 if count > 128 else 1
    if done < pixels:
        raise DicomError("wrong_length", "the RLE data have not the size that the header says")
    if done > pixels or at > len(segment) or len(segment) - at > 1:
        raise DicomError("wrong_length", "the RLE data have not the size that the header says")
    return at
