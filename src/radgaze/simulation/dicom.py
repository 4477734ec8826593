"""DICOM files like those of MIMIC-CXR: digital X-ray, for presentation, de-identified, explicit VR."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    generate_uid,
)

from radgaze.simulation.anatomy import Pose
from radgaze.simulation.exposure import BITS
from radgaze.simulation.plan import Case

FULL = 2**BITS - 1


def write_image(
    path: Path,
    pixels: npt.NDArray[np.uint16],
    case: Case,
    pose: Pose,
    sex: str,
    rng: np.random.Generator,
    shown: npt.NDArray[np.uint16] | None = None,
) -> None:
    """Write one image; some are MONOCHROME1, some have a padded border, and some are JPEG 2000 lossless.

    Args:
        path: Path of the file; its folders are created.
        pixels: Pixels (H, W) of 12 bits, bright where dense.
        case: The case.
        pose: Geometry and view of the exposure.
        sex: "F" or "M".
        rng: Random generator of the study.
        shown: Image (H, W) whose greys the window fits, so that it does not depend on what is painted over
            `pixels`; None for a window of the pixels, or none.
    """
    inverted, padded, packed = rng.random(3) < (0.05, 0.04, 0.03)
    fitted = pixels if shown is None else shown
    low, high = np.percentile(fitted[::8, ::8], [rng.uniform(2, 6), rng.uniform(99, 99.9)])
    ds = _header(case, pose, sex)
    ds.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    ds.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    if inverted:
        pixels, low, high = FULL - pixels, FULL - high, FULL - low
    if shown is not None and inverted:
        shown = FULL - shown
    if padded:
        edge = np.round(rng.uniform(0.004, 0.018, 2) * pixels.shape).astype(int) + 1
        pixels = _collimate(pixels, edge)
        shown = None if shown is None else _collimate(shown, edge)
        ds.PixelPaddingValue = 0
    width = max(round(float(high - low)), 256)
    centre = round(float(low + high) / 2)
    if rng.random() < 0.9:
        several = rng.random() < 0.5
        ds.WindowCenter = [centre, centre, centre] if several else centre
        ds.WindowWidth = [width, round(1.25 * width), round(0.8 * width)] if several else width
        ds.WindowCenterWidthExplanation = ["NORMAL", "HARDER", "SOFTER"] if several else "NORMAL"
    elif shown is not None:
        _window_of_range(ds, shown[shown > 0] if padded else shown)
    ds.Rows, ds.Columns = pixels.shape
    ds.set_pixel_data(
        np.ascontiguousarray(pixels), ds.PhotometricInterpretation, BITS, generate_instance_uid=False
    )
    if packed:
        ds.compress(JPEG2000Lossless, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)


def spoil(path: Path, kind: int) -> None:
    """Make a file unreadable: truncate its pixels or its header, or empty it, for `kind` modulo 3."""
    content = path.read_bytes()
    path.write_bytes((content[: len(content) * 2 // 5], content[:900], b"")[kind % 3])


def _header(case: Case, pose: Pose, sex: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = _uid(case.dicom_id)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.ImageType = ["DERIVED", "PRIMARY", "", "", "100000", "000000"]
    year = 2110 + case.patient_id % 80  # shifted into the future, as MIMIC's dates are
    ds.StudyDate = ds.ContentDate = f"{year}{1 + case.study_id % 12:02d}{1 + case.study_id % 28:02d}"
    ds.StudyTime = ds.ContentTime = f"{case.study_id % 24:02d}{case.stay_id % 60:02d}00"
    ds.AccessionNumber = ""
    ds.ReferringPhysicianName = ""
    ds.Modality = "DX"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.Manufacturer = "radgaze phantom"
    ds.BodyPartExamined = "CHEST"
    ds.PatientName = ""
    ds.PatientID = str(case.patient_id)
    ds.PatientBirthDate = ""
    ds.PatientSex = sex
    ds.StudyInstanceUID = _uid(f"study {case.study_id}")
    ds.SeriesInstanceUID = _uid(f"series {case.study_id} {case.dicom_id}")
    ds.StudyID = str(case.study_id)
    ds.SeriesNumber = 1
    ds.InstanceNumber = 1
    ds.PatientOrientation = ["L", "F"]
    ds.ViewPosition = "AP" if pose.supine else "PA"
    ds.ImageLaterality = "U"
    ds.BurnedInAnnotation = "YES"
    ds.ImagerPixelSpacing = [round(1 / pose.scale, 4)] * 2
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    return ds


def _uid(name: str) -> UID:
    return generate_uid(entropy_srcs=["radgaze phantom", name])


def _window_of_range(ds: FileDataset, values: npt.NDArray[np.uint16]) -> None:
    """State a window that gives the greys which a file without one, and with these values, is shown in."""
    least, most = int(values.min()), int(values.max())
    ds.WindowCenter, ds.WindowWidth = (least + most) / 2, most - least
    ds.VOILUTFunction = "LINEAR_EXACT"


def _collimate(pixels: npt.NDArray[np.uint16], edge: npt.NDArray[np.int64]) -> npt.NDArray[np.uint16]:
    """The image with a border of padding above and at the right, like that of a collimator; no other pixel
    has the padding value."""
    bordered: npt.NDArray[np.uint16] = np.maximum(pixels, 1)
    bordered[: edge[0]] = 0
    bordered[:, pixels.shape[1] - edge[1] :] = 0
    return bordered
