"""The examples of CONTRIBUTING, taken from the page and run."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
import yaml

from radgaze import attribution, experiments, models
from radgaze.attribution import registry as generators
from radgaze.evaluation.metrics import agreement
from radgaze.models import registry as architectures
from radgaze.models.config import ModelConfig
from radgaze.objectives import distances, terms
from radgaze.objectives.config import ObjectiveConfig, TermConfig
from radgaze.objectives.step import ForwardPass, Maps, Outputs, Step
from radgaze.runs import settings

Entry = TypeVar("Entry")

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def examples(title: str) -> list[str]:
    """The code blocks of the paragraph of that title, up to the next title."""
    paragraph = re.split(r"\n\*\*|\n## ", PAGE.split(f"\n**{title}**", 1)[1], maxsplit=1)[0]
    blocks = re.findall(r"\n\n((?: {4}.*\n|\n+(?= {4}))+)", paragraph + "\n")
    return [textwrap.dedent(block) for block in blocks]


def executed(code: str, **names: Any) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "example", **names}
    exec(compile(code, "CONTRIBUTING.md", "exec", dont_inherit=True), namespace)
    return namespace


@contextmanager
def unchanged(registry: MutableMapping[str, Entry]) -> Iterator[None]:
    before = dict(registry)
    try:
        yield
    finally:
        registry.clear()
        registry.update(before)


@pytest.fixture
def restored() -> Iterator[None]:
    """Remove what the examples register."""
    with (
        unchanged(generators.REGISTRY),
        unchanged(generators.PRESETS),
        unchanged(architectures._REGISTRY),
        unchanged(distances.REGISTRY),
        unchanged(terms.REGISTRY),
        unchanged(agreement.METRICS),
    ):
        yield


@pytest.mark.usefixtures("restored")
def test_the_generator_of_contributing_is_the_square_of_the_gradient() -> None:
    executed(examples("A generator")[0])
    head = torch.nn.Linear(64, 2)
    model = torch.nn.Sequential(torch.nn.Flatten(), head).eval()
    images = torch.rand(2, 1, 8, 8)
    heat = attribution.create("squared_gradient", model, normalise="none")(images, target=1)
    expected = head.weight[1].reshape(1, 1, 8, 8).square().expand(2, 1, 8, 8)
    torch.testing.assert_close(heat, expected)


@pytest.mark.usefixtures("restored")
def test_the_architecture_of_contributing_is_built_by_its_name_and_gives_a_mask() -> None:
    executed(examples("An architecture")[0])
    model = models.create(ModelConfig(architecture="two_layers"), 3)
    output = model(torch.rand(2, 1, 32, 32))
    assert output.logits.shape == (2, 3)
    assert output.mask.shape == (2, 1, 32, 32)
    assert architectures.find("two_layers").provides == ("mask",)


@pytest.mark.usefixtures("restored")
def test_the_distance_of_contributing_is_found_by_its_name() -> None:
    executed(examples("A map distance")[0])
    p, q = torch.rand(3, 1, 4, 4), torch.rand(3, 1, 4, 4)
    torch.testing.assert_close(distances.find("mean_absolute")(p, q), (p - q).abs().mean((1, 2, 3)))


@pytest.mark.usefixtures("restored")
def test_the_term_of_contributing_is_created_with_its_options() -> None:
    executed(examples("A term of the loss")[0])
    term = terms.create("terms.calm", TermConfig(kind="confidence", options={"limit": 2.0}), ())
    logits = torch.tensor([[1.0, 2.5], [0.0, -1.0]])
    nothing = torch.zeros(2, 1, 4, 4)
    maps = Maps(nothing, torch.ones(2, dtype=torch.bool), torch.ones(2, 2))
    forward = ForwardPass(
        nothing, Outputs(logits), lambda target: torch.zeros(2).long(), lambda x: Outputs(logits)
    )
    values = term.values(Step(maps, torch.eye(2), ObjectiveConfig(), forward))
    torch.testing.assert_close(values, torch.tensor([0.5, 0.0]))


def test_the_experiment_of_contributing_is_a_valid_configuration() -> None:
    described = yaml.safe_load(examples("An experiment")[0])
    existing = yaml.safe_load((Path(experiments.__file__).parent / "set1_guided.yaml").read_text("utf-8"))
    assert {"title", "summary", "family", "order"} <= described.keys() & existing.keys()
    fields = {
        name: value
        for name, value in described.items()
        if name not in ("title", "summary", "family", "order")
    }
    config = settings.from_dict({**experiments.load("set1_guided"), **fields})
    assert config.objective.heatmap.generator == "backprop"
    assert config.objective.heatmap_gaze.distance == "mse"


@pytest.mark.usefixtures("restored")
def test_the_metric_of_contributing_measures_the_distance_of_the_maxima() -> None:
    (code,) = examples("A metric of agreement")
    function, entry = re.split(r'\n(?="peak_distance")', code)
    namespace = executed(function, **vars(agreement))
    metric = eval("{" + entry + "}", namespace)["peak_distance"]
    P, Q = np.zeros((2, 8, 8)), np.zeros((2, 8, 8))
    P[:, 1, 2] = 1
    Q[0, 1, 2], Q[1, 4, 6] = 1, 1
    np.testing.assert_allclose(metric.function(P, Q), [0, 5])
    agreement.METRICS["peak_distance"] = metric
    values = agreement.measure_agreement(P, Q, Q, Q)
    np.testing.assert_allclose(values["peak_distance"], [0, 5])
