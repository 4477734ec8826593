"""The settings of a run in words."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
import yaml

from radgaze import experiments
from radgaze.objectives import distances
from radgaze.objectives.config import EdgeConfig, HeatmapConfig, ObjectiveConfig, TermConfig
from radgaze.objectives.distance import PENALISED
from radgaze.objectives.terms import further
from radgaze.reporting.description import StoreFacts, configuration, summary, weight_words
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.sections import Value


def test_a_weight_says_what_multiplies_it_in_training() -> None:
    assert weight_words(EdgeConfig(0.5)) == "0.50"
    assert weight_words(EdgeConfig(1.0, balance="start")) == "1.00 · balanced at the start"
    both = TermConfig(2.0, balance="start", schedule="warmup(0.3)")
    assert weight_words(both) == "2.00 · balanced at the start · warmup(0.3)"


@pytest.mark.parametrize(
    "folder",
    [
        "/Users/anna/Library/CloudStorage/OneDrive - Klinik/Dr Anna Mueller/Eye tracking of patient Schmidt",
        '/data/Klinik Süd/Dr. O\'Neil, "private"/Schmidt',
        "C:\\Users\\Schmidt\\Eye tracking, a long name of a folder, and another long one of Dr O'Neil",
    ],
)
def test_no_folders_name_of_a_configuration_is_on_a_page(folder: str, tmp_path: Path) -> None:
    separator = "\\" if "\\" in folder else "/"
    config = settings.resolve("set3_guided", data=f"{folder}{separator}store", model={"weights": "none"})
    settings.write(config, tmp_path / "config.yaml")
    shown = configuration(cast(Run, SimpleNamespace(path=tmp_path)))
    assert "\ndata: …/store\n" in shown
    assert not any(name in shown for name in ("Schmidt", "Anna", "anna", "Klinik", "O'Neil"))
    assert yaml.safe_load(shown) == {**settings.to_dict(config), "data": "…/store"}


def test_relative_paths_of_a_configuration_are_shortened_and_names_of_a_hub_are_not(tmp_path: Path) -> None:
    model = {"weights": "schmidt/w.pt", "weights_dir": "schmidt\\more/files/", "pretraining_ids": "ids.csv"}
    shortened = {"weights": "…/w.pt", "weights_dir": "…/files/", "pretraining_ids": "ids.csv"}
    config = settings.resolve("baseline", data="schmidt/store", model=model)
    settings.write(config, tmp_path / "config.yaml")
    shown = yaml.safe_load(configuration(cast(Run, SimpleNamespace(path=tmp_path))))
    content = settings.to_dict(config)
    assert shown == experiments.merge(content, {"data": "…/store", "model": shortened})
    for weights in ("imagenet", "hf:owner/name"):
        settings.write(settings.resolve("baseline", model={"weights": weights}), tmp_path / "config.yaml")
        shown = yaml.safe_load(configuration(cast(Run, SimpleNamespace(path=tmp_path))))
        assert shown["model"]["weights"] == weights


@pytest.mark.parametrize(
    ("experiment", "words"),
    [
        ("set3_guided", "its own heatmap was pulled towards the gaze map"),
        *(
            (name, "its own heatmap was penalised for values outside of the gaze map")
            for name in ("rrr", "gradmask", "energy", "background")
        ),
    ],
)
def test_a_penalty_of_a_run_is_not_told_as_pulling_its_heatmap_towards_gaze(
    experiment: str, words: str
) -> None:
    run = SimpleNamespace(config=settings.resolve(experiment), vote=None, classes=("CHF", "Normal"))
    sentences = summary(cast(Run, run), StoreFacts())
    assert words in sentences
    assert ("heatmap was pulled" in sentences) == ("pulled" in words)


def test_what_a_distance_does_is_said_of_terms_as_of_edges() -> None:
    options: dict[str, Value] = {"first": "inner", "second": "heatmap", "distance": "overlap"}
    goal = ObjectiveConfig(
        heatmaps={"inner": HeatmapConfig("grad_cam")},
        terms={"apart": TermConfig(1.0, "edge", options=options)},
    )
    (term,) = further(goal).values()
    assert term.summary == "its heatmap “inner” was kept apart from its own heatmap (overlap)"


def test_each_distance_that_pulls_is_smallest_at_its_target_and_no_penalty_is() -> None:
    """The words follow from the registration: a map inside of its target is no fault to a penalty."""
    q = torch.zeros(1, 1, 40, 40)
    q[..., 10:30, 10:30] = 1
    inside = torch.zeros_like(q)
    inside[..., 16:20, 20:28] = 1
    for name in ("outside_squared", "outside_absolute", "energy"):
        assert distances.find(name).effect == PENALISED
        assert float(distances.find(name)(inside, q)) == pytest.approx(0, abs=1e-6), name
    for name in ("mse", "kl", "one_minus_cc", "dice", "bce"):
        assert distances.find(name).effect is None
        assert float(distances.find(name)(inside, q)) > float(distances.find(name)(q, q)) + 0.1, name
