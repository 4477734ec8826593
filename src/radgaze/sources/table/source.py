"""The source `table`: a table of images and labels, with fixations, boxes and masks where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.sources.cohort import Cohort
from radgaze.sources.contents import NO_REJECTIONS
from radgaze.sources.source import Source
from radgaze.sources.split import stratified_split
from radgaze.sources.table.boxes import boxes_of
from radgaze.sources.table.cases import Sheet, read_cases
from radgaze.sources.table.gaze import gaze_of
from radgaze.sources.table.ids import KEY, digest, numbered, write_key
from radgaze.sources.table.masks import masks_of
from radgaze.sources.table.matching import file_of, image_name
from radgaze.sources.table.options import TableOptions
from radgaze.sources.twins import found_twins


def read(options: TableOptions) -> Cohort:
    """Read a table and the files that belong to it as a cohort, whose rejections list all that is left out.

    Classes are exclusive unless `multi_label` is set or a record has several classes, which is reported. The
    id of a case is that in the table; it is written to the store and should not reveal the patient. Without
    ids, cases are numbered in the order of the table, since the name of a file may reveal the patient. Images
    that are only in the files of fixations, boxes or masks are numbered too, and so are readers.

    Args:
        options: Files and settings.

    Raises:
        UserError: A file or column is missing, a value is malformed, or no image exists.
    """
    path = Path(options.table).absolute()
    folder = path.parent if options.images is None else Path(options.images).absolute()
    sheet = read_cases(path, options)
    records = _judged(sheet.records, folder)
    _check_images(records, path, folder)
    cases = records.filter(pl.col("reason").is_null()).with_columns(image=pl.col("file"))
    gaze = gaze_of(options, records, cases)
    boxes, lost_boxes = boxes_of(options, records, cases)
    regions, lost_masks = masks_of(options, records, cases)
    rejected = [records.filter(pl.col("reason").is_not_null()), gaze.strangers, lost_boxes, lost_masks]
    readings, off_image = gaze.readings, gaze.off
    if options.without_gaze == "drop":
        unseen = cases.join(readings.filter("seen"), on="case_id", how="anti", maintain_order="left")
        detail = pl.lit("no fixation is on the image")
        rejected.append(unseen.with_columns(reason=pl.lit("no_gaze"), detail=detail))
        cases, readings, off_image, boxes, regions = (
            table.join(unseen, on="case_id", how="anti", maintain_order="left")
            for table in (cases, readings, off_image, boxes, regions)
        )
    detail = pl.format("index {}", "index")
    rejected.append(off_image.with_columns(reason=pl.lit("off_image_fixation"), detail=detail))
    twins, lost_twins = _twins(sheet, folder, cases)
    rejected.append(lost_twins)
    is_split = not cases["split"].null_count()
    rejections, strangers = _rejections(rejected)
    if options.key is not None:
        write_key(options.key, pl.concat([_key(records), _key_of_twins(sheet, records), strangers]))
    return Cohort(
        source="table",
        classes=sheet.names,
        cases=(cases if is_split else _split(cases, sheet, options.seed)).select(
            "case_id",
            "patient",
            "split",
            "image",
            *(
                pl.col("classes").list.contains(name).cast(pl.Int8).alias(f"label_{name}")
                for name in sheet.names
            ),
        ),
        readings=readings.drop("seen"),
        fixations=gaze.fixations,
        boxes=boxes,
        rejections=rejections,
        parameters=_parameters(options, sheet, is_split=is_split),
        exclusive=sheet.exclusive,
        regions=regions,
        twins=twins,
    )


def _twins(sheet: Sheet, folder: Path, cases: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`Cohort.twins`, and the rejected twins."""
    image = pl.col("image").map_elements(lambda image: file_of(folder, image), pl.String)
    return found_twins(sheet.twins.with_columns(image).drop("name"), cases)


def _key_of_twins(sheet: Sheet, records: pl.DataFrame) -> pl.DataFrame:
    """Name of each twin in the table, with the columns of `KEY`."""
    name = "image" if _are_numbered(records) else "name"
    return sheet.twins.select(id="case_id", name=name)


