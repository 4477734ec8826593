"""Segmentations of a prediction's maps: the maps themselves (fractional), and regions above a threshold.

A segment is a class, and the mask of a decoder the last one. The frames have the rows and columns of the
image, whose pixels they lie on, since radiographs have no frame of reference.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from radgaze.clinic.objects import codes
from radgaze.clinic.objects.codes import Term, meaning, term_of
from radgaze.clinic.objects.mapping import in_file
from radgaze.clinic.objects.reading import Reading
from radgaze.clinic.objects.result import RESEARCH_USE, Result, common, finished
from radgaze.clinic.objects.threshold import Threshold

if TYPE_CHECKING:
    from highdicom import seg, sr
    from pydicom.dataset import Dataset

LEVELS = 255
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167))
"""Okabe & Ito's colours, of which segments have one each in turn."""


def maps_as_segments(reading: Reading) -> Result:
    """Make the fractional segmentation: a heatmap of each class as a share of its maximum, and the mask."""
    planes = _planes(reading, lambda name, values: np.rint(values * LEVELS).astype(np.uint8))
    return _segmentation(reading, planes, "seg_fractional")


def regions_as_segments(reading: Reading) -> Result:
    """Make the binary segmentation: regions of the predicted classes' heatmaps, and of the mask.

    A class that is not predicted has a segment without a pixel.
    """
    chosen = reading.model.thresholds

    def region(name: str | None, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        if name is None:
            return (values >= chosen.mask.value).astype(np.uint8)
        if name not in reading.predicted:
            return np.zeros(values.shape, np.uint8)
        return ((values >= chosen.heatmap.value) & (values > 0)).astype(np.uint8)

    return _segmentation(reading, _planes(reading, region), "seg")


def _planes(
    reading: Reading, stored: Callable[[str | None, NDArray[np.float32]], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Stored values of each segment's frame, (segments, rows, columns), made one after another.

    Args:
        reading: The reading.
        stored: Function of the name of a class, None for the mask, and its map on the image of the file.
    """
    maps: list[tuple[str | None, NDArray[np.float32]]] = list(reading.heatmaps.items())
    if reading.mask is not None:
        maps.append((None, reading.mask))
    header = reading.source.header
    planes = np.empty((len(maps), int(header.Rows), int(header.Columns)), np.uint8)
    for plane, (name, values) in zip(planes, maps, strict=True):
        laid = in_file(values, reading.geometry, reading.source.turn)
        plane[:] = stored(name, np.clip(laid, 0, 1))
    return planes


def _segmentation(
    reading: Reading, planes: NDArray[np.uint8], kind: Literal["seg", "seg_fractional"]
) -> Result:
    """Make a segmentation of stored values.

    highdicom makes everything but the pixels, of frames of 2 × 2: of large images it would hold copies
    of all frames as floats.
    """
    from highdicom import seg

    fractional = kind == "seg_fractional"
    small = deepcopy(reading.source.header)
    small.Rows = small.Columns = 2
    segmentation = seg.Segmentation(
        source_images=[small],
        pixel_array=np.zeros((1, 2, 2, len(planes)), np.float32 if fractional else np.uint8),
        segmentation_type="FRACTIONAL" if fractional else "BINARY",
        segment_descriptions=_descriptions(reading, kind),
        fractional_type="PROBABILITY",
        max_fractional_value=LEVELS,
        content_label="RADGAZE_MAPS" if fractional else "RADGAZE_REGIONS",
        content_description=RESEARCH_USE,
        omit_empty_frames=False,
        **common(reading, kind),
    )
    segmentation.Rows, segmentation.Columns = planes.shape[1:]
    overlap = bool((np.count_nonzero(planes, axis=0) > 1).any())
    segmentation.SegmentsOverlap = "YES" if overlap else "NO"
    data = planes.tobytes() if fractional else np.packbits(planes, bitorder="little").tobytes()
    segmentation.PixelData = data + b"\0" * (len(data) % 2)
    _set_deterministic_uids(segmentation, reading, kind)
    return finished(segmentation, reading, kind)


def _descriptions(reading: Reading, kind: Literal["seg", "seg_fractional"]) -> list[seg.SegmentDescription]:
    whole = kind == "seg_fractional"
    chosen = reading.model.thresholds
    heat = codes.HEATMAP if whole else codes.HEATMAP_REGION
    made = [
        _description(reading, kind, k, name, heat, None if whole else chosen.heatmap)
        for k, name in enumerate(reading.heatmaps, start=1)
    ]
    if reading.mask is not None:
        mask = codes.MASK if whole else codes.MASK_REGION
        made.append(_description(reading, kind, len(made) + 1, None, mask, None if whole else chosen.mask))
    return made


def _description(
    reading: Reading,
    kind: Literal["seg", "seg_fractional"],
    number: int,
    name: str | None,
    property_type: Term,
    threshold: Threshold | None,
) -> seg.SegmentDescription:
    """Describe a segment: of a class, or of the mask, whose name is None."""
    from highdicom import AlgorithmIdentificationSequence, seg
    from highdicom.color import CIELabColor

    label = "mask" if name is None else meaning(name)
    part = f"segment {'mask' if name is None else f'class {name}'}"
    described = seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=_coded(codes.RELATION),
        segmented_property_type=_coded(property_type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name="radgaze",
            family=_coded(codes.FAMILY),
            version=reading.model.version,
            parameters={"weights": reading.model.weights, "experiment": reading.model.experiment},
        ),
        tracking_uid=reading.uids(part, kind),
        tracking_id=f"radgaze {label}"[:64],
        display_color=CIELabColor.from_rgb(*COLOURS[(number - 1) % len(COLOURS)]),
    )
    if name is not None:
        modifier = _coded(term_of(name))
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    described.SegmentDescription = _in_words(reading, name, threshold)
    return described


def _in_words(reading: Reading, name: str | None, threshold: Threshold | None) -> str:
    """Describe a segment, with the probability of its class and its threshold."""
    what = "Mask of the decoder" if name is None else f"Heatmap ({reading.model.method}) of {meaning(name)}"
    if name is not None:
        predicted = "predicted" if name in reading.predicted else "not predicted"
        what += f", probability {reading.probabilities[name]:.3f}, {predicted}"
    if threshold is None:
        scale = "a probability" if name is None else "a share of the map's maximum, no probability"
        return f"{what}. Value: {scale}. {RESEARCH_USE}."
    unit = "" if name is None else " of the map's maximum"
    how = f"chosen on {threshold.cases}" if threshold.cases else "not chosen on"
    where = f"Region at or above {threshold.value:g}{unit}, {how} validation cases"
    return f"{what}. {where}; no outline of a lesion. {RESEARCH_USE}."


def _set_deterministic_uids(segmentation: Dataset, reading: Reading, kind: str) -> None:
    """Replace the random UID of the frames' order, which stands in three places."""
    uid = reading.uids("dimensions", kind)
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def _coded(term: Term) -> sr.CodedConcept:
    from highdicom import sr

    return sr.CodedConcept(value=term.value, scheme_designator=term.scheme, meaning=term.meaning)
