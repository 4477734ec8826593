"""Merging of stores into one: classes are mapped, and the origin of each case is recorded."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import polars as pl

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.options import Options, option
from radgaze.sources.cohort import Cohort
from radgaze.sources.external_sort import slices, spooled
from radgaze.sources.source import Source
from radgaze.store.merge_marks import check_ids, each_once, merged_gaze, merged_mentions, merged_regions
from radgaze.store.pixels import reference
from radgaze.store.store import Store, shard_name

STRICTEST = ("test", "validate", "train")


@dataclass(frozen=True)
class MergeOptions(Options):
    """Options of a merge.

    Attributes:
        stores: Folders of at least two prepared stores, of one size.
        map: New name of a class in the merged store; CLASS= leaves the class out, so that cases with only
            this class have none. It may be given several times.
        absent: Treat a class that a store does not have as absent from all of its cases; without it that is
            an error.
    """

    stores: Sequence[str | Path] = option(metavar="STORE", positional=True)
    map: Sequence[str] = option((), repeated=True, metavar="CLASS=NAME")
    absent: bool = False


def read(options: MergeOptions) -> Cohort:
    """Read stores as one cohort.

    - Cases whose image files are identical in two stores become one case: that of the first store, with the
      readings, boxes and masks of all. A reading that equals one of an earlier store in all fixations is kept
      once as well, with the mentions of all.
    - Such a case takes the labels of classes that its first store lacks from the next store that has them;
      with exclusive classes only if it has no class yet. Labels that differ between stores are reported in
      the rejections.
    - Patients of different stores are different patients, unless they share such an image.
    - A patient whose cases are in several splits is assigned to one, test before validation before training.
    - An id that two stores use for different images or readings gets the suffix "@" and the store's name; a
      reader gets the store's name and ":" as a prefix.

    Args:
        options: The stores, and how their classes are merged.

    Returns:
        The cohort. Its images and masks are references to the stores, see `pixels.reference`.

    Raises:
        UserError: There are fewer than two stores, they differ in size, window or classes, `map` is
            invalid, or two cases or readings would have one id.
    """
    absent = options.absent
    opened = [Store.open(path) for path in options.stores]
    names = _names(opened)
    _check(opened, names)
    if twins := sum(store.twins.height for store in opened):
        note(f"{twins} twins of cases are left out: a merged store has none")
    renamed = _renamed(opened, options.map)
    classes = list(dict.fromkeys(new for store in opened for new in _own(store, renamed).values() if new))
    if not classes:
        raise UserError("`map` leaves no class")
    if not absent:
        _check_classes(opened, names, renamed, classes)
    cases = pl.concat(
        [
            _cases(store, name, k, renamed, classes)
            for k, (store, name) in enumerate(zip(opened, names, strict=True))
        ]
    )
    exclusive = all(store.exclusive for store in opened)
    first, merged = _once(cases, classes, exclusive=exclusive)
    repeated = _repeated(cases, first, merged, classes)
    has = pl.sum_horizontal(f"label_{name}" for name in classes)
    without = merged.filter(has != 1) if exclusive else merged.clear()
    merged = merged.join(without, on="case_id", how="anti", maintain_order="left")
    ids = set(merged["case_id"])
    readings, fixations, boxes = merged_gaze(opened, names, first, ids, renamed)
    readings, echoes = each_once(readings, fixations)
    if len(echoes):
        fixations = spooled(
            part.join(echoes, on="reading_id", how="anti", maintain_order="left")
            for part in slices(fixations)
        )
    mentions = merged_mentions(opened, names, readings, renamed, echoes)
    return Cohort(
        source="merge",
        classes=tuple(classes),
        cases=merged.select(
            "case_id", "patient", "split", "image", *(f"label_{name}" for name in classes), "origin"
        ),
        readings=readings,
        fixations=fixations,
        boxes=boxes,
        rejections=pl.concat([repeated, _echoes(echoes), _without_class(without)]),
        parameters={
            "stores": [
                {"name": name, "source": s.manifest["source"], "files": _digest(s)}
                for s, name in zip(opened, names, strict=True)
            ],
            "map": renamed,
            "absent": absent,
            "size": opened[0].size,
            "voi": opened[0].manifest["parameters"].get("voi", "window"),
        },
        exclusive=exclusive,
        regions=merged_regions(opened, first, ids, renamed),
        mentions=mentions,
    )


def _echoes(echoes: pl.DataFrame) -> pl.DataFrame:
    """Rejections of the readings that equal one of an earlier store."""
    return echoes.select(
        pl.lit("duplicate_reading").alias("reason"),
        "case_id",
        "reading_id",
        pl.format("the same as {}", "of").alias("detail"),
    )


def _without_class(cases: pl.DataFrame) -> pl.DataFrame:
    """Rejections of the cases that do not have exactly one of the remaining classes."""
    return cases.select(
        pl.lit("no_label").alias("reason"),
        "case_id",
        pl.lit(None, pl.String).alias("reading_id"),
        pl.format("of {}: not one of the classes that are left", "origin").alias("detail"),
    )


def _digest(store: Store) -> str:
    """Digest of a store's files: that of its cohort would not tell whether images or masks were replaced."""
    return hashlib.sha256(json.dumps(store.manifest["hashes"], sort_keys=True).encode()).hexdigest()


