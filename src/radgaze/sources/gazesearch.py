"""GazeSearch (Pham et al. 2025): scan paths of radiologists who search for one finding, read unchanged."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from radgaze.console import say
from radgaze.errors import UserError
from radgaze.files import read_json
from radgaze.sources.cohort import Cohort
from radgaze.sources.sizes import image_sizes
from radgaze.sources.split import published_split, stratified_split

EXAMPLE = "radgaze prepare gazesearch --gazesearch gazesearch.json --images images --out store"

FRAME = 224
"""Side of the square that positions are in, whatever the shape of the image."""
NO_BOXES = {
    **dict.fromkeys(("case_id", "label"), pl.String),
    **dict.fromkeys(("x1", "y1", "x2", "y2"), pl.Float64),
}
WANTED = ("name", "subject", "task", "condition", "X", "Y", "T", "length", "split")


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `read`."""
    parser.add_argument("--gazesearch", required=True, metavar="FILE", help="the JSON list of scan paths")
    parser.add_argument(
        "--images", required=True, metavar="DIR", help="folder that holds the images, at any depth"
    )
    parser.add_argument(
        "--patients",
        metavar="FILE",
        help="CSV with the columns `image` and `patient`; without it each image is a patient of its own",
    )
    parser.add_argument(
        "--split",
        choices=("stratified", "published"),
        default="stratified",
        help="anew by patient, with even class shares, or 80/10/10 as the baselines' draw; the file's own "
        "leaks",
    )
    parser.add_argument("--seed", type=int, default=42, help="of the split")


def read(
    gazesearch: str | Path,
    images: str | Path,
    *,
    patients: str | Path | None = None,
    split: Literal["stratified", "published"] = "stratified",
    seed: int = 42,
) -> Cohort:
    """Read the list and its images to a cohort; what is not in it is among its rejections.

    A case is one image, and has a class for each finding that was searched for on it and is present; a
    reading is one search. The list's own split is of searches: hundreds of images stand in several parts of
    it. So the split is made anew, by patient where `patients` tells them, else by image.

    Positions are whole pixels of a 224 × 224 frame, to which the image was squeezed: a position is taken for
    the middle of its pixel and scaled to the image's own size. The list has one unnamed reader, and no
    onsets: fixations follow each other.

    Args:
        gazesearch: The JSON file.
        images: A folder that holds the images, in any folder below, as .jpg, or as .png or .dcm of the same
            name.
        patients: CSV file with the columns image (its name, with or without an ending) and patient.
        split: How patients are dealt, see `sources.split`.
        seed: Of the split.

    Raises:
        UserError: A file is missing, no such list, or no image is there.
    """
    path, folder = Path(gazesearch).absolute(), Path(images).absolute()
    searches = _read_list(path)
    known = _images(folder)
    searches = searches.with_columns(
        case_id=pl.col("name").str.replace(r"\.[^.]*$", ""),
        image=pl.col("name")
        .str.replace(r"\.[^.]*$", "")
        .replace_strict(known, default=None, return_dtype=pl.String),
    )
    _tell_leakage(searches)
    missing = searches.filter(pl.col("image").is_null()).unique("case_id", keep="first", maintain_order=True)
    searches = searches.filter(pl.col("image").is_not_null())
    if not searches.height:
        raise UserError(
            f"no image of {path} is under --images {folder}; looked for was, for one, {missing['name'][0]} "
            "at any depth"
        )
    classes = tuple(sorted(searches["task"].unique()))
    keys = _patients(None if patients is None else Path(patients), searches)
    cases = _labelled(searches, classes).join(keys, on="case_id", maintain_order="left")
    fixations = _placed(searches, cases)
    own = [frozenset(n for n in classes if row[f"label_{n}"]) for row in cases.iter_rows(named=True)]
    dealt = (
        published_split(cases["patient"].to_list(), seed)
        if split == "published"
        else stratified_split(cases["patient"].to_list(), own, seed)
    )
    return Cohort(
        source="gazesearch",
        classes=classes,
        cases=cases.select(
            "case_id",
            "patient",
            pl.col("patient").replace_strict(dealt, return_dtype=pl.String).alias("split"),
            "image",
            *(f"label_{name}" for name in classes),
        ),
        readings=_readings(fixations),
        fixations=fixations.filter("on").select("reading_id", "index", "x", "y", "onset", "duration").lazy(),
        boxes=pl.DataFrame(schema=NO_BOXES),
        rejections=_rejections(missing, fixations),
        # Drawn over the patients that are here, it is nobody's published split: `Store.knows_published`.
        parameters={
            "split": {"published": "published order"}.get(split, split),
            "seed": seed,
            "patients": patients is not None,
        },
        exclusive=False,
    )


