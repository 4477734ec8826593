"""Counting of the test cases that an encoder saw in its pretraining, by a list of the images that it saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.sources.delimited import column_names, read_parts

LIST, RECORDS = "a list of the images of a pretraining", "a list of records of MIMIC-CXR"
IMAGES = ("dicom_id", "image_id", "case_id", "filename", "image")
STUDIES, PATIENTS = ("study_id", "study"), ("subject_id", "patient_id", "subject", "patient")
"""Names of the columns of records, the first that there is."""


@dataclass(frozen=True)
class SeenCases:
    """Test cases that the encoder's pretraining saw; numbers alone, no id.

    Attributes:
        cases: Number of test cases.
        images: Number of those whose image is listed.
        studies: Number of those of whose study some image is listed, their own included; None where the
            studies are not known.
        patients: Number of those of whose patient some image is listed, their own included; None where the
            patients are not known.
    """

    cases: int
    images: int
    studies: int | None = None
    patients: int | None = None


@dataclass
class _Listed:
    """Keys of the images, studies and patients that a list names; of images, those of test cases."""

    images: set[str] = field(default_factory=set)
    studies: set[str] = field(default_factory=set)
    patients: set[str] = field(default_factory=set)


def seen_cases(case_ids: Sequence[str], ids: Path, record_list: Path | None = None) -> SeenCases:
    """Count the test cases in a list of what a pretraining saw.

    Args:
        case_ids: Ids of the test cases, which are those of their images.
        ids: CSV, Parquet or text file with ids of images in any column, also as paths; and, in columns of
            these names, of studies and patients.
        record_list: CSV file with dicom_id, study_id and subject_id or patient_id, as cxr-record-list.csv
            of MIMIC-CXR; with it other images of the same studies and patients are counted too.

    Raises:
        UserError: A file is missing or cannot be read, or has no ids that could be those of test cases.
    """
    tested = {_key(case_id): case_id for case_id in case_ids}
    names = column_names(ids)
    inner = [name for name in names if name.casefold() in (*STUDIES, *PATIENTS)]
    if len(inner) == len(names) and record_list is None:
        raise UserError(
            f"`pretraining_ids={ids}` has ids of studies and patients alone, and the store keeps neither: "
            "give `record_list` too, such as cxr-record-list.csv of MIMIC-CXR"
        )
    records = None if record_list is None else _records(record_list)
    of_tested = {} if records is None else _rows(records.filter(pl.col("image").is_in([*tested])))
    listed = _Listed()
    for part in _parts(ids, names):
        _add(listed, part, names, tested)
    if records is not None:
        _add_of_records(listed, ids, names, records)
        listed.images &= tested.keys()
    studies = patients = None
    if records is not None:
        rows = [of_tested.get(key) for key in tested]
        studies = sum(row is not None and row[0] in listed.studies for row in rows)
        patients = sum(row is not None and row[1] in listed.patients for row in rows)
    return SeenCases(len(case_ids), len(listed.images), studies, patients)


def _parts(path: Path, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The columns of a list in parts; the first with the names of the columns as a row, for one without."""
    head = pl.DataFrame({name: [name] for name in names})
    for place, part in enumerate(read_parts(path, names, archive=LIST)):
        body = part.select(names)
        yield pl.concat([head, body]) if place == 0 else body


def _add(listed: _Listed, part: pl.DataFrame, names: Sequence[str], tested: dict[str, str]) -> None:
    """Add what a part of a list names: images of test cases, and all studies and patients."""
    for name in names:
        if name.casefold() in STUDIES:
            listed.studies |= set(part.select(_number(pl.col(name))).to_series().drop_nulls())
        elif name.casefold() in PATIENTS:
            listed.patients |= set(part.select(_number(pl.col(name))).to_series().drop_nulls())
        else:
            keys = part.select(_image(pl.col(name)).alias("image")).filter(pl.col("image").is_in([*tested]))
            listed.images |= set(keys["image"])


def _add_of_records(listed: _Listed, ids: Path, names: Sequence[str], records: pl.DataFrame) -> None:
    """Add the studies and patients of the listed images.

    A list without images names all images of its studies, or else all studies and images of its patients.
    """
    others = [name for name in names if name.casefold() not in (*STUDIES, *PATIENTS)]
    if not others:
        by_study = any(name.casefold() in STUDIES for name in names)
        kind, ids_of = ("study", listed.studies) if by_study else ("patient", listed.patients)
        named = records.filter(pl.col(kind).is_in([*ids_of]))
        listed.images |= set(named["image"])
        listed.studies |= set(named["study"].drop_nulls())
        listed.patients |= set(named["patient"].drop_nulls())
    for part in _parts(ids, names):
        for name in others:
            keys = part.select(_image(pl.col(name)).alias("image"))
            named = records.join(keys.unique(), on="image", how="semi")
            listed.studies |= set(named["study"].drop_nulls())
            listed.patients |= set(named["patient"].drop_nulls())


def _records(path: Path) -> pl.DataFrame:
    """The image, study and patient of each record, as keys."""
    names = {name.casefold(): name for name in column_names(path)}
    columns = []
    for kind in (IMAGES, STUDIES, PATIENTS):
        name = next((names[each] for each in kind if each in names), None)
        if name is None:
            raise UserError(f"`record_list={path}` has no column {kind[0]}, as {RECORDS} has")
        columns.append(name)
    image, study, patient = columns
    tables = [
        part.select(
            _image(pl.col(image)).alias("image"),
            _number(pl.col(study)).alias("study"),
            _number(pl.col(patient)).alias("patient"),
        )
        for part in read_parts(path, columns, archive=RECORDS)
    ]
    return pl.concat(tables).unique("image", keep="first", maintain_order=True)


def _rows(table: pl.DataFrame) -> dict[str, tuple[str | None, str | None]]:
    return {image: (study, patient) for image, study, patient in table.iter_rows()}


def _key(case_id: str) -> str:
    return str(pl.select(_image(pl.lit(case_id))).item())


def _image(column: pl.Expr) -> pl.Expr:
    """The key of an image: its name without folder and extension, in lower case."""
    name = column.str.replace(r"^.*[/\\]", "").str.replace(r"(?i)\.(dcm|png|jpe?g|tiff?|npy)$", "")
    return name.str.to_lowercase()


def _number(column: pl.Expr) -> pl.Expr:
    """The key of a study or a patient: its number, without the letter that MIMIC-CXR's folders have."""
    return column.str.replace(r"^.*[/\\]", "").str.replace(r"^[sp](\d)", "$1")
