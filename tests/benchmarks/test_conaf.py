"""The control of the benchmark of conaf: boxes that are exchanged among cases with the same findings."""

from __future__ import annotations

import polars as pl
from benchmarks.conaf import difference, exchanged

SPLITS = ("train", "train", "train", "validate", "validate", "test", "test")
CORNERS = ("x1", "y1", "x2", "y2")


def made() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cases with one finding, both or none, on images of several sizes, and their boxes."""
    cases, boxes = [], []
    for i in range(84):
        name, rows, columns = f"case-{i}", 100 + i, 80 + 2 * i
        findings = [label for k, label in enumerate(("Opacity", "Effusion")) if (i // 7 + 1) & (1 << k)]
        cases.append(
            {"case_id": name, "patient": i // 14 * 7 + i % 7, "split": SPLITS[i % 7]}
            | {"rows": rows, "columns": columns}
            | {f"label_{label}": int(label in findings) for label in ("Opacity", "Effusion")}
        )
        for label in (*findings, "chest"):
            x, y = 0.1 + i / 400, 0.4 - i / 400
            at = dict(
                zip(CORNERS, (x * columns, y * rows, (x + 0.2) * columns, (y + 0.3) * rows), strict=True)
            )
            boxes.append({"case_id": name, "label": label, **at})
    return pl.DataFrame(boxes), pl.DataFrame(cases)


def as_shares(boxes: pl.DataFrame, cases: pl.DataFrame) -> pl.DataFrame:
    joined = boxes.join(cases, on="case_id", maintain_order="left")
    return joined.with_columns(
        pl.col("x1", "x2") / pl.col("columns"), pl.col("y1", "y2") / pl.col("rows")
    ).with_columns(pl.col(CORNERS).round(6))


def test_boxes_are_those_of_another_patient_with_the_same_findings_of_the_same_split() -> None:
    boxes, cases = made()
    given = exchanged(boxes, cases, seed=0)
    old, new = (as_shares(each, cases).filter(pl.col("label") != "chest") for each in (boxes, given))
    key = ["split", "label", "label_Opacity", "label_Effusion", *CORNERS]
    assert new.select(key).sort(key).equals(old.select(key).sort(key))  # each box once
    source = new.join(old, on=(*CORNERS, "label"), suffix="_giver")
    learned = source.filter(pl.col("split") != "test")
    assert learned.height == new.filter(pl.col("split") != "test").height
    assert (learned["patient"] != learned["patient_giver"]).all()
    # Boxes of one case go to one case together.
    assert learned.group_by("case_id").agg(pl.col("case_id_giver").n_unique())["case_id_giver"].max() == 1


def test_test_cases_and_organs_keep_their_boxes_and_normal_cases_have_none() -> None:
    boxes, cases = made()
    given = exchanged(boxes, cases, seed=1)
    for kept in (
        pl.col("label") == "chest",
        pl.col("case_id").is_in(cases.filter(split="test")["case_id"].implode()),
    ):
        order = ["case_id", "label"]
        assert given.filter(kept).sort(order).equals(boxes.filter(kept).sort(order))
    marked = boxes.filter(pl.col("label") != "chest")["case_id"]
    assert given.filter(pl.col("label") != "chest")["case_id"].is_in(marked.implode()).all()


def test_differences_are_paired_by_seed() -> None:
    names = ("AUC", "pointing game", "energy inside", "IoU")
    conaf = [dict.fromkeys(names, value) for value in (0.5, 0.7, 0.6)]
    other = [dict.fromkeys(names, value) for value in (0.4, 0.5, 0.5)]
    # Differences 0.1, 0.2, 0.1: mean 0.1333, standard error 0.0333, times 4.303.
    assert "AUC +0.133 [-0.010, +0.277]" in difference("the other", conaf, other)
    assert "AUC" not in difference("a map", conaf, [{"IoU": 0.1}, {"IoU": 0.2}, {"IoU": 0.3}])
