"""Small made cohorts, with real DICOM files behind them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from radgaze.dicom.read import read_image
from radgaze.sources.cohort import Cohort
from radgaze.sources.contents import NO_MENTIONS, NO_REGIONS, NO_TWINS

CLASSES = ("Normal", "CHF", "pneumonia")
SIDES = ("left", "right")
SPLITS = ("train", "train", "validate", "test")


def write_dicom(path: Path, pixels: np.ndarray) -> None:
    """A DX file, 12 bits, with a patient's name and numbers that must not be found in a store."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    file = Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Modality, file.PatientName, file.PatientID = "DX", "Secretname^Jo", "s3cretnumber"
    file.PatientBirthDate, file.AccessionNumber = "19450508", "secretaccession"
    file.Rows, file.Columns = pixels.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.WindowCenter, file.WindowWidth = 2047.5, 4095
    file.PixelData = np.rint(pixels * 4095).astype("<u2").tobytes()
    file.save_as(path, enforce_file_format=True)


def with_mentions(cohort: Cohort, *, seed: int = 5) -> Cohort:
    """The cohort with a record of the classes that random fixations belong to; of some readings none."""
    draw = np.random.default_rng(seed)
    rows = []
    for reading_id, index in cohort.fixations.select("reading_id", "index").collect().iter_rows():
        chosen = [name for name in cohort.classes if draw.random() < 0.4]
        rows += [(reading_id, index, name, float(draw.uniform(0.1, 1.0))) for name in chosen]
    return replace(cohort, mentions=pl.DataFrame(rows, schema=NO_MENTIONS, orient="row"))


def with_twins(cohort: Cohort, folder: Path) -> Cohort:
    """The cohort of `make_cohort` with four twins, whose first 20 rows are the negative of the original's."""
    rows = []
    for name, original, shows in (
        ("twin-a", "case-06", None),
        ("twin-b", "case-07", "CHF"),
        ("twin-c", "case-03", "Normal"),
        ("twin-d", "case-03", None),
    ):
        file = cohort.cases.filter(case_id=original)["image"][0]
        pixels = np.array(read_image(file, voi="none"), np.float64)
        pixels[:20] = 1 - pixels[:20]
        path = folder / f"p1-{name}.dcm"
        write_dicom(path, pixels)
        rows.append((name, original, str(path), "marker", shows, "pneumonia"))
    return replace(cohort, twins=pl.DataFrame(rows, schema=NO_TWINS, orient="row"))


def make_cohort(
    folder: Path, cases: int = 9, *, seed: int = 0, shape: tuple[int, int] | None = None
) -> Cohort:
    """Cases with one reading of 3 … 7 fixations each but every fourth, which has none; sizes vary. Two of
    three have masks of both lungs, of half the image's size.
    """
    draw = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict[str, object]]] = {
        name: [] for name in ("cases", "readings", "fixations", "boxes", "rejections", "regions")
    }
    masks = np.random.default_rng((seed, 1))
    for i in range(cases):
        height, width = shape or tuple(draw.integers(70, 130, 2))
        path = folder / f"p1000{i}-s5000{i}.dcm"
        write_dicom(path, draw.random((height, width)))
        case_id = f"case-{i:02d}"
        label = {f"label_{name}": int(k == i % 3) for k, name in enumerate(CLASSES)}
        rows["cases"].append(
            {"case_id": case_id, "patient": i // 2, "split": SPLITS[i // 2 % 4], "image": str(path), **label}
        )
        rows["boxes"].append(
            {"case_id": case_id, "label": "heart", "x1": 1.0, "y1": 2.0, "x2": 30.0, "y2": 40.0}
        )
        for k in range(2 if i % 3 else 0):
            file = folder / f"p1000{i}-mask{k}.png"
            Image.fromarray(masks.random(((height + 1) // 2, (width + 1) // 2)) > 0.5).save(file)
            rows["regions"].append({"case_id": case_id, "label": f"{SIDES[k]} lung", "file": str(file)})
        if i % 4 == 3:
            continue
        count = int(draw.integers(3, 8))
        rows["readings"].append(
            {
                "reading_id": f"r{i}",
                "case_id": case_id,
                "reader": None,
                "recorded": count + 1,
                "duration": 3.0,
            }
        )
        rows["rejections"].append(
            {
                "reason": "off_image_fixation",
                "case_id": case_id,
                "reading_id": f"r{i}",
                "detail": f"index {count}",
            }
        )
        rows["fixations"] += [
            {
                "reading_id": f"r{i}",
                "index": k,
                "x": float(draw.uniform(0, width)),
                "y": float(draw.uniform(0, height)),
                "onset": 0.3 * k,
                "duration": float(draw.uniform(0.1, 0.5)),
            }
            for k in range(count)
        ]
    return Cohort(
        source="made",
        classes=CLASSES,
        cases=pl.DataFrame(
            rows["cases"],
            schema_overrides={"patient": pl.Int32, **{f"label_{c}": pl.Int8 for c in CLASSES}},
        ),
        readings=pl.DataFrame(rows["readings"], schema_overrides={"reader": pl.String, "recorded": pl.Int32}),
        fixations=pl.LazyFrame(rows["fixations"], schema_overrides={"index": pl.Int32}),
        boxes=pl.DataFrame(rows["boxes"]),
        rejections=pl.DataFrame(rows["rejections"]),
        parameters={"seed": seed},
        regions=pl.DataFrame(rows["regions"], schema=NO_REGIONS),
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file's bytes."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }
