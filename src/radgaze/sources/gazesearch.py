"""GazeSearch (Pham et al. 2025): scan paths of radiologists who search for one finding, read unchanged."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.files import read_json
from radgaze.options import Options, option
from radgaze.sources.cohort import Cohort
from radgaze.sources.delimited import is_missing, read_columns, tell_first
from radgaze.sources.filenames import in_utf8
from radgaze.sources.keys import composed
from radgaze.sources.sizes import image_sizes
from radgaze.sources.source import Source
from radgaze.sources.split import published_split, stratified_split
from radgaze.words import count

FRAME = 224
"""Side in pixels of the square to which positions refer, whatever the shape of the image."""
KEYS = ("name", "subject", "task", "condition", "X", "Y", "T", "length", "split")
"""Keys of a scan path that are read."""


@dataclass(frozen=True)
class GazeSearchOptions(Options):
    """Options of the source `gazesearch`.

    Attributes:
        gazesearch: JSON file with the list of scan paths.
        images: Folder that holds the images at any depth, as .jpg, or as .png or .dcm of the same name.
        patients: CSV file with the columns `image` (name, with or without an extension) and `patient`;
            without it each image counts as a separate patient.
        split: New split by patient, 80/10/10 with even class shares (stratified) or as the published
            baselines of egd-cxr draw it (published); the split in the list is not used, since it assigns
            images to several parts.
        seed: Seed of the split.
    """

    gazesearch: str | Path = option(metavar="FILE")
    images: str | Path = option(metavar="DIR")
    patients: str | Path | None = option(None, metavar="FILE")
    split: Literal["stratified", "published"] = "stratified"
    seed: int = 42


def read(options: GazeSearchOptions) -> Cohort:
    """Read the list and its images as a cohort, whose rejections list everything that is left out.

    A case is one image, and has a class for each finding that was searched for on it and is present; a
    reading is one search. The split in the list is of searches, and hundreds of images are in several parts
    of it. Therefore the patients are split again; without a table of patients, each image is a patient.

    Positions are integer pixels of a 224 × 224 frame, to which the image was stretched: a position is taken
    to be the centre of its pixel, and scaled to the size of the image. The list has no onsets: each fixation
    begins when the one before it ends.

    Args:
        options: Files and settings.

    Raises:
        UserError: A file is missing, is not such a list, or no image exists.
    """
    path, folder = Path(options.gazesearch).absolute(), Path(options.images).absolute()
    searches, missing = _searches(path, folder)
    classes = tuple(sorted(searches["task"].unique()))
    keys = _patients(None if options.patients is None else Path(options.patients), searches)
    cases = _labelled(searches, classes).join(keys, on="case_id", maintain_order="left")
    fixations = _placed(searches, cases)
    return Cohort(
        source="gazesearch",
        classes=classes,
        cases=cases.select(
            "case_id",
            "patient",
            _split_of(cases, classes, options).alias("split"),
            "image",
            *(f"label_{name}" for name in classes),
        ),
        readings=_readings(fixations),
        fixations=fixations.filter("on").select("reading_id", "index", "x", "y", "onset", "duration").lazy(),
        rejections=_rejections(missing, fixations),
        # Drawn from these patients, it is not the published split itself, see `Store.knows_published`.
        parameters={
            "split": {"published": "published order"}.get(options.split, options.split),
            "seed": options.seed,
            "patients": options.patients is not None,
        },
        exclusive=False,
    )


def _searches(path: Path, folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The searches whose images exist, with case_id and image; and one row for each image that is missing."""
    searches, images = _read_list(path), _images(folder)
    case_id = pl.col("name").str.replace(r"\.[^.]*$", "")
    searches = searches.with_columns(
        case_id=case_id, image=case_id.replace_strict(images, default=None, return_dtype=pl.String)
    )
    _say_leakage(searches)
    exists = pl.col("image").is_not_null()
    missing = searches.filter(~exists).unique("case_id", keep="first", maintain_order=True)
    searches = searches.filter(exists)
    if not searches.height:
        raise UserError(
            f"no image of {path} is under `images={folder}`; the first one expected, at any depth, is "
            f"{missing['name'][0]}"
        )
    return searches, missing


