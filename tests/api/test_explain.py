"""`run.explain`: the maps of images as arrays, a picture and files."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from PIL import Image

import radgaze as rg
from radgaze.explaining.making import explain
from radgaze.explaining.options import ExplainFilesOptions
from tests.training.conftest import TINY

FEW = ("guided_backprop", "grad_cam")


@pytest.fixture(scope="module")
def run(store: rg.Store, tmp_path_factory: pytest.TempPathFactory) -> rg.Run:
    short = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    out = tmp_path_factory.mktemp("run") / "guided"
    return rg.train(rg.config("set3_guided", data=store, seed=1, **short), out)


def test_maps_are_those_of_the_command_for_a_case(run: rg.Run, tmp_path: Path) -> None:
    cases = run.predictions().filter(split="test")["case_id"].to_list()[:3]
    made = run.explain(cases, FEW, batch_size=2)
    outcome = explain(run, cases, tmp_path / "command", ExplainFilesOptions(methods=FEW))
    made.save(tmp_path / "python")
    assert made.mask is not None
    assert made.images is not None
    for i, (requested, folder) in enumerate(outcome.written.items()):
        with np.load(folder / "maps.npz") as of_command:
            for method in FEW:
                expected = of_command[f"{method}/{made.targets[i][0]}"]
                np.testing.assert_allclose(made.heatmaps[method][i], expected, atol=1e-5)
            np.testing.assert_allclose(made.mask[i], of_command["mask"], atol=1e-5)
            np.testing.assert_array_equal(made.images[i], of_command["image"])
        saved = tmp_path / "python" / requested.name
        assert {each.name for each in saved.iterdir()} == {each.name for each in folder.iterdir()}
    predicted = run.predict(cases)
    np.testing.assert_allclose(made.probabilities, predicted.probabilities, atol=1e-6)
    assert made.names == predicted.names


def test_images_are_given_as_arrays_tensors_and_files_and_an_unreadable_one_has_an_error(
    run: rg.Run, tmp_path: Path
) -> None:
    greys = np.random.default_rng(0).integers(0, 255, (2, 50, 70), dtype=np.uint8)
    for i, plane in enumerate(greys):
        Image.fromarray(plane).save(tmp_path / f"{i}.png")
    of_files = run.explain([tmp_path / "0.png", tmp_path / "1.png"], "grad_cam").heatmaps["grad_cam"]
    for given in (greys, torch.from_numpy(greys), greys[:, None], list(greys)):
        np.testing.assert_allclose(run.explain(given, "grad_cam").heatmaps["grad_cam"], of_files, atol=1e-6)
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    made = run.explain(tmp_path, FEW)
    assert made.errors[0] is None
    assert made.errors[1]
    np.testing.assert_allclose(made.heatmaps["grad_cam"][0], of_files[0], atol=1e-6)
    assert np.isnan(made.heatmaps["grad_cam"][1]).all()
    assert made.predicted[1] is None
    assert "1 could not be read" in repr(made)
    made.plot()
    assert [each.name for each in made.save(tmp_path / "out").iterdir()] == ["image-001"]


def test_all_classes_have_maps_of_their_own_in_the_order_of_the_classes(run: rg.Run) -> None:
    image = np.random.default_rng(1).random((40, 40))
    every = run.explain(image, "grad_cam", target="all")
    assert every.heatmaps["grad_cam"].shape == (1, len(run.classes), 32, 32)
    for k, name in enumerate(run.classes):
        one = run.explain(image, "grad_cam", target=name)
        np.testing.assert_allclose(every.heatmaps["grad_cam"][:, k], one.heatmaps["grad_cam"], atol=1e-6)


def test_a_notebook_shows_the_picture_and_a_part_shows_its_own(run: rg.Run) -> None:
    made = run.explain(np.random.default_rng(1).random((3, 40, 40)), FEW)
    pictures = [Image.open(BytesIO(each._repr_png_())) for each in (made, made[1])]
    assert pictures[0].height > 2 * pictures[1].height
    assert len(made[1:]) == 2
    assert [each.names for each in made] == [(name,) for name in made.names]
    shown, _ = DisplayFormatter().format(made.plot())  # type: ignore[no-untyped-call]
    assert Image.open(BytesIO(shown["image/png"])).size == pictures[0].size
    # As a notebook draws a figure: cut to what it holds, which moves nothing in it.
    buffer = BytesIO()
    made.plot().savefig(buffer, bbox_inches="tight", dpi=80)
    cut = np.asarray(Image.open(buffer).convert("RGB")).astype(float)
    colourful = (cut.max(2) - cut.min(2) > 60).any(1).nonzero()[0]
    assert colourful[0] < cut.shape[0] / 4  # maps at the top
    assert colourful[-1] > 0.9 * cut.shape[0]  # the scale at the foot


def test_a_mistake_is_told(run: rg.Run, tmp_path: Path) -> None:
    image = np.zeros((40, 40))
    mistakes: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: run.explain(image, "grad_camm"), "no method 'grad_camm'"),
        (lambda: run.explain(image, targets="all"), "did you mean `target`"),
        (lambda: run.explain(image, target="Nothing"), "`target` must be one of"),
        (lambda: run.explain([]), "must not be empty"),
    )
    for call, message in mistakes:
        with pytest.raises(rg.UserError, match=message):
            call()
    made = run.explain(image, "grad_cam")
    made.save(tmp_path)
    with pytest.raises(rg.UserError, match="holds maps already"):
        made.save(tmp_path)
    made.save(tmp_path, overwrite=True)
