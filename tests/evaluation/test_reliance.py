"""Tests of the reliance on confounders, against a loop over the images of each case."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import polars as pl
import pytest

from radgaze.evaluation.reliance import UNNAMED, figures, figures_of
from radgaze.runs.run import Run

CLASSES = ("a", "b", "c")
NAMES = [f"probability_{name}" for name in CLASSES]
TWINS = dict.fromkeys(("case_id", "twin_of", "confounder", "shows", "original_shows"), pl.String)


def probabilities(rng: np.random.Generator, ids: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"case_id": ids}).with_columns(
        pl.from_numpy(rng.dirichlet(np.ones(3), len(ids)), NAMES)
    )


def cases(rng: np.random.Generator, ids: list[str], split: str = "test") -> pl.DataFrame:
    labels: dict[str, list[object]] = {
        f"label_{name}": [int(i % 3 == k) for i in range(len(ids))] for k, name in enumerate(CLASSES)
    }
    about: dict[str, list[object]] = {"patient": list(range(len(ids))), "split": [split] * len(ids)}
    return probabilities(rng, ids).with_columns(pl.Series(k, v) for k, v in (about | labels).items())


def test_each_image_that_shows_the_confounder_is_compared_with_the_one_without() -> None:
    rng = np.random.default_rng(0)
    shown_in = {"x": "a", "y": "b", "z": None}  # what the cases themselves show
    twins = pl.DataFrame(
        [
            {"case_id": f"{case}-{shows}", "twin_of": case, "confounder": "marker", "shows": shows,
             "original_shows": own}
            for case, own in shown_in.items()
            for shows in (None, *CLASSES)
            if shows != own
        ],
        schema=TWINS,
    )  # fmt: skip
    of_cases = cases(rng, list(shown_in))
    of_twins = probabilities(rng, twins["case_id"].to_list())
    found = figures(twins, of_twins, of_cases, CLASSES, exclusive=True, softmax=True)
    every = {row["case_id"]: np.array([row[name] for name in NAMES]) for table in (of_cases, of_twins)
             for row in table.iter_rows(named=True)}  # fmt: skip
    assert found["case_id"].to_list() == ["x", "y", "z"]
    assert found["pairs"].to_list() == [3, 3, 3]
    for row in found.iter_rows(named=True):
        case, own = row["case_id"], shown_in[row["case_id"]]
        image = {None if shows is None else shows: every[case if shows == own else f"{case}-{shows}"]
                 for shows in (None, *CLASSES)}  # fmt: skip
        rises = [image[name][k] - image[None][k] for k, name in enumerate(CLASSES)]
        assert row["reliance"] == pytest.approx(np.mean(rises))
        changes = [np.abs(image[name] - image[None]).sum() / 2 for name in CLASSES]
        assert row["total_variation"] == pytest.approx(np.mean(changes))
        assert row["flips"] == np.mean([image[name].argmax() != image[None].argmax() for name in CLASSES])


def test_twins_that_say_nothing_of_what_they_show_are_compared_with_their_case() -> None:
    rng = np.random.default_rng(1)
    twins = pl.DataFrame([{"case_id": f"x{i}", "twin_of": "x"} for i in range(2)], schema=TWINS)
    of_cases, of_twins = cases(rng, ["x"]), probabilities(rng, ["x0", "x1"])
    (row,) = figures(twins, of_twins, of_cases, CLASSES, exclusive=True, softmax=True).iter_rows(named=True)
    assert (row["confounder"], row["pairs"], row["reliance"]) == (UNNAMED, 2, None)
    own = of_cases.select(NAMES).to_numpy()[0]
    expected = [np.abs(other - own).sum() / 2 for other in of_twins.select(NAMES).to_numpy()]
    assert row["total_variation"] == pytest.approx(np.mean(expected))


def test_a_twin_of_another_class_is_compared_with_a_case_that_shows_its_own() -> None:
    rng = np.random.default_rng(2)
    twins = pl.DataFrame(
        {"case_id": ["x-b"], "twin_of": ["x"], "confounder": ["device"], "shows": ["b"],
         "original_shows": ["a"]}
    )  # fmt: skip
    of_cases, of_twins = cases(rng, ["x"]), probabilities(rng, ["x-b"])
    (row,) = figures(twins, of_twins, of_cases, CLASSES, exclusive=True, softmax=True).iter_rows(named=True)
    rise = of_twins["probability_b"][0] - of_cases["probability_b"][0]
    assert row["pairs"] == 1
    assert row["reliance"] == pytest.approx(rise)


def test_kinds_of_confounders_are_kept_apart() -> None:
    rng = np.random.default_rng(3)
    twins = pl.DataFrame(
        [
            {"case_id": f"x-{kind}", "twin_of": "x", "confounder": kind, "shows": None, "original_shows": "a"}
            for kind in ("marker", "detector")
        ],
        schema=TWINS,
    )
    of_cases, of_twins = cases(rng, ["x"]), probabilities(rng, twins["case_id"].to_list())
    found = figures(twins, of_twins, of_cases, CLASSES, exclusive=True, softmax=True)
    own = of_cases["probability_a"][0]
    for kind, reliance in found.select("confounder", "reliance").iter_rows():
        without = of_twins.filter(case_id=f"x-{kind}")["probability_a"][0]
        assert reliance == pytest.approx(own - without)


def test_shares_of_a_majority_are_one_distribution_for_each_class() -> None:
    """With a threshold of their own per class, all runs may vote for all classes, or for none."""
    softmax = SimpleNamespace(config=SimpleNamespace(objective=SimpleNamespace(classification="softmax")))
    twins = pl.DataFrame([{"case_id": "x0", "twin_of": "x"}], schema=TWINS)
    of_cases = cases(np.random.default_rng(0), ["x"]).with_columns(pl.lit(1.0).alias(n) for n in NAMES)
    of_twins = of_cases.select("case_id", *NAMES).with_columns(
        pl.lit("x0").alias("case_id"), *(pl.lit(0.0).alias(n) for n in NAMES)
    )
    for rule, total in (("majority", 1.0), ("mean", 1.5)):
        run = SimpleNamespace(
            vote=SimpleNamespace(rule=rule),
            voters=(softmax, softmax),
            predictions=lambda: of_cases,
            classes=CLASSES,
            exclusive=True,
        )
        assert figures_of(cast(Run, run), twins, of_twins)["total_variation"].to_list() == [total]