def _names(stores: Sequence[Store]) -> list[str]:
    """Names of the folders of the stores, numbered where two have the same name."""
    names = [store.path.resolve().name for store in stores]
    counts = Counter(names)
    taken, unique = {name for name in names if counts[name] == 1}, list[str]()
    for k, name in enumerate(names, 1):
        if counts[name] > 1:
            name = next(new for n in count(k) if (new := f"{name}-{n}") not in taken)
            taken.add(name)
        unique.append(name)
    return unique


def _check(stores: Sequence[Store], names: Sequence[str]) -> None:
    if len(stores) < 2:
        raise UserError("there is one store; a merge is of two or more")
    if len({store.path.resolve() for store in stores}) < len(stores):
        raise UserError("one store is named twice")
    sizes = {name: store.size for store, name in zip(stores, names, strict=True)}
    windows = {
        name: store.manifest["parameters"].get("voi") for store, name in zip(stores, names, strict=True)
    }
    for setting, values in (("`size`", sizes), ("`voi`", windows)):
        if len(set(values.values())) > 1:
            listing = ", ".join(f"{name} {value}" for name, value in values.items())
            raise UserError(
                f"the stores were prepared with different {setting}: {listing}; prepare them alike"
            )


def _renamed(stores: Sequence[Store], pairs: Sequence[str]) -> dict[str, str]:
    classes = {name for store in stores for name in store.classes}
    renamed = {}
    for pair in pairs:
        old, sign, new = pair.partition("=")
        if not sign or old not in classes:
            raise UserError(f"`map={pair}` must be CLASS=NAME, the class one of {', '.join(sorted(classes))}")
        renamed[old] = new.strip()
    return renamed


def _own(store: Store, renamed: Mapping[str, str]) -> dict[str, str]:
    return {name: renamed.get(name, name) for name in store.classes}


def _check_classes(
    stores: Sequence[Store], names: Sequence[str], renamed: Mapping[str, str], classes: Sequence[str]
) -> None:
    for store, name in zip(stores, names, strict=True):
        lacking = [c for c in classes if c not in _own(store, renamed).values()]
        if lacking:
            raise UserError(
                f"{name} has no class {', '.join(lacking)}: its cases may have it all the same. `map` says "
                "what is the same in another store, `map=CLASS=` leaves a class out, `absent` takes it for "
                "absent"
            )


def _cases(
    store: Store, name: str, place: int, renamed: Mapping[str, str], classes: Sequence[str]
) -> pl.DataFrame:
    """Make the table of a store's cases.

    Returns:
        A row per case: store (its index), own_id and own_patient (ids in that store), split, image, sha256,
        origin, and labels, which are null for classes that the store does not have.
    """
    names = _own(store, renamed)
    labels = []
    for new in classes:
        parts = [f"label_{old}" for old, called in names.items() if called == new]
        value = pl.max_horizontal(parts) if parts else pl.lit(None)
        labels.append(value.cast(pl.Int8).alias(f"label_{new}"))
    table, burned = store.cases, set(store.manifest.get("burned_in_annotation", ()))
    images = [
        reference(store.path / shard_name(shard), *of_image, burned_in=case_id in burned)
        for case_id, shard, *of_image in table.select(
            "case_id", "shard", "index", "rows", "columns", "sha256"
        ).iter_rows()
    ]
    origin = pl.format("{}/{}", pl.lit(name), "origin") if "origin" in table.columns else pl.lit(name)
    return table.select(
        pl.lit(place).alias("store"),
        pl.col("case_id").alias("own_id"),
        pl.col("patient").cast(pl.Int64).alias("own_patient"),
        "split",
        pl.Series("image", images, dtype=pl.String),
        "sha256",
        origin.alias("origin"),
        *labels,
    )