def _parameters(options: TableOptions, sheet: Sheet, *, is_split: bool) -> dict[str, object]:
    """`Cohort.parameters`. Options that were added later are recorded only where they differ from their
    defaults, so that the identity of earlier stores does not change.
    """
    parameters: dict[str, object] = {
        "split": "table" if is_split else "stratified",
        "seed": None if is_split else options.seed,
        "without_gaze": options.without_gaze,
        "fixation_frame": options.fixation_frame,
        "box_frame": options.box_frame,
    }
    if _are_numbered(sheet.records):
        # Numbered ids do not depend on the files, so the digest of the names distinguishes lists of files.
        parameters["names"] = digest([*sheet.records["image"], *sheet.twins["image"]])
    if options.box_shape != "box":
        parameters["box_shape"] = options.box_shape
    if options.fixation_units:
        parameters["fixation_units"] = list(options.fixation_units)
    return parameters


def _are_numbered(records: pl.DataFrame) -> bool:
    """Whether ids are numbered rather than those of the table."""
    return not records["case_id"].equals(records["name"])


def _key(records: pl.DataFrame) -> pl.DataFrame:
    """Name of each case in the table, with the columns of `KEY`."""
    name = "image" if _are_numbered(records) else "name"
    return records.select(id="case_id", name=name).unique(maintain_order=True)


def _check_images(records: pl.DataFrame, path: Path, folder: Path) -> None:
    """Raise UserError where no image file of the table exists."""
    if not records["exists"].any():
        image = records["image"][0]
        hint = "" if Path(image).suffix else ": the table's names lack an ending such as .png"
        raise UserError(
            f"no image of {path} is under {folder}; `images` names the folder they start from; the first one "
            f"expected is {records['file'][0]}{hint}"
        )


def _split(cases: pl.DataFrame, sheet: Sheet, seed: int) -> pl.DataFrame:
    """The cases with a stratified split by patient, see `stratified_split`."""
    # One object for each combination of classes, to save memory.
    kinds = {
        classes: classes[0] if sheet.exclusive else frozenset(classes)
        for classes in map(tuple, cases["classes"])
    }
    of_each = [kinds[tuple(classes)] for classes in cases["classes"]]
    splits = stratified_split(cases["patient"].to_list(), of_each, seed)
    return cases.with_columns(pl.col("patient").replace_strict(splits, return_dtype=pl.String).alias("split"))


def _judged(records: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """The records with the path of each image, whether it exists, and reason and detail of its rejection."""
    records = records.with_columns(file=pl.col("image").map_elements(lambda i: file_of(folder, i), pl.String))
    exists = pl.Series([Path(path).is_file() for path in records["file"]], dtype=pl.Boolean)
    # The first record that has a label stands for the case.
    is_labelled = pl.col("classes").is_not_null()
    labelled = pl.col("line").filter(is_labelled).first()
    first = pl.coalesce(labelled, pl.col("line").first()).over("case_id")
    checks = (
        ("duplicate_case", pl.col("line") != first, pl.format("{} repeats {}", "line", first)),
        ("no_label", ~is_labelled, pl.format("record {}", "line")),
        ("missing_image", ~pl.col("exists"), pl.lit("there is no file where the table says")),
    )
    return records.with_columns(exists=exists).with_columns(
        pl.coalesce(pl.when(bad).then(pl.lit(reason)) for reason, bad, _ in checks).alias("reason"),
        pl.coalesce(pl.when(bad).then(detail) for _, bad, detail in checks).alias("detail"),
    )


def _rejections(tables: Sequence[pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`Cohort.rejections`, with numbered ids for images that are in no record; and their names, as `KEY`.

    Files of gaze, boxes and masks may name images by their files, whose names must not be in the store.
    """
    columns = dict.fromkeys(("reason", "case_id", "reading_id", "detail", "key"), pl.String)
    schema = pl.DataFrame(schema=columns)
    together = pl.concat(
        [schema, *(table.select(pl.col(set(columns) & set(table.columns))) for table in tables)],
        how="diagonal",
    )
    names = together["key"].map_elements(image_name, pl.String)
    ids = numbered(names, "stranger")
    together = together.with_columns(case_id=pl.coalesce("case_id", ids)).drop("key")
    key = pl.DataFrame({"id": ids, "name": names}, schema=KEY).drop_nulls().unique(maintain_order=True)
    return together.select(*NO_REJECTIONS), key


SOURCE = Source(
    TableOptions,
    read,
    "radgaze prepare table --table labels.csv --images images --labels normal pneumonia "
    "--boxes boxes.csv --out store",  # flags: a command
)
