"""Networks of class maps: what a score is made of, and the two heads of self-transfer learning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution
from radgaze.models import ModelConfig, create, load, save
from radgaze.models.class_maps import ClassMaps, SelfTransfer
from radgaze.models.output import Output
from radgaze.objectives.config import ObjectiveConfig, TermConfig
from radgaze.objectives.step import ForwardPass, Maps, Outputs
from radgaze.objectives.triangle import objective
from radgaze.runs import settings
from radgaze.training.factors import Factors

ENCODER = "tu-test_efficientnet"


@pytest.fixture(autouse=True)
def _same_numbers() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def network(architecture: str = "stl", *, pooling: str = "average", dropout: float = 0.0) -> ClassMaps:
    config = ModelConfig(architecture, ENCODER, "none", dropout=dropout, pooling=pooling)  # type: ignore[arg-type]
    model = create(config, 3)
    assert isinstance(model, ClassMaps)
    return model.eval()


def given(output: Output, config: ObjectiveConfig, labels: Tensor, factors: dict[str, float]) -> Tensor:
    """The loss of an output, without gaze."""
    maps = Maps(
        torch.zeros(len(labels), 1, 4, 4), torch.zeros(len(labels), dtype=torch.bool), torch.ones(4, 2)
    )
    forward = ForwardPass(
        torch.zeros(len(labels), 1, 4, 4),
        Outputs(output.logits, output.aux_logits),
        lambda target: labels.argmax(1),
        lambda images: Outputs(output.logits),
    )
    return objective(output.logits, labels, maps, config, forward=forward, factors=factors)["loss"]


@pytest.mark.parametrize("architecture", ["class_maps", "stl"])
@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (96, 64)])
@pytest.mark.parametrize("pooling", ["average", "max"])
def test_a_score_is_the_mean_or_the_maximum_of_its_class_map(
    architecture: str, rows: int, columns: int, pooling: str
) -> None:
    model = network(architecture, pooling=pooling)
    output = model(torch.rand(2, 1, rows, columns))
    assert output.class_maps.shape == (2, 3, rows // 32, columns // 32)
    flat = output.class_maps.flatten(2)
    torch.testing.assert_close(output.logits, flat.mean(2) if pooling == "average" else flat.max(2).values)
    assert output.mask.shape == (2, 1, rows, columns)
    own = output.class_maps[torch.arange(2), output.logits.argmax(1)][:, None]
    torch.testing.assert_close(output.mask, F.interpolate(own, size=(rows, columns), mode="bilinear"))
    assert (output.aux_logits is None) == (architecture == "class_maps")


def test_the_second_classifier_is_linear_in_the_mean_features() -> None:
    model = network()
    assert isinstance(model, SelfTransfer)
    x = torch.rand(2, 1, 64, 64)
    features = model.encoder(model.grey(x))[-1].mean((2, 3))
    linear = next(each for each in model.classifier.modules() if isinstance(each, nn.Linear))
    torch.testing.assert_close(model(x).aux_logits, features @ linear.weight.T + linear.bias)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_the_loss_is_the_papers_sum_of_both_classifiers(kind: str, alpha: float) -> None:
    """(1 − α)·L_cls + α·L_loc, by hand."""
    config = settings.resolve("self_transfer").objective
    config.classification = kind  # type: ignore[assignment]
    logits, aux = (torch.randn(4, 3, dtype=torch.float64) for _ in range(2))
    labels = torch.eye(3)[[0, 2, 1, 1]]
    loss = given(Output(logits, None, None, aux), config, labels, {"gamma": alpha})

    def by_hand(scores: Tensor) -> Tensor:
        if kind == "softmax":
            return -(scores - scores.exp().sum(1, keepdim=True).log())[labels == 1].mean()
        p = 1 / (1 + (-scores).exp())
        return -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()

    torch.testing.assert_close(
        loss.double(), (1 - alpha) * by_hand(aux) + alpha * by_hand(logits), atol=1e-6, rtol=1e-6
    )


def test_alpha_goes_from_a_tenth_to_nine_tenths_in_a_line() -> None:
    for name in ("self_transfer", "self_transfer_gaze"):
        config = settings.resolve(name).objective
        factors = Factors(config)
        alphas = [config.gamma * factors.at(t, {}, {}, float)["gamma"] for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
        # min(0.1 + 0.8 · step / 10,000, 0.9), as in wsrpn's stl_model.py
        assert alphas == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
        weights = [each.weight * factors.at(0.5, {}, {}, float)[n] for n, each in config.weights.items()]
        assert sum(weights) == pytest.approx(1.0)


def test_each_head_learns_by_its_own_share_and_the_encoder_by_both() -> None:
    labels, x = torch.eye(3)[[0, 1, 2, 0]], torch.rand(4, 1, 64, 64)
    config = settings.resolve("self_transfer").objective
    config.classification = "softmax"

    def gradients(alpha: float) -> dict[str, Tensor]:
        model = network()
        with torch.no_grad():  # the same weights each time
            for i, parameter in enumerate(model.parameters()):
                seeded = torch.Generator().manual_seed(i)
                if parameter.dim() > 1:
                    parameter.copy_(0.2 * torch.randn(parameter.shape, generator=seeded))
        loss = given(model(x), config, labels, {"gamma": alpha})
        named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True, materialize_grads=True)
        return dict(zip(named, found, strict=True))

    only_cls, only_loc, both = gradients(0.0), gradients(1.0), gradients(0.3)
    assert not only_cls["localiser.weight"].any()
    assert only_loc["localiser.weight"].any()
    assert not only_loc["classifier.3.weight"].any()
    assert only_cls["classifier.3.weight"].any()
    for name, gradient in both.items():
        torch.testing.assert_close(
            gradient, 0.7 * only_cls[name] + 0.3 * only_loc[name], atol=1e-5, rtol=1e-4
        )
    encoder = [n for n in both if n.startswith("encoder") and both[n].dim() > 1]
    assert all(only_cls[n].any() and only_loc[n].any() for n in encoder)


def test_a_network_without_a_second_classifier_is_told_where_a_term_needs_it() -> None:
    config = ObjectiveConfig(classification="softmax", terms={"classifier": TermConfig(kind="auxiliary")})
    labels = torch.eye(3)[[0, 1]]
    with pytest.raises(ValueError, match="the term classifier: the model has no auxiliary classifier"):
        given(Output(torch.zeros(2, 3), None), config, labels, {})


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_generators_show_the_localiser(pooling: str) -> None:
    model, x = network(pooling=pooling), torch.rand(2, 1, 64, 64)
    maps = model(x).class_maps
    which = torch.tensor([2, 0])
    own = F.interpolate(maps[torch.arange(2), which][:, None], size=(64, 64), mode="bilinear").sigmoid()
    shown = attribution.create("pylon", model)(x, which)
    torch.testing.assert_close(shown, own / own.amax((2, 3), keepdim=True))
    for name in ("grad_cam", "guided_backprop"):
        assert attribution.create(name, model)(x, which).isfinite().all()


@pytest.mark.parametrize("architecture", ["class_maps", "stl"])
def test_a_model_comes_back_to_the_bit(architecture: str, tmp_path: Path) -> None:
    config = ModelConfig(architecture, ENCODER, "none", pooling="max", dropout=0.25)
    model = create(config, 2)
    model.train()(torch.rand(4, 1, 64, 64))
    save(model, config, ("a", "b"), tmp_path)
    found, classes = load(tmp_path)
    assert classes == ("a", "b")
    x = torch.rand(2, 1, 96, 64)
    for ours, theirs in zip(found(x), model.eval()(x), strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)