def _once(
    cases: pl.DataFrame, classes: Sequence[str], *, exclusive: bool
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Merge cases that share an image.

    Returns:
        For each row store, own_id, case_id (in the merged store) and again (whether an earlier store has the
        image); and the merged cases.
    """
    labels = [f"label_{name}" for name in classes]
    # Of exclusive classes a case without one takes those of the next store that gives it one, together.
    has_one = pl.sum_horizontal(labels) > 0 if exclusive else pl.lit(True)
    elsewhere = {
        name: pl.col(name).fill_null(0).filter(has_one).first().over("sha256")
        if exclusive
        else pl.col(name).drop_nulls().first().over("sha256")
        for name in labels
    }
    may = ~has_one if exclusive else pl.lit(True)
    patients = _patients(cases)
    # Two cases of one store may share a file: only a case of another store counts as a repetition.
    cases = cases.with_columns(
        *(
            pl.coalesce(name, pl.when(may).then(other), 0).cast(pl.Int8).alias(name)
            for name, other in elsewhere.items()
        ),
        leader=pl.col("store").min().over("sha256"),
        patient=pl.struct("store", "own_patient").map_elements(
            lambda row: patients[row["store"], row["own_patient"]], return_dtype=pl.Int64
        ),
    )
    order = {split: k for k, split in enumerate(STRICTEST)}
    strictness = pl.col("split").replace_strict(order, return_dtype=pl.Int8)
    moved = cases.group_by("patient").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1).height
    if moved:
        note(f"{moved} patients came to stand in several splits: each is in the strictest of them now")
    # Repeated cases count too: a test case of one store must not train in another.
    cases = cases.with_columns(split=pl.col("split").sort_by(strictness).first().over("patient"))
    again = cases["store"] > cases["leader"]
    leading = cases.filter(~again)
    clash = leading.filter(pl.col("own_id").is_duplicated())["own_id"].unique().to_list()
    called = (
        pl.when(pl.col("own_id").is_in(clash))
        .then(pl.format("{}@{}", "own_id", pl.col("origin").str.replace("/.*", "")))
        .otherwise("own_id")
    )
    leading = leading.with_columns(case_id=called)
    check_ids(leading["case_id"], "cases")
    of_file = leading.unique("sha256", keep="first", maintain_order=True).select("sha256", "case_id")
    first = pl.concat(
        [
            leading.select("store", "own_id", "case_id", pl.lit(False).alias("again")),
            cases.filter(again)
            .join(of_file, on="sha256", maintain_order="left")
            .select("store", "own_id", "case_id", pl.lit(True).alias("again")),
        ]
    )
    keys = {patient: k for k, patient in enumerate(dict.fromkeys(leading["patient"]))}
    return first, leading.with_columns(patient=pl.col("patient").replace_strict(keys, return_dtype=pl.Int32))


def _repeated(
    cases: pl.DataFrame, first: pl.DataFrame, kept: pl.DataFrame, classes: Sequence[str]
) -> pl.DataFrame:
    """Make the rejections of cases that an earlier store has, with the classes whose labels differ."""
    labels = [f"label_{name}" for name in classes]
    repeated = cases.join(
        first.filter(pl.col("again")), on=("store", "own_id"), how="inner", maintain_order="left"
    )
    repeated = repeated.join(
        kept.select("case_id", *labels), on="case_id", suffix="_kept", how="left", maintain_order="left"
    )
    differ = (
        pl.when(pl.col(name) != pl.col(f"{name}_kept")).then(pl.lit(name.removeprefix("label_")))
        for name in labels
    )
    repeated = repeated.with_columns(
        differ=pl.concat_str(*differ, separator=", ", ignore_nulls=True),
        reason=pl.format("of {}: the image is in an earlier store too", "origin"),
    )
    otherwise = pl.col("differ") != ""
    if conflicts := repeated.filter(otherwise).height:
        note(f"{conflicts} cases are labelled otherwise in a later store, as the rejections tell")
    return repeated.select(
        pl.lit("duplicate_case").alias("reason"),
        pl.col("own_id").alias("case_id"),
        pl.lit(None, pl.String).alias("reading_id"),
        pl.when(otherwise)
        .then(pl.format("{}, labelled otherwise there: {}", "reason", "differ"))
        .otherwise("reason")
        .alias("detail"),
    )


def _patients(cases: pl.DataFrame) -> dict[tuple[int, int], int]:
    """Number the patients by (store, patient); patients that share an image get the same number."""
    parent: dict[tuple[int, int], tuple[int, int]] = {}

    def root(one: tuple[int, int]) -> tuple[int, int]:
        while parent.setdefault(one, one) != one:
            one = parent[one]
        return one

    for (_,), of_file in cases.group_by("sha256", maintain_order=True):
        owners = [
            root(row)
            for row in of_file.select("store", "own_patient").unique(maintain_order=True).iter_rows()
        ]
        for other in owners[1:]:
            parent[root(other)] = root(owners[0])
    numbers: dict[tuple[int, int], int] = {}
    return {
        one: numbers.setdefault(root(one), len(numbers))
        for one in cases.select("store", "own_patient").unique(maintain_order=True).iter_rows()
    }


SOURCE = Source(
    MergeOptions,
    read,
    "radgaze prepare merge egd-store reflacx-store "
    "--map edema=CHF --map effusion= --out store",  # flags: a command
    fitted=True,
)
