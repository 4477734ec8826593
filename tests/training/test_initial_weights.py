"""A run takes its encoder's weights and their input, says so in its report, and goes on with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import radgaze as rg
from radgaze.errors import UserError
from radgaze.models import ModelConfig, create
from radgaze.models.input_scale import scale_in
from radgaze.models.scale import Scale
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.training.conftest import TINY

ENCODER = TINY["model"]["encoder"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as of a hub: an encoder in a model of other names, and the input that it was trained on."""
    folder = tmp_path_factory.mktemp("hub")
    torch.manual_seed(5)
    config = ModelConfig(architecture="classifier", encoder=ENCODER, weights="none")
    made: Any = create(config, 3)
    state = {f"backbone.{name[6:]}": each for name, each in made.encoder.state_dict().items()}
    save_file({**state, "head.weight": torch.ones(2, 2)}, folder / "model.safetensors")
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.25] * 3, "image_std": [0.5] * 3})
    )
    return folder


def test_a_run_from_weights_of_a_hub(store: Store, weights: Path, tmp_path: Path) -> None:
    tested = store.cases.filter(split="test")["case_id"].to_list()
    (tmp_path / "seen.csv").write_text("\n".join(["dicom_id", *tested[:2], "another"]) + "\n")
    model = {"weights": str(weights), "pretraining_ids": str(tmp_path / "seen.csv")}
    run = rg.train(configured(store, model, epochs=1), tmp_path / "run")
    expected = Scale((0.25,) * 3, (0.5,) * 3)
    assert scale_in(run.model()) == expected
    stored = settings.read(run.path / "config.yaml").model
    assert (stored.normalisation, stored.mean, stored.std) == ("given", expected.mean, expected.std)
    record = json.loads((run.path / "initial_weights.json").read_text())
    assert record["stated_by"] == "preprocessor_config.json"
    assert record["taken"].startswith("68 of the encoder's 68 tensors taken, by name")
    assert str(weights) not in json.dumps(record)

    counted = rg.evaluate(run).pretraining
    assert counted is not None
    assert (counted.cases, counted.images) == (len(tested), 2)
    page = rg.report(run).read_text(encoding="utf-8")
    assert f"2 of {len(tested)} test cases are in the list of images" in page
    assert "less the mean 0.25, over the deviation 0.5, as stated by preprocessor_config.json" in page
    assert "1 of the weights not used (head.weight)" in page

    # The same settings, which leave the input to the weights.
    again = rg.train(configured(store, model, epochs=2), run.path, resume=True)
    assert scale_in(again.model()) == expected
    assert json.loads((run.path / "initial_weights.json").read_text()) == record


@pytest.mark.parametrize(
    ("model", "changed"),
    [
        ({"normalisation": "imagenet"}, {"normalisation": "none"}),
        ({"normalisation": "none", "channels": 1}, {"normalisation": "none", "channels": 3}),
        (
            {"normalisation": "given", "mean": [0.2], "std": [0.5]},
            {"normalisation": "given", "mean": [0.3], "std": [0.5]},
        ),
        ({"channels": 3}, {"channels": 1}),
        ({}, {"channels": 1}),
    ],
)
def test_a_run_goes_on_with_the_very_input_that_it_was_given_and_with_no_other(
    model: dict[str, Any], changed: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    run = train(configured(store, model, epochs=1), tmp_path / "run", predictions=False)
    train(configured(store, model, epochs=1), run.path, resume=True, predictions=False)
    with pytest.raises(UserError, match=r"the run began with `model\."):
        train(configured(store, changed, epochs=1), run.path, resume=True, predictions=False)


def configured(store: Store, model: dict[str, Any], *, epochs: int) -> Config:
    changed = {**TINY, "model": {**TINY["model"], **model}}
    changed["trainer"] = {**TINY["trainer"], "max_epochs": epochs}
    return rg.config("baseline", data=store, **changed)
