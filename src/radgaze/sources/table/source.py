"""Import a generic data set: a table of images and labels, with fixations and boxes where there are any."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from radgaze.errors import UserError
from radgaze.sources.cohort import Cohort
from radgaze.sources.sizes import image_sizes
from radgaze.sources.split import stratified_split
from radgaze.sources.table.classes import words_of
from radgaze.sources.table.files import file_of, of_cases, read_boxes, read_cases, stem
from radgaze.sources.table.frame import frame_of, scaled
from radgaze.sources.table.gaze import gaze_of
from radgaze.sources.table.ids import KEY, digest, numbered, write_key
from radgaze.sources.table.masks import masks_of

EXAMPLE = (
    "radgaze prepare table --table labels.csv --images images --labels normal pneumonia --boxes boxes.csv "
    "--out store"
)


def add_arguments(parser: ArgumentParser) -> None:  # long: one entry for each option
    """The options of `read`."""
    parser.add_argument(
        "--table", required=True, metavar="FILE", help="CSV or Parquet: a record for each image"
    )
    parser.add_argument(
        "--images", metavar="DIR", help="where image files are looked for; without it beside the table"
    )
    parser.add_argument(
        "--labels",
        nargs="+",
        metavar="COLUMN",
        help="columns with 0 and 1, one for each class, or one column of class names; else guessed",
    )
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="the class names to take, in this order; else all"
    )
    parser.add_argument(
        "--multi-label",
        action="store_true",
        help="classes do not exclude each other: a case may have several of them, or none; without this so "
        "only where a record has several",
    )
    for option, what in (
        ("--present", "that says that the case has the class, beside 1 and true"),
        ("--absent", "that says that it does not, beside 0 and false; '' for a blank"),
        ("--missing", "that says nothing, beside a blank and words such as nan and N/A"),
    ):
        parser.add_argument(option, nargs="+", metavar="VALUE", help=f"of label columns one {what}")
    parser.add_argument(
        "--columns",
        nargs="+",
        metavar="KEY=COLUMN",
        help="which column is image, patient, case (an id that the store keeps; else cases are numbered) or "
        "split; else guessed. KEY= for none: split= has patients split anew",
    )
    parser.add_argument(
        "--key",
        metavar="FILE",
        help="write which id is which image to this CSV, which is yours alone and no part of the store",
    )
    parser.add_argument(
        "--fixations",
        metavar="FILE",
        help="CSV or Parquet: case, x, y (image px), onset, duration (s), reader",
    )
    parser.add_argument(
        "--fixation-columns", nargs="+", metavar="KEY=COLUMN", help="which column is which; else guessed"
    )
    parser.add_argument(
        "--fixation-frame",
        metavar="WxH",
        help="size of the picture that x and y refer to, 1x1 for fractions; without it the image's own",
    )
    parser.add_argument(
        "--fixation-units",
        nargs="+",
        metavar="KEY=UNIT",
        help="what onset and duration are counted in: s, ms or us; without it seconds",
    )
    parser.add_argument(
        "--boxes",
        metavar="FILE",
        help="CSV or Parquet: case, x1, y1, x2, y2 or x, y, width, height (image px), name",
    )
    parser.add_argument(
        "--box-columns", nargs="+", metavar="KEY=COLUMN", help="which column is which; else guessed"
    )
    parser.add_argument("--box-frame", metavar="WxH", help="as --fixation-frame, of boxes")
    parser.add_argument(
        "--box-shape",
        choices=("box", "ellipse"),
        default="box",
        help="what has these corners: a box, or the ellipse in it (default box)",
    )
    parser.add_argument(
        "--masks",
        metavar="PATH",
        help="files that mark parts of the images pixel by pixel: a CSV or Parquet with case, file, name; or "
        "a folder of files named as the images, or so in a subfolder for each NAME",
    )
    parser.add_argument(
        "--mask-columns", nargs="+", metavar="KEY=COLUMN", help="which column is which; else guessed"
    )
    parser.add_argument(
        "--without-gaze",
        choices=("keep", "drop"),
        default="keep",
        help="what becomes of cases without gaze on the image",
    )
    parser.add_argument("--seed", type=int, default=42, help="of the split where the table has none")


def read(  # many arguments: one for each option of `radgaze prepare table`
    table: str | Path,
    images: str | Path | None = None,
    *,
    labels: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    multi_label: bool = False,
    present: Sequence[str] | None = None,
    absent: Sequence[str] | None = None,
    missing: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    fixations: str | Path | None = None,
    fixation_columns: Sequence[str] | None = None,
    fixation_frame: str | None = None,
    fixation_units: Sequence[str] | None = None,
    boxes: str | Path | None = None,
    box_columns: Sequence[str] | None = None,
    box_frame: str | None = None,
    box_shape: Literal["box", "ellipse"] = "box",
    masks: str | Path | None = None,
    mask_columns: Sequence[str] | None = None,
    without_gaze: Literal["keep", "drop"] = "keep",
    key: str | Path | None = None,
    seed: int = 42,
) -> Cohort:  # long: most of it is the options, and the cohort that it ends in
    """Read a table, and what belongs to it, to a cohort; what is not in it is among its rejections.

    A case has one class, or any number of them where `multi_label` says so or a record has several, of which
    a notice tells. Its id is that of the table, which is kept in the store and should not tell who the
    patient is; where the table has none, cases are numbered in its order, since a file's name may tell it.
    Images that only fixations, boxes or masks name are numbered too, and readers are.

    Args:
        table: CSV or Parquet with image, patient, labels, and split if it has one; else patients are split
            80/10/10 with class shares as even as they allow.
        images: Folder that image paths start from; the table's own if None.
        labels, classes, multi_label, columns: See `read_cases`.
        present, absent, missing: Values of label columns, beside 0 and 1, see `words_of`.
        fixations: CSV or Parquet; those of one case and reader are a reading. Positions are in pixels from
            the top left corner, pixel centres at +0.5.
        fixation_columns, box_columns: KEY=COLUMN where names do not tell.
        fixation_frame, box_frame: "WIDTHxHEIGHT" of the picture that positions refer to, if it is not the
            image: they are scaled.
        fixation_units: KEY=UNIT of onset and duration where these are not in seconds, as "onset=ms".
        boxes: CSV or Parquet; parts of boxes off the image are cut away.
        box_shape: Whether they are boxes, or the ellipses in them.
        masks, mask_columns: See `masks_of`.
        without_gaze: What becomes of cases without a fixation on the image.
        key: CSV to write, of ids and what they stand for; it is not for those who get the store.
        seed: Of the split.

    Raises:
        UserError: A missing file or column, a value that is none, no image.
    """
    path = Path(table).absolute()
    sheet, names, exclusive = read_cases(
        path,
        columns or (),
        labels or (),
        classes or (),
        words=words_of(present or (), absent or (), missing or ()),
        multi_label=multi_label,
    )
    folder = path.parent if images is None else Path(images).absolute()
    own_ids = not sheet["case_id"].equals(sheet["name"])
    sheet = sheet.with_columns(file=pl.col("image").map_elements(lambda i: file_of(folder, i), pl.String))
    sheet = _judged(sheet)
    _check_images(sheet, path, folder)
    cases = sheet.filter(pl.col("reason").is_null()).with_columns(image=pl.col("file"))
    gaze = gaze_of(fixations, fixation_columns or (), fixation_frame, sheet, cases, fixation_units or ())
    readings, off = gaze.readings, gaze.off
    found, lost = _boxes(boxes, box_columns, box_frame, sheet, cases, shape=box_shape)
    regions, unmarked = masks_of(masks, mask_columns or (), sheet, cases)
    rejected = [sheet.filter(pl.col("reason").is_not_null()), gaze.strangers, lost, unmarked]
    if without_gaze == "drop":
        unseen = cases.join(readings.filter("seen"), on="case_id", how="anti", maintain_order="left")
        detail = pl.lit("no fixation is on the image")
        rejected.append(unseen.with_columns(reason=pl.lit("no_gaze"), detail=detail))
        cases, readings, off, found, regions = (
            kept.join(unseen, on="case_id", how="anti", maintain_order="left")
            for kept in (cases, readings, off, found, regions)
        )
    rejected.append(
        off.with_columns(reason=pl.lit("off_image_fixation"), detail=pl.format("index {}", "index"))
    )
    way = "stratified" if cases["split"].null_count() else "table"
    if way == "stratified":
        cases = _dealt(cases, seed, exclusive=exclusive)
    rejections, strangers = _rejections(rejected)
    if key is not None:
        ids = sheet.select(id="case_id", name="image" if own_ids else "name").unique(maintain_order=True)
        write_key(key, pl.concat([ids, strangers]))
    return Cohort(
        source="table",
        classes=names,
        cases=cases.select(
            "case_id",
            "patient",
            "split",
            "image",
            *(pl.col("classes").list.contains(name).cast(pl.Int8).alias(f"label_{name}") for name in names),
        ),
        readings=readings.drop("seen"),
        fixations=gaze.fixations,
        boxes=found,
        rejections=rejections,
        parameters={
            "split": way,
            "seed": seed if way == "stratified" else None,
            "without_gaze": without_gaze,
            "fixation_frame": fixation_frame,
            "box_frame": box_frame,
            # Ids of our own are the same for other files: these are told apart by this.
            **({"names": digest(sheet["image"].to_list())} if own_ids else {}),
            **({"box_shape": box_shape} if box_shape != "box" else {}),
            **({"fixation_units": list(fixation_units)} if fixation_units else {}),
        },
        exclusive=exclusive,
        regions=regions,
    )


def _check_images(sheet: pl.DataFrame, path: Path, folder: Path) -> None:
    """Refuse a table none of whose images is there."""
    if not sheet["there"].any():
        raise UserError(
            f"no image of {path} is under {folder}; --images names the folder they start from; looked for "
            f"was, for one, {sheet['file'][0]}{_unended(sheet['image'][0])}"
        )


def _dealt(cases: pl.DataFrame, seed: int, *, exclusive: bool) -> pl.DataFrame:
    """The cases with a split of patients that keeps class shares as even as they allow."""
    # One object for each kind, however many cases are of it.
    kinds = {own: own[0] if exclusive else frozenset(own) for own in map(tuple, cases["classes"])}
    of_each = [kinds[tuple(own)] for own in cases["classes"]]
    splits = stratified_split(cases["patient"].to_list(), of_each, seed)
    return cases.with_columns(pl.col("patient").replace_strict(splits, return_dtype=pl.String).alias("split"))


def _unended(image: str) -> str:
    return "" if Path(image).suffix else ": the table's names lack an ending such as .png"


def _judged(sheet: pl.DataFrame) -> pl.DataFrame:
    """The sheet with whether each file is there, and the reason and detail of what is rejected."""
    there = pl.Series([Path(path).is_file() for path in sheet["file"]], dtype=pl.Boolean)
    first = pl.col("line").first().over("case_id")
    checks = (
        ("duplicate_case", ~pl.col("case_id").is_first_distinct(), pl.format("{} repeats {}", "line", first)),
        ("no_label", pl.col("classes").is_null(), pl.format("record {}", "line")),
        ("missing_image", ~pl.col("there"), pl.lit("there is no file where the table says")),
    )
    return sheet.with_columns(there=there).with_columns(
        pl.coalesce(pl.when(bad).then(pl.lit(reason)) for reason, bad, _ in checks).alias("reason"),
        pl.coalesce(pl.when(bad).then(detail) for _, bad, detail in checks).alias("detail"),
    )


def _boxes(
    path: str | Path | None,
    columns: Sequence[str] | None,
    frame: str | None,
    sheet: pl.DataFrame,
    cases: pl.DataFrame,
    *,
    shape: str,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The boxes of the cases, cut to the images; and rejections of those off them, or of no record.

    Ellipses that reach over a border keep their corners, and so their shape.
    """
    if path is None:
        return pl.DataFrame(schema=_BOXES), pl.DataFrame(schema=_REJECTIONS)
    picture = frame_of(frame, "--box-frame")
    boxes = pl.concat(read_boxes(Path(path), columns or (), framed=picture is not None))
    read = of_cases(boxes, sheet, Path(path))
    marked = cases.with_row_index("case").join(read, on="case_id", how="semi", maintain_order="left")
    sizes = marked.select("case_id", "case").join(image_sizes(marked), on="case_id", maintain_order="left")
    own = read.join(sizes, on="case_id", maintain_order="left")
    own = scaled(own, picture, ("x1", "x2"), ("y1", "y2")).sort("case", maintain_order=True)
    cut = {name: pl.col(name).clip(0, pl.col("columns")) for name in ("x1", "x2")}
    cut |= {name: pl.col(name).clip(0, pl.col("rows")) for name in ("y1", "y2")}
    seen = (cut["x2"] > cut["x1"]) & (cut["y2"] > cut["y1"])
    own = own.with_columns(seen=seen)
    own = own.with_columns(shape=pl.lit(shape)) if shape == "ellipse" else own.with_columns(**cut)
    seen = pl.col("seen")
    lost = own.filter(~seen).select(
        pl.lit("off_image_box").alias("reason"), "case_id", pl.format("record {}", "line").alias("detail")
    )
    strangers = read.filter(pl.col("case_id").is_null()).select(
        pl.lit("box_without_case").alias("reason"),
        "key",
        pl.format("record {}, of an image that is not in the table", "line").alias("detail"),
    )
    shaped = ["shape"] if shape == "ellipse" else []
    return own.filter(seen).select(*_BOXES, *shaped), pl.concat([lost, strangers], how="diagonal")


def _rejections(tables: Sequence[pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`Cohort.rejections`, with ids of our own for images that are in no record; and which these are (`KEY`).

    Files of gaze, boxes and masks name images by their files, of which no name may reach the store.
    """
    columns = dict.fromkeys(("reason", "case_id", "reading_id", "detail", "key"), pl.String)
    schema = pl.DataFrame(schema=columns)
    together = pl.concat(
        [schema, *(table.select(pl.col(set(columns) & set(table.columns))) for table in tables)],
        how="diagonal",
    )
    names = together["key"].map_elements(stem, pl.String)
    ids = numbered(names, "stranger")
    told = together.with_columns(case_id=pl.coalesce("case_id", ids)).drop("key")
    key = pl.DataFrame({"id": ids, "name": names}, schema=KEY).drop_nulls().unique(maintain_order=True)
    return told.select(*_COLUMNS), key


_BOXES = {
    "case_id": pl.String,
    "label": pl.String,
    **dict.fromkeys(("x1", "y1", "x2", "y2"), pl.Float64),
}
_REJECTIONS = dict.fromkeys(("reason", "case_id", "detail"), pl.String)
_COLUMNS = ("reason", "case_id", "reading_id", "detail")