def _labelled(searches: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """case_id, image and labels of each image: a class for each finding that some search has as present."""
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
        raise UserError(f"--gazesearch {path}: no such file")
    found = read_json(path, lambda _: True, "give GazeSearch's list of scan paths")
    if not isinstance(found, list) or not found:
        raise UserError(f"{path} is no list of scan paths; GazeSearch's has 4,875")
    return pl.DataFrame([_search(one, k, path) for k, one in enumerate(found, 1)])


def _search(one: Any, place: int, path: Path) -> dict[str, Any]:
    where = f"{path}, scan path {place}"
    if not isinstance(one, dict) or (lacking := [name for name in WANTED if name not in one]):
        wanted = ", ".join(lacking if isinstance(one, dict) else WANTED)
        raise UserError(f"{where}: it has no {wanted}")
    lists = {name: one[name] for name in ("X", "Y", "T")}
    if not all(isinstance(v, list) and all(_is_number(x) for x in v) for v in lists.values()):
        raise UserError(f"{where}: X, Y and T are lists of numbers")
    lengths = {len(v) for v in lists.values()}
    if lengths != {one["length"]}:
        raise UserError(f"{where}: X, Y and T are not as long as its length says, {one['length']}")
    if any(t < 0 for t in lists["T"]):
        raise UserError(f"{where}: a duration in T is below 0")
    return {
        **{name: str(one[name]) for name in ("name", "subject", "task", "condition", "split")},
        **{name: [float(x) for x in values] for name, values in lists.items()},
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _images(folder: Path) -> dict[str, str]:
    """Paths by name without ending."""
    if not folder.is_dir():
        raise UserError(f"--images {folder} is not a folder")
    kinds = {".jpg", ".jpeg", ".png", ".dcm"}
    return {p.stem: str(p) for p in sorted(folder.rglob("*"), reverse=True) if p.suffix.lower() in kinds}


def _tell_leakage(searches: pl.DataFrame) -> None:
    splits = searches.group_by("case_id").agg(pl.col("split").n_unique())
    leaking = splits.filter(pl.col("split") > 1).height
    if leaking:
        say(
            f"{leaking} of {splits.height} images stand in several of the list's own splits: it is split anew"
        )


def _patients(path: Path | None, searches: pl.DataFrame) -> pl.DataFrame:
    """case_id and patient, a key counted from 0."""
    cases = searches.select(pl.col("case_id").unique(maintain_order=True))
    if path is None:
        return cases.with_columns(patient=pl.int_range(pl.len(), dtype=pl.Int32))
    from radgaze.sources.delimited import is_missing, read_columns, tell_first
    from radgaze.sources.keys import composed

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
            f"--patients {path}: {lacking.height} images are not in it, such as {lacking['case_id'][0]}"
        )
    keys = {name: k for k, name in enumerate(dict.fromkeys(cases["patient"]))}
    return cases.with_columns(pl.col("patient").replace_strict(keys, return_dtype=pl.Int32))


def _placed(searches: pl.DataFrame, cases: pl.DataFrame) -> pl.DataFrame:
    """The fixations in original pixels, and whether they are `on` the image."""
    sizes = image_sizes(cases.select("case_id", "image"))
    place = pl.int_range(pl.len()).over("case_id")
    found = searches.with_columns(reading_id=pl.format("{}/{}/{}", "case_id", "task", place))
    found = found.select("reading_id", "case_id", "subject", "X", "Y", "T").filter(pl.col("X").list.len() > 0)
    found = found.explode("X", "Y", "T").join(sizes, on="case_id", maintain_order="left")
    # A header that cannot be read leaves no size; its image will not be in a store either.
    x = (pl.col("X") + 0.5) * pl.col("columns").fill_null(FRAME) / FRAME
    y = (pl.col("Y") + 0.5) * pl.col("rows").fill_null(FRAME) / FRAME
    on = pl.col("X").is_between(0, FRAME - 1) & pl.col("Y").is_between(0, FRAME - 1)
    return found.with_columns(
        index=pl.int_range(pl.len()).over("reading_id").cast(pl.Int32),
        onset=pl.col("T").cum_sum().over("reading_id") - pl.col("T"),
        duration=pl.col("T"),
        x=x,
        y=y,
        on=on,
    )
