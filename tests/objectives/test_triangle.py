"""The loss by hand: three maps, three edges, their weights, γ, and the cases nobody looked at."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pytest
import torch
from scipy import special
from sklearn import metrics
from torch import Tensor

from radgaze import experiments
from radgaze.objectives import distances
from radgaze.objectives.config import EdgeConfig, HeatmapConfig, ObjectiveConfig
from radgaze.objectives.matching import match
from radgaze.objectives.terms import compares
from radgaze.objectives.triangle import Maps, classification, objective, probabilities
from radgaze.runs import settings

EDGES = ("mask_gaze", "heatmap_gaze", "mask_heatmap")
NOTHING_BUT = HeatmapConfig(match="none", normalise="max", margin=0.0)
LABELS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]])


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def logits() -> Tensor:
    return drawn(0, 4, 3)


@dataclasses.dataclass(frozen=True)
class AllMaps(Maps):
    """Maps of which none is missing."""

    mask: Tensor
    heatmap: Tensor

    def without(self, *missing: str) -> Maps:
        rest = {kind: getattr(self, kind) for kind in ("mask", "heatmap") if kind not in missing}
        return Maps(self.gaze, self.has_gaze, self.sigma, **rest)


def maps(has_gaze: tuple[bool, ...] = (True,) * 4, size: int = 12) -> AllMaps:
    return AllMaps(
        gaze=drawn(1, 4, 1, size, size).sigmoid(),
        has_gaze=torch.tensor(has_gaze),
        sigma=torch.tensor([[1.0, 2.0], [2.0, 1.0], [1.5, 1.5], [0.7, 3.0]]),
        mask=2 * drawn(2, 4, 1, size, size),
        heatmap=drawn(3, 4, 1, size, size).abs(),
    )


def config(
    weights: Mapping[str, float] = {},
    *,
    gamma: float = 0.4,
    distance: str = "mse",
    heatmap: HeatmapConfig = NOTHING_BUT,
) -> ObjectiveConfig:
    mask_gaze, heatmap_gaze, mask_heatmap = (EdgeConfig(weights.get(name, 0.0), distance) for name in EDGES)
    return ObjectiveConfig(
        gamma=gamma,
        heatmap=heatmap,
        mask_gaze=mask_gaze,
        heatmap_gaze=heatmap_gaze,
        mask_heatmap=mask_heatmap,
    )


def losses_by_hand(given: AllMaps) -> dict[str, float]:
    """Mean squared errors of the edges over all four cases, in NumPy."""
    H = given.heatmap.double().numpy()
    H = H / H.max((1, 2, 3), keepdims=True)
    M, G = special.expit(given.mask.double().numpy()), given.gaze.double().numpy()
    return {
        "mask_gaze": ((M - G) ** 2).mean(),
        "heatmap_gaze": ((H - G) ** 2).mean(),
        "mask_heatmap": ((M - H) ** 2).mean(),
    }


def softmax_by_hand() -> float:
    return float(metrics.log_loss(LABELS.argmax(1), special.softmax(logits().double().numpy(), 1)))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    "weights",
    [
        {"mask_gaze": 1.0},
        {"heatmap_gaze": 1.0},
        {"mask_heatmap": 1.0},
        {"mask_gaze": 0.3, "heatmap_gaze": 0.7},
        {"mask_gaze": 0.2, "heatmap_gaze": 3.0, "mask_heatmap": 0.5},
    ],
    ids=lambda weights: "+".join(weights),
)
def test_loss_is_gamma_of_classification_and_the_rest_of_the_weighted_edges(
    gamma: float, weights: dict[str, float]
) -> None:
    terms = objective(logits(), LABELS, maps(), config(weights, gamma=gamma))
    edges = losses_by_hand(maps())
    assert terms.keys() == {"loss", "classification", *weights}
    assert float(terms["classification"]) == pytest.approx(softmax_by_hand())
    for name in weights:
        assert float(terms[name]) == pytest.approx(edges[name])
    total = sum(weight * edges[name] for name, weight in weights.items())
    assert float(terms["loss"]) == pytest.approx(gamma * softmax_by_hand() + (1 - gamma) * total)


def test_each_edge_has_a_distance_of_its_own() -> None:
    given = maps()
    asked = ObjectiveConfig(
        mask_gaze=EdgeConfig(1.0, "dice"), heatmap_gaze=EdgeConfig(1.0, "kl"), heatmap=NOTHING_BUT
    )
    terms = objective(logits(), LABELS, given, asked)
    H = given.heatmap / given.heatmap.amax((1, 2, 3), keepdim=True)
    torch.testing.assert_close(terms["mask_gaze"], distances.dice(given.mask.sigmoid(), given.gaze).mean())
    torch.testing.assert_close(terms["heatmap_gaze"], distances.kl(H, given.gaze).mean())


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_without_an_edge_the_loss_is_the_classification_whatever_gamma(gamma: float) -> None:
    nothing = maps().without("mask", "heatmap")
    terms = objective(logits(), LABELS, nothing, config(gamma=gamma))
    assert terms.keys() == {"loss", "classification"}
    assert float(terms["loss"]) == pytest.approx(softmax_by_hand())


@pytest.mark.parametrize("name", EDGES)
def test_only_the_maps_of_an_edge_learn_from_it(name: str) -> None:
    given = learning(maps())
    torch.autograd.backward(objective(logits(), LABELS, given, config({name: 1.0}))["loss"])
    for kind in ("mask", "heatmap"):
        gradient = getattr(given, kind).grad
        if kind in name:
            assert all(case.any() for case in gradient)
        else:
            assert gradient is None


def test_heatmap_meets_gaze_and_mask_as_it_is_matched() -> None:
    """Blurred, scaled and kept off the walls, on both its edges; pooled, so are gaze and mask."""
    given = maps()
    for how in ("blur", "pool"):
        heatmap = HeatmapConfig(match=how, cells=4, normalise="max", margin=0.1)
        weights = {"heatmap_gaze": 1.0, "mask_heatmap": 1.0, "mask_gaze": 1.0}
        terms = objective(logits(), LABELS, given, config(weights, heatmap=heatmap))
        H, G = match(given.heatmap, given.gaze, given.sigma, heatmap)
        M = given.mask.sigmoid()
        torch.testing.assert_close(terms["mask_gaze"], distances.mse(M, given.gaze).mean())
        if how == "pool":
            M = M.view(4, 1, 4, 3, 4, 3).mean((3, 5))
        torch.testing.assert_close(terms["heatmap_gaze"], distances.mse(H, G).mean())
        torch.testing.assert_close(terms["mask_heatmap"], distances.mse(M, H).mean())


def test_a_pyramid_is_the_mean_over_its_scales_on_the_heatmaps_edges_alone() -> None:
    weights = {"mask_gaze": 1.0, "heatmap_gaze": 1.0, "mask_heatmap": 1.0}
    found, one, coarse = (
        objective(logits(), LABELS, maps(), config(weights, heatmap=heatmap))
        for heatmap in (dataclasses.replace(NOTHING_BUT, scales=scales) for scales in ((1, 3), (1,), (3,)))
    )
    for name in ("heatmap_gaze", "mask_heatmap"):
        torch.testing.assert_close(found[name], (one[name] + coarse[name]) / 2)
        assert coarse[name] < one[name] / 2
    torch.testing.assert_close(found["mask_gaze"], one["mask_gaze"])


@pytest.mark.parametrize("name", ["mask_gaze", "heatmap_gaze"])
@pytest.mark.parametrize("distance", tuple(distances.REGISTRY))
def test_a_case_without_gaze_adds_nothing(name: str, distance: str) -> None:
    asked = config({name: 1.0}, distance=distance)
    some = learning(maps((True, False, True, False)))
    some.gaze[1], some.gaze[3] = 0.0, torch.nan
    terms = objective(logits(), LABELS, some, asked)
    seen = [0, 2]
    rows = {kind: getattr(maps(), kind)[seen] for kind in ("gaze", "has_gaze", "sigma", "mask", "heatmap")}
    alone = objective(logits()[seen], LABELS[seen], Maps(**rows), asked)
    torch.testing.assert_close(terms[name], alone[name])
    torch.testing.assert_close(
        terms["classification"], classification(logits(), LABELS, "softmax"), rtol=0, atol=0
    )
    torch.autograd.backward(terms["loss"])
    gradient = some.mask.grad if name == "mask_gaze" else some.heatmap.grad
    assert gradient is not None
    assert not gradient[[1, 3]].any()
    assert gradient.isfinite().all()
    assert all(gradient[i].any() for i in seen)


@pytest.mark.parametrize("name", ["mask_gaze", "heatmap_gaze"])
def test_a_distance_undefined_without_gaze_leaves_no_nan_in_loss_or_gradient(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undefined(p: Tensor, q: Tensor) -> Tensor:
        """0/0 for an empty q, in value and in gradient."""
        return (p * q).sum((1, 2, 3)) / q.sum((1, 2, 3)) + ((p * q).sum((1, 2, 3)) / q.amax((1, 2, 3))).sqrt()

    monkeypatch.setitem(distances.REGISTRY, "undefined", distances.Distance("undefined", undefined))
    for has_gaze in ((True, False, True, False), (False,) * 4):
        given = learning(maps(has_gaze))
        given.gaze[~given.has_gaze] = 0
        terms = objective(logits(), LABELS, given, config({name: 1.0}, distance="undefined"))
        torch.autograd.backward(terms["loss"])
        gradient = given.mask.grad if name == "mask_gaze" else given.heatmap.grad
        assert gradient is not None
        assert terms["loss"].isfinite()
        assert gradient.isfinite().all()
        for case, seen in enumerate(has_gaze):
            assert bool(gradient[case].any()) == seen


def test_a_batch_that_nobody_looked_at_learns_its_classes() -> None:
    given, scores = learning(maps((False,) * 4)), logits().requires_grad_()
    terms = objective(scores, LABELS, given, config({"mask_gaze": 0.5, "heatmap_gaze": 0.5}, gamma=0.4))
    assert terms["mask_gaze"] == 0
    assert terms["heatmap_gaze"] == 0
    assert float(terms["loss"].detach()) == pytest.approx(0.4 * softmax_by_hand())
    torch.autograd.backward(terms["loss"])
    assert given.mask.grad is not None
    assert not given.mask.grad.any()
    assert given.heatmap.grad is not None
    assert not given.heatmap.grad.any()
    assert scores.grad is not None
    assert scores.grad.any()


def test_edge_between_mask_and_heatmap_needs_no_gaze() -> None:
    asked = config({"mask_heatmap": 1.0})
    with_gaze, without = (objective(logits(), LABELS, maps((seen,) * 4), asked) for seen in (True, False))
    assert torch.equal(with_gaze["mask_heatmap"], without["mask_heatmap"])
    assert float(with_gaze["mask_heatmap"]) > 0


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("mask_gaze", "mask"),
        ("heatmap_gaze", "heatmap"),
        ("mask_heatmap", "mask"),
        ("mask_heatmap", "heatmap"),
    ],
)
def test_an_edge_without_its_map_is_an_error_that_names_it(name: str, missing: str) -> None:
    lacking = maps().without(missing)
    with pytest.raises(ValueError, match=f"the term {name}: the {missing} is missing"):
        objective(logits(), LABELS, lacking, config({name: 1.0}))
    others = {other: 1.0 for other in EDGES if missing not in other}
    objective(logits(), LABELS, lacking, config(others))  # which the others do not mind


def test_softmax_and_sigmoid_are_scikit_learns_log_losses() -> None:
    p = special.expit(logits().double().numpy())
    per_class = [metrics.log_loss(LABELS[:, c], p[:, c], labels=[0, 1]) for c in range(3)]
    assert float(classification(logits(), LABELS, "softmax")) == pytest.approx(softmax_by_hand())
    assert float(classification(logits(), LABELS, "sigmoid")) == pytest.approx(np.mean(per_class))
    for kind in ("softmax", "sigmoid"):
        terms = objective(logits(), LABELS, maps(), dataclasses.replace(config(), classification=kind))
        assert terms["loss"] == classification(logits(), LABELS, kind)


def test_sigmoid_takes_several_findings_and_none() -> None:
    labels = torch.tensor([[1.0, 1, 0], [0, 0, 0]])
    p = special.expit(logits()[:2].double().numpy())
    expected = metrics.log_loss(labels.flatten(), p.ravel())
    assert float(classification(logits()[:2], labels, "sigmoid")) == pytest.approx(expected)


def test_probabilities_go_with_the_loss() -> None:
    softmax, sigmoid = (probabilities(logits(), kind) for kind in ("softmax", "sigmoid"))
    np.testing.assert_allclose(softmax.numpy(), special.softmax(logits().numpy(), 1), rtol=1e-5)
    np.testing.assert_allclose(sigmoid.numpy(), special.expit(logits().numpy()), rtol=1e-5)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("how", ["none", "blur", "pool"])
def test_half_precision_inputs_are_compared_in_full(
    how: Literal["none", "blur", "pool"], dtype: torch.dtype, autocast: bool
) -> None:
    heatmap = HeatmapConfig(match=how, cells=4)
    full = maps()
    half = dataclasses.replace(full, mask=full.mask.to(dtype), heatmap=full.heatmap.to(dtype))
    same = dataclasses.replace(full, mask=half.mask.float(), heatmap=half.heatmap.float())
    for distance in distances.REGISTRY:
        for kind in ("softmax", "sigmoid"):
            asked = config(dict.fromkeys(EDGES, 0.3), distance=distance, heatmap=heatmap)
            asked = dataclasses.replace(asked, classification=kind)
            expected = objective(logits().to(dtype).float(), LABELS, same, asked)
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                found = objective(logits().to(dtype), LABELS, half, asked)
            for name, term in found.items():
                assert term.dtype == torch.float32
                torch.testing.assert_close(term, expected[name])


def test_active_edges_are_those_with_weight() -> None:
    assert config().edges == {}
    asked = config({"mask_heatmap": 0.1, "mask_gaze": 2.0}, distance="kl")
    assert asked.edges == {"mask_gaze": EdgeConfig(2.0, "kl"), "mask_heatmap": EdgeConfig(0.1, "kl")}


@pytest.mark.parametrize("protocol", ["honest", "faithful"])
def test_experiments_are_the_designs_table(protocol: str) -> None:
    def weights(name: str) -> dict[str, float]:
        objective_ = settings.resolve(name, protocol=protocol).objective
        return {edge: found.weight for edge, found in objective_.edges.items()}

    assert set(experiments.names()) >= {"no_decoder", "baseline", "set3_guided"}
    assert weights("no_decoder") == {}
    assert weights("baseline") == {"mask_gaze": 1}
    guided = weights("set3_guided")
    assert guided.keys() == {"mask_gaze", "heatmap_gaze"}
    assert 0 < guided["mask_gaze"] < 1
    assert guided["heatmap_gaze"] == pytest.approx(1 - guided["mask_gaze"])
    assert settings.resolve("set3_guided").objective.heatmap.generator == "guided_backprop"


def test_only_the_experiments_without_edges_have_no_decoder() -> None:
    """Comparison methods that need no mask have none."""
    for name in experiments.names():
        resolved = settings.resolve(name)
        if experiments.describe(name).family == experiments.COMPARISON:
            assert resolved.model.has_mask or not compares(resolved.objective, "mask")
        else:
            assert resolved.model.has_mask == bool(resolved.objective.edges)


@pytest.mark.parametrize("name", ["no_decoder", "baseline", "set3_guided"])
def test_faithful_experiments_take_the_papers_gamma_and_sigmoid(name: str) -> None:
    faithful = settings.resolve(name, protocol="faithful").objective
    assert faithful.gamma == 0.41731
    assert faithful.classification == "sigmoid"
    assert settings.resolve(name).objective.classification == "auto"


def learning(given: AllMaps) -> AllMaps:
    """The maps as leaves that gradients end in; the gaze may be written to."""
    mask, heatmap = (kept.clone().requires_grad_() for kept in (given.mask, given.heatmap))
    return dataclasses.replace(given, mask=mask, heatmap=heatmap)
