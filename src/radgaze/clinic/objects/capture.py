"""The picture of a prediction: Secondary Capture in RGB with the radiograph, the heatmap and a legend.

It is upright, whatever the orientation of the image in its file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.ImageFont import FreeTypeFont
from scipy.ndimage import binary_erosion

from radgaze.clinic.objects.lettering import fitted, font
from radgaze.clinic.objects.mapping import on_image
from radgaze.clinic.objects.reading import Reading
from radgaze.clinic.objects.result import RESEARCH_USE, Result, common, decision_in_words, finished
from radgaze.gaze.spec import Geometry
from radgaze.reporting.layers import CONTOUR, overlay
from radgaze.reporting.style import HEAT

TEXT = 18
LINE = 26
MARGIN = 16
LEAST_WIDTH = 560
WHITE, GREY, WARNING = (255, 255, 255), (190, 190, 190), (255, 200, 60)


def capture(reading: Reading) -> Result:
    """Make the picture."""
    from highdicom.sc import SCImage

    header = reading.source.header
    image = SCImage(
        pixel_array=picture(reading),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        study_instance_uid=header.StudyInstanceUID,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        **common(reading, "sc"),
    )
    image.PatientOrientation = _orientation(reading)
    image.ConversionType = "WSD"
    image.BurnedInAnnotation = "YES"
    image.ImageComments = RESEARCH_USE
    image.LossyImageCompression = header.get("LossyImageCompression") or "00"
    for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if keyword in header and image.LossyImageCompression == "01":
            image[keyword] = header[keyword]
    image.SourceImageSequence = [_reference(reading)]
    return finished(image, reading, "sc")


def picture(reading: Reading) -> NDArray[np.uint8]:
    """Draw the picture (h, w, 3): left the radiograph, right the same with the heatmap, below the legend."""
    grey = np.repeat(reading.source.picture[..., None], 3, axis=2)
    height, width = grey.shape[:2]
    name = max(reading.probabilities, key=lambda each: reading.probabilities[each])
    values = _on_picture(reading, reading.heatmaps[name])
    outline, threshold = None, reading.model.thresholds.heatmap.value
    if name in reading.predicted:
        inside = (values >= threshold) & (values > 0)
        outline = inside & ~binary_erosion(inside, iterations=max(1, round(height / 384)), border_value=1)
    both = np.concatenate([grey, overlay(grey, values, outline)], axis=1)
    lines = _lines(reading, name)
    columns = max(2 * width, LEAST_WIDTH)
    rows = LINE + MARGIN + height + MARGIN + LINE * (len(lines) + 2) + MARGIN
    canvas = Image.new("RGB", (columns, rows))
    left = (columns - 2 * width) // 2
    canvas.paste(Image.fromarray(both), (left, LINE + MARGIN))
    draw = ImageDraw.Draw(canvas)
    _write(draw, RESEARCH_USE, (MARGIN, MARGIN // 2), columns, WARNING, size=TEXT + 2)
    top = LINE + MARGIN + height + MARGIN
    for k, (line, colour) in enumerate(lines):
        _write(draw, line, (MARGIN, top + k * LINE), columns, colour)
    shown = threshold if outline is not None else None
    _draw_scale(canvas, draw, (MARGIN, top + len(lines) * LINE), columns, shown)
    return np.asarray(canvas)


def _lines(reading: Reading, name: str) -> list[tuple[str, tuple[int, int, int]]]:
    """Lines of the legend, with their colours."""
    p = reading.probabilities
    shown = sorted(p, key=lambda each: -p[each])[:8]
    numbers = ", ".join(f"{each} {p[each]:.2f}" for each in shown) + (", …" if len(p) > len(shown) else "")
    calibrated = "not calibrated" if reading.calibrated is None else "before calibration"
    model = reading.model
    return [
        (f"Probabilities ({calibrated}): {numbers}", WHITE),
        (f"Reject option: {decision_in_words(reading)}", WHITE),
        (f"Left: radiograph. Right: heatmap of {name} ({model.method}).", GREY),
        (f"radgaze {model.version}, {model.experiment}, weights {model.weights[:12]}", GREY),
    ]


def _draw_scale(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    columns: int,
    threshold: float | None,
) -> None:
    """Draw the scale of the heatmap's colours and, with a threshold, what the outline is."""
    x, y = place
    bar = np.round(255 * HEAT(np.linspace(0, 1, 160))[None, :, :3]).astype(np.uint8)
    canvas.paste(Image.fromarray(np.repeat(bar, LINE - 12, axis=0)), (x + 20, y + 5))
    draw.text((x, y), "0", font=font("0", TEXT), fill=GREY)
    words = "1 (share of the map's maximum, not a probability)"
    _write(draw, words, (x + 188, y), columns, GREY)
    if threshold is not None:
        draw.rectangle((x, y + LINE + 9, x + 20, y + LINE + 12), fill=CONTOUR)
        words = f"region at or above {threshold:g} of the maximum, no outline of a lesion"
        _write(draw, words, (x + 28, y + LINE), columns, GREY)


def _write(
    draw: ImageDraw.ImageDraw,
    text: str,
    place: tuple[int, int],
    columns: int,
    colour: tuple[int, int, int],
    size: int = TEXT,
) -> None:
    """Write a line, made smaller and then shortened until it ends within the picture."""
    chosen: FreeTypeFont
    chosen, text = fitted(text, columns - place[0] - MARGIN, size)
    draw.text(place, text, font=chosen, fill=colour)


def _on_picture(reading: Reading, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map at the pixels of the picture, which shows the whole upright image."""
    height, width = reading.source.picture.shape
    g = reading.geometry
    zoom_x, zoom_y = g.columns / width, g.rows / height
    small = Geometry(height, width, g.scale_x * zoom_x, g.scale_y * zoom_y, g.shift_x, g.shift_y)
    return np.clip(on_image(values, small), 0, 1)


def _orientation(reading: Reading) -> list[str]:
    """Patient Orientation of the picture: that of the image if it was not turned; empty where it has none."""
    stated = [str(word) for word in reading.source.header.get("PatientOrientation") or ()]
    if len(stated) != 2 or not reading.source.turn:
        return stated if len(stated) == 2 else []
    rows, columns = reversed(stated) if reading.source.turn.diagonal else stated
    return [
        _opposite(rows) if reading.source.turn.horizontal else rows,
        _opposite(columns) if reading.source.turn.vertical else columns,
    ]


def _opposite(letters: str) -> str:
    return letters.translate(str.maketrans("LRAPHF", "RLPAFH"))


def _reference(reading: Reading) -> object:
    from highdicom.sr import CodedConcept
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes as standard

    item = Dataset()
    item.ReferencedSOPClassUID = reading.source.header.SOPClassUID
    item.ReferencedSOPInstanceUID = reading.source.header.SOPInstanceUID
    purpose = standard.DCM.SourceImageForImageProcessingOperation
    item.PurposeOfReferenceCodeSequence = [CodedConcept(*purpose[:3])]
    return item
