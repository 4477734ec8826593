"""The experiments are choices of weights on three edges, and their faithful protocol is the published one."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest
import torch
import yaml

from radgaze import experiments
from radgaze.experiments import faithful
from radgaze.objectives.distances import bce
from radgaze.objectives.triangle import classification
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.training.module import triangular2

# Weights of M–G, H–G, M–H and the generator, as in the paper's table; the last three are ours.
TRIANGLE = {
    "no_decoder": ((0, 0, 0), None),
    "baseline": ((1, 0, 0), None),
    "set1_guided": ((0, 1, 0), "guided_backprop"),
    "set1_deconvnet": ((0, 1, 0), "deconvnet"),
    "set2_guided": ((0, 0, 1), "guided_backprop"),
    "set2_deconvnet": ((0, 0, 1), "deconvnet"),
    "set3_guided": ((1 / 2, 1 / 2, 0), "guided_backprop"),
    "set3_deconvnet": ((1 / 2, 1 / 2, 0), "deconvnet"),
    "set3_grad_cam": ((1 / 2, 1 / 2, 0), "grad_cam"),
    "all_edges_guided": ((1 / 3, 1 / 3, 1 / 3), "guided_backprop"),
    "pylon": ((1, 0, 0), None),
}
NETWORKS = {"no_decoder": "classifier", "pylon": "pylon"}
PROTOCOLS = ("honest", "faithful")
PROTOCOL = Path(experiments.__file__).parent / "protocols" / "faithful.yaml"


def weights(config: Config) -> tuple[float, float, float]:
    goal = config.objective
    return goal.mask_gaze.weight, goal.heatmap_gaze.weight, goal.mask_heatmap.weight


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", TRIANGLE)
def test_an_experiment_is_its_weights_on_the_triangle_and_a_generator(name: str, protocol: str) -> None:
    config = settings.resolve(name, protocol=protocol)
    expected, generator = TRIANGLE[name]
    assert weights(config) == pytest.approx(expected)
    if generator is not None:
        assert config.objective.heatmap.generator == generator
    assert config.model.architecture == NETWORKS.get(name, "unet")


def test_the_documentation_lists_what_the_faithful_protocol_copies_and_what_not() -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")
    _, kept, copied = page.split("\n## ")
    for listed, part in ((faithful.NOT_COPIED, kept), (faithful.COPIED, copied)):
        rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")][1:]
        assert rows == [list(astuple(one)) for one in listed]


def test_what_is_listed_of_saturated_maps_and_long_readings_holds() -> None:
    here = {one.subject: one.here for one in faithful.NOT_COPIED}
    assert "±16" in here["Saturated maps"]
    for logit, ends in ((15.0, False), (17.0, True), (-15.0, False), (-17.0, True)):
        mask = torch.full((1, 1, 2, 2), logit, requires_grad=True)
        torch.autograd.backward(bce(mask.sigmoid(), torch.full((1, 1, 2, 2), 0.5)).sum())
        assert mask.grad is not None
        assert bool((mask.grad == 0).all()) == ends
        scores = torch.full((1, 3), 3 * logit, requires_grad=True)
        labels = torch.tensor([[1.0, 0.0, float(logit < 0)]])
        torch.autograd.backward(classification(scores, labels, "sigmoid"))
        assert scores.grad is not None
        assert scores.grad.abs().max() > 0.1
    most = settings.resolve("temporal", protocol="faithful").model.most_frames
    assert f"the first {most} " in here["Length of a reading"]


def test_every_experiment_of_the_paper_is_there() -> None:
    assert set(TRIANGLE) <= set(experiments.names())


@pytest.mark.parametrize("name", TRIANGLE)
def test_faithful_protocol_is_the_published_one(name: str) -> None:
    config = settings.resolve(name, protocol="faithful")
    bare = name == "no_decoder"
    optimisation = config.optimisation
    assert (config.model.encoder, config.model.weights) == ("timm-efficientnet-b0", "noisy-student")
    assert config.model.decoder_channels == (256, 128, 64, 32, 16)
    assert config.model.dropout == (0 if bare or name == "pylon" else 0.5)
    assert (config.input.size, config.input.fit, config.input.augment) == (224, "stretch", False)
    assert (config.gaze.weight, config.gaze.sigma, config.gaze.unit) == ("reference", 150, "pixels")
    assert (config.objective.gamma, config.objective.classification) == (0.41731, "sigmoid")
    assert {edge.distance for edge in config.objective.edges.values()} <= {"bce"}
    assert (optimisation.optimiser, optimisation.batch_size, optimisation.last_batch) == ("adam", 32, "keep")
    assert optimisation.learning_rate == (0.006486 if bare else 0.0090552)
    assert (optimisation.clip, optimisation.clip_at) == ("value", 0.1)
    assert (optimisation.schedule, optimisation.step_epochs) == ("triangular2", 8 if bare else 2)
    assert (config.trainer.max_epochs, config.trainer.patience) == (20 if bare else 35, 0)
    assert config.trainer.keep_checkpoints == "all"
    assert config.selection == "validate"
    # The multiplier's floor is the rate itself, so that the rate's floor is its square.
    multipliers = [triangular2(epoch, optimisation) for epoch in range(4 * optimisation.step_epochs + 1)]
    assert max(multipliers) == 1
    assert min(multipliers) == pytest.approx(optimisation.learning_rate)


def test_every_experiment_says_how_it_is_shown_and_no_two_share_a_place() -> None:
    shown = experiments.catalogue()
    assert {each.name for each in shown} == set(experiments.names())
    assert len({each.order for each in shown}) == len({each.title for each in shown}) == len(shown)
    assert all(each.title and each.family and each.summary for each in shown)


def test_the_faithful_protocol_is_written_once() -> None:
    shared = experiments.flat(yaml.safe_load(PROTOCOL.read_text(encoding="utf-8")))
    for file in PROTOCOL.parent.parent.glob("*.yaml"):
        own = yaml.safe_load(file.read_text(encoding="utf-8")).get("faithful", {})
        repeated = {name for name, value in experiments.flat(own).items() if shared.get(name) == value}
        assert not repeated, file.name
