"""Reading of a list that gives each image its split, such as that of GD-ViG.

GD-ViG's list has the columns image_id, class_name and phase, for all 1,083 images: 976 train, 107 test, and
no validation set. A store's patients are in one split only, and it needs validation cases, hence

- training cases of patients that the list also tests are left out (and likewise those of a validation set);
- where the list has no validation cases, whole patients of the training cases become them.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from radgaze.console import note
from radgaze.errors import UserError, shortened
from radgaze.sources.contents import SPLITS
from radgaze.sources.delimited import column_names, read_columns
from radgaze.sources.split import validation_split

IMAGES = ("image_id", "dicom_id", "case_id", "filename", "image", "id")
PARTS = ("split", "phase", "set", "subset", "partition")
"""Names of the columns of a list, the first that there is."""

SPELLINGS = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "validate"),
    **dict.fromkeys(("test", "testing", "te"), "test"),
}
LISTS = {
    "train": ("train.txt", "training.txt"),
    "validate": ("val.txt", "valid.txt", "validate.txt", "validation.txt"),
    "test": ("test.txt", "testing.txt"),
}
"""Names of the lists of ids in a folder, by split."""

WHAT = "a list of images and splits"


def read_split_file(path: Path, sheet_ids: set[str]) -> dict[str, str]:
    """Read the split of each listed image.

    Args:
        path: CSV file with a column of images and one of splits; text file with an id and a split on each
            line; or folder with train.txt, test.txt and, if there is one, val.txt, of an id on each line. Ids
            may have folders and an extension.
        sheet_ids: Ids of the master sheet; the number of listed ids that are not among them is reported.

    Returns:
        "train", "validate" or "test" by id.

    Raises:
        UserError: The list is missing or empty, has a split of another name or two splits of one image, lacks
            training or test images, or none of its ids is in the master sheet.
    """
    rows = _of_folder(path) if path.is_dir() else _of_file(path)
    spellings = {name.casefold(): name for name in sheet_ids}
    split_of: dict[str, str] = {}
    for image, part in rows:
        name = re.sub(r"\..*$", "", re.sub(r"^.*[/\\]", "", image))
        split = SPELLINGS.get(part.strip().casefold())
        if split is None:
            raise UserError(
                f"`split_file={path}`: {shortened(part, 40)!r} is no split; there are train, validate, test"
            )
        key = spellings.get(name.casefold(), name)
        if split_of.setdefault(key, split) != split:
            raise UserError(f"`split_file={path}` puts one image both into {split_of[key]} and into {split}")
    strangers = split_of.keys() - sheet_ids
    if len(strangers) == len(split_of):
        example = shortened(next(iter(split_of), ""), 60)
        raise UserError(
            f"none of the {len(split_of)} ids of `split_file={path}` is in the master sheet: they are like "
            f"{example!r}, those of the sheet like {min(sheet_ids, default='')!r}"
        )
    if strangers:
        note(f"{len(strangers)} of the {len(split_of)} ids of {path} are not in the master sheet")
    lacking = [split for split in ("train", "test") if split not in split_of.values()]
    if lacking:
        raise UserError(f"`split_file={path}` has no {' and no '.join(lacking)} images")
    return split_of


def with_splits(cases: pl.DataFrame, split_of: dict[str, str]) -> pl.DataFrame:
    """Add the split of a list to cases, and `shared`, true for cases whose patient is in a later split.

    A case without a split has null. The numbers of patients in two splits and of their cases are reported.

    Args:
        cases: Table with case_id and patient.
        split_of: The list.
    """
    split = pl.col("case_id").replace_strict(split_of, default=None, return_dtype=pl.String)
    listed = cases.with_columns(split=split)
    rank = pl.col("split").replace_strict({name: k for k, name in enumerate(SPLITS)}, default=None)
    listed = listed.with_columns(shared=(rank < rank.max().over("patient")).fill_null(False))
    shared = listed.filter("shared")
    if len(shared):
        note(
            f"{shared['patient'].n_unique()} patients of the split file are in more than one of its splits: "
            f"{len(shared)} of their cases are left out, so that no patient is trained on and tested"
        )
    return listed


def with_validation(split: pl.Series, cases: pl.DataFrame, seed: int) -> pl.Series:
    """Draw validation cases from the training cases, by patient, where a list has none; this is reported.

    Args:
        split: Split of each case.
        cases: Table with patient and class, of the same cases.
        seed: Random seed.

    Raises:
        UserError: The training cases are of fewer than two patients.
    """
    if (split == "validate").any():
        return split
    trained = cases.filter(split == "train")
    if trained["patient"].n_unique() < 2:
        raise UserError(
            "the split file has no validation cases, and its training cases are of fewer than two patients: "
            "none can be drawn"
        )
    drawn = validation_split(trained["patient"].to_list(), trained["class"].to_list(), seed)
    parts = [
        drawn[patient] if part == "train" else part
        for patient, part in zip(cases["patient"], split, strict=True)
    ]
    count = sum(part == "validate" for part in parts)
    patients = len({p for p, part in drawn.items() if part == "validate"})
    note(
        f"The split file has no validation cases: {count} training cases of {patients} patients become them "
        f"(seed {seed}), and {parts.count('train')} remain in training"
    )
    return pl.Series("split", parts, pl.String)


def _of_file(path: Path) -> list[tuple[str, str]]:
    if not path.is_file():
        raise UserError(f"`split_file={path}` is missing; it must be {WHAT}, or a folder of lists")
    names = {name.casefold(): name for name in column_names(path)}
    image, part = (next((names[each] for each in kind if each in names), None) for kind in (IMAGES, PARTS))
    if image is not None and part is not None:
        table = read_columns(path, (image, part), archive=WHAT).drop_nulls()
        return list(table.select(image, part).iter_rows())
    lines = [line.split() for line in re.sub(r"[,;]", " ", _text(path)).splitlines() if line.strip()]
    if lines and all(len(words) == 2 and words[1].casefold() in SPELLINGS for words in lines):
        return [(image, part) for image, part in lines]
    missing = "images (image_id or dicom_id)" if image is None else "splits (split or phase)"
    raise UserError(
        f"`split_file={path}` has no column of {missing}, nor lines of an id and a split; its columns are "
        f"{', '.join(shortened(name, 30) for name in [*names.values()][:6])}"
    )


def _of_folder(path: Path) -> list[tuple[str, str]]:
    rows = []
    for split, names in LISTS.items():
        for file in (path / name for name in names):
            if file.is_file():
                rows += [(line.split()[0], split) for line in _text(file).splitlines() if line.strip()]
    if not rows:
        raise UserError(f"`split_file={path}` is a folder without train.txt and test.txt")
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"`split_file={path}` cannot be read as text ({type(error).__name__})") from error