def _split_of(cases: pl.DataFrame, classes: Sequence[str], options: GazeSearchOptions) -> pl.Expr:
    """The split of each case's patient."""
    patients = cases["patient"].to_list()
    if options.split == "published":
        splits = published_split(patients, options.seed)
    else:
        rows = cases.iter_rows(named=True)
        labels = [frozenset(name for name in classes if row[f"label_{name}"]) for row in rows]
        splits = stratified_split(patients, labels, options.seed)
    return pl.col("patient").replace_strict(splits, return_dtype=pl.String)


def _labelled(searches: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """case_id, image and labels of each image: a finding is labelled if a search has it as present."""
    return searches.group_by("case_id", maintain_order=True).agg(
        pl.col("image").first(),
        *(
            ((pl.col("task") == name) & (pl.col("condition") == "present"))
            .any()
            .cast(pl.Int8)
            .alias(f"label_{name}")
            for name in classes
        ),
    )


def _readings(fixations: pl.DataFrame) -> pl.DataFrame:
    """`Cohort.readings`: one row for each search."""
    return fixations.group_by("reading_id", maintain_order=True).agg(
        pl.col("case_id").first(),
        pl.col("subject").first().alias("reader"),
        pl.len().cast(pl.Int32).alias("recorded"),
        pl.col("duration").sum().alias("duration"),
    )


def _rejections(missing: pl.DataFrame, fixations: pl.DataFrame) -> pl.DataFrame:
    """`Cohort.rejections`: images without a file, and fixations off the image."""
    return pl.concat(
        [
            missing.select(
                pl.lit("missing_image").alias("reason"),
                "case_id",
                pl.lit(None, pl.String).alias("reading_id"),
                pl.lit("no file of that name").alias("detail"),
            ),
            fixations.filter(~pl.col("on")).select(
                pl.lit("off_image_fixation").alias("reason"),
                "case_id",
                "reading_id",
                pl.format("index {}", "index").alias("detail"),
            ),
        ]
    )


def _read_list(path: Path) -> pl.DataFrame:
    """The searches in the list's order: name, subject, task, condition, split, X, Y, T."""
    if not path.is_file():
        raise UserError(f"`gazesearch={path}`: no such file")
    searches = read_json(path, lambda _: True, "give GazeSearch's list of scan paths")
    if not isinstance(searches, list) or not searches:
        raise UserError(f"{path} is no list of scan paths; GazeSearch's has 4,875")
    rows = [_search(one, number, path) for number, one in enumerate(searches, 1)]
    return pl.DataFrame(rows, schema=_SEARCH)


def _search(search: object, number: int, path: Path) -> dict[str, object]:
    where = f"{path}, scan path {number}"
    if not isinstance(search, dict) or any(name not in search for name in KEYS):
        lacking = [name for name in KEYS if not isinstance(search, dict) or name not in search]
        raise UserError(f"{where}: it has no {', '.join(lacking)}")
    lists = {name: search[name] for name in ("X", "Y", "T")}
    if not all(isinstance(values, list) and all(map(_is_number, values)) for values in lists.values()):
        raise UserError(f"{where}: X, Y and T must be lists of numbers")
    if any(len(values) != search["length"] for values in lists.values()):
        raise UserError(f"{where}: X, Y and T are not as long as its length says, {search['length']}")
    if any(seconds < 0 for seconds in lists["T"]):
        raise UserError(f"{where}: a duration in T is below 0")
    return {
        **{name: str(search[name]) for name in _TEXTS},
        **{name: [float(value) for value in values] for name, values in lists.items()},
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _GREATEST


def _images(folder: Path) -> dict[str, str]:
    """Paths of images, by name without ending; of several files of a name the first by path."""
    if not folder.is_dir():
        raise UserError(f"`images={folder}` is not a folder")
    kinds = {".jpg", ".jpeg", ".png", ".dcm"}
    inside = sorted(folder.rglob("*"), reverse=True)
    files = in_utf8([path for path in inside if path.suffix.lower() in kinds])
    images = {path.stem: str(path) for path in files}
    if len(images) < len(files):
        several = sorted(name for name, n in Counter(path.stem for path in files).items() if n > 1)
        note(
            f"`images={folder}` has more than one file of the same name in {count(len(several), 'case')}; "
            f"the first by path is taken, for {several[0]} {images[several[0]]}"
        )
    return images


def _say_leakage(searches: pl.DataFrame) -> None:
    splits = searches.group_by("case_id").agg(pl.col("split").n_unique())
    leaking = splits.filter(pl.col("split") > 1).height
    if leaking:
        images = f"{leaking} of {splits.height} images"
        note(f"{images} are in several of the list's own splits: it is split again")


def _patients(path: Path | None, searches: pl.DataFrame) -> pl.DataFrame:
    """case_id and patient, a key counted from 0."""
    cases = searches.select(pl.col("case_id").unique(maintain_order=True))
    if path is None:
        return cases.with_columns(patient=pl.int_range(pl.len(), dtype=pl.Int32))
    table = read_columns(path, ("image", "patient"), archive="a table of patients")
    for name in ("image", "patient"):
        tell_first(table, path, name, pl.col(name).is_null() | is_missing(pl.col(name)), "a value expected")
    table = table.with_columns(
        composed(pl.col("patient")), case_id=pl.col("image").str.replace(r"\.[^.]*$", "")
    ).unique(["case_id", "patient"], maintain_order=True)
    tell_first(table, path, "image", pl.col("case_id").is_duplicated(), "one patient of each image expected")
    cases = cases.join(table.select("case_id", "patient"), on="case_id", how="left", maintain_order="left")
    lacking = cases.filter(pl.col("patient").is_null())
    if lacking.height:
        raise UserError(
            f"`patients={path}`: {lacking.height} images are not in it, such as {lacking['case_id'][0]}"
        )
    keys = {name: k for k, name in enumerate(dict.fromkeys(cases["patient"]))}
    return cases.with_columns(pl.col("patient").replace_strict(keys, return_dtype=pl.Int32))


def _placed(searches: pl.DataFrame, cases: pl.DataFrame) -> pl.DataFrame:
    """The fixations in original pixels, and whether they are `on` the image."""
    sizes = image_sizes(cases.select("case_id", "image"))
    place = pl.int_range(pl.len()).over("case_id")
    fixations = searches.with_columns(reading_id=pl.format("{}/{}/{}", "case_id", "task", place))
    columns = ("reading_id", "case_id", "subject", "X", "Y", "T")
    fixations = fixations.select(columns).filter(pl.col("X").list.len() > 0)
    fixations = fixations.explode("X", "Y", "T").join(sizes, on="case_id", maintain_order="left")
    # Without a readable header the size is unknown; such an image will not be in a store.
    x = (pl.col("X") + 0.5) * pl.col("columns").fill_null(FRAME) / FRAME
    y = (pl.col("Y") + 0.5) * pl.col("rows").fill_null(FRAME) / FRAME
    on = pl.col("X").is_between(0, FRAME - 1) & pl.col("Y").is_between(0, FRAME - 1)
    return fixations.with_columns(
        index=pl.int_range(pl.len()).over("reading_id").cast(pl.Int32),
        onset=pl.col("T").cum_sum().over("reading_id") - pl.col("T"),
        duration=pl.col("T"),
        x=x,
        y=y,
        on=on,
    )


_TEXTS = ("name", "subject", "task", "condition", "split")
_SEARCH: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(_TEXTS, pl.String),
    **dict.fromkeys(("X", "Y", "T"), pl.List(pl.Float64)),
}
_GREATEST = sys.float_info.max

SOURCE = Source(
    GazeSearchOptions,
    read,
    "radgaze prepare gazesearch --gazesearch gazesearch.json --images images --out store",  # flags: a command
)
