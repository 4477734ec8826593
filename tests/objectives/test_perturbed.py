"""Terms on perturbed images: their formulas, their gradients, and the mistakes of published code."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special, stats
from torch import Tensor, nn

from radgaze import attribution
from radgaze.models.output import Output
from radgaze.objectives.config import HeatmapConfig, Map, ObjectiveConfig, TermConfig
from radgaze.objectives.heatmaps import Targets
from radgaze.objectives.perturbations import Fill
from radgaze.objectives.step import ForwardPass, Maps, MissingError, Outputs, Step
from radgaze.objectives.terms.perturbed import Perturbation, Perturbed
from radgaze.objectives.triangle import Shares, terms
from radgaze.options import FieldError
from tests.attribution.finite_differences import HeldStatistics, assert_matches, still
from tests.attribution.networks import Inverted, randomised

LABELS = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
CLASSES = LABELS.argmax(1)
Kind = Literal["softmax", "sigmoid"]


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


IMAGES = drawn(0, 3, 1, 16, 16)


def fixed(
    outputs: Outputs, after: Callable[[Tensor], Outputs], kind: Kind = "softmax", labels: Tensor = LABELS
) -> Step:
    """A step of given outputs, with the maps of three cases."""
    forward = ForwardPass(IMAGES, outputs, lambda target: CLASSES, after)
    maps = Maps(
        drawn(1, 3, 1, 16, 16),
        torch.tensor([True, False, True]),
        torch.ones(3, 2),
        heatmap=drawn(2, 3, 1, 8, 8),
    )
    return Step(maps, labels, ObjectiveConfig(classification=kind), forward)


def scored(scores: Tensor) -> Callable[[Tensor], Outputs]:
    return lambda images: Outputs(scores)


BEFORE, AFTER = drawn(3, 3, 3) * 4 - 2, drawn(4, 3, 3) * 4 - 2


def test_the_probability_is_that_of_the_explained_class_and_not_the_highest() -> None:
    """A published version of GAIN minimises the highest probability, whatever class it is of."""
    assert (AFTER.argmax(1) != CLASSES).any()
    probability = Perturbed(compare="probability")
    p = special.softmax(AFTER.numpy(), 1)[np.arange(3), CLASSES]
    np.testing.assert_allclose(probability.values(fixed(Outputs(BEFORE), scored(AFTER))), p)
    p = special.expit(AFTER.numpy())[np.arange(3), CLASSES]
    np.testing.assert_allclose(probability.values(fixed(Outputs(BEFORE), scored(AFTER), "sigmoid")), p)


def test_the_divergence_is_scipys_of_probabilities_on_the_image_from_those_on_the_perturbed_one() -> None:
    """A published version of saliency-guided training gives probabilities where their logarithms belong."""
    divergence = Perturbed(compare="divergence")
    found = divergence.values(fixed(Outputs(BEFORE), scored(AFTER)))
    p, q = special.softmax(BEFORE.numpy(), 1), special.softmax(AFTER.numpy(), 1)
    np.testing.assert_allclose(found, stats.entropy(p, q, axis=1))
    found = divergence.values(fixed(Outputs(BEFORE), scored(AFTER), "sigmoid"))
    p, q = (
        np.stack([1 - each, each]) for each in (special.expit(BEFORE.numpy()), special.expit(AFTER.numpy()))
    )
    np.testing.assert_allclose(found, stats.entropy(p, q, axis=0).mean(1))
    assert not divergence.values(fixed(Outputs(BEFORE), scored(BEFORE))).any()


def test_both_sides_of_the_divergence_learn() -> None:
    before, after = BEFORE.clone().requires_grad_(), AFTER.clone().requires_grad_()
    values = Perturbed(compare="divergence").values(fixed(Outputs(before), scored(after)))
    for gradient in torch.autograd.grad(values.sum(), (before, after)):
        assert gradient.abs().amax(1).min() > 1e-3


def test_the_classification_is_the_loss_of_the_labels() -> None:
    found = Perturbed(compare="classification").values(fixed(Outputs(BEFORE), scored(AFTER)))
    np.testing.assert_allclose(found, -special.log_softmax(AFTER.numpy(), 1)[np.arange(3), CLASSES])
    several = torch.tensor([[1.0, 1, 0], [0, 0, 0], [0, 1, 1]])
    found = Perturbed(compare="classification").values(
        fixed(Outputs(BEFORE), scored(AFTER), "sigmoid", several)
    )
    p, y = special.expit(AFTER.numpy()), several.numpy()
    np.testing.assert_allclose(found, -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(1))


def test_the_features_distance_is_that_of_the_pooled_features_and_differentiable_where_they_agree() -> None:
    a, b = drawn(5, 3, 6, 2, 2), drawn(6, 3, 6, 2, 2)
    found = Perturbed(compare="features").values(
        fixed(Outputs(BEFORE, None, a), lambda x: Outputs(AFTER, None, b))
    )
    expected = np.linalg.norm(a.numpy().mean((2, 3)) - b.numpy().mean((2, 3)), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    a.requires_grad_()
    same = Perturbed(compare="features").values(
        fixed(Outputs(BEFORE, None, a), lambda x: Outputs(AFTER, None, a))
    )
    (gradient,) = torch.autograd.grad(same.sum(), a)
    assert gradient.isfinite().all()
    with pytest.raises(MissingError, match="no encoder of stages"):
        Perturbed(compare="features").values(fixed(Outputs(BEFORE), scored(AFTER)))


def seen(term: Perturbed) -> list[Tensor]:
    """The images that the network runs on again."""
    images: list[Tensor] = []

    def after(perturbed: Tensor) -> Outputs:
        images.append(perturbed)
        return Outputs(AFTER)

    term.values(
        fixed(Outputs(BEFORE), after).for_cases_with(["gaze"])
        if term.by == Map.GAZE
        else fixed(Outputs(BEFORE), after)
    )
    return images


@pytest.mark.parametrize("perturbation", ["erase", "keep", "erase_lowest", "erase_highest"])
def test_the_image_is_erased_where_the_perturbation_says(perturbation: Perturbation) -> None:
    (found,) = seen(Perturbed(perturbation=perturbation, steepness=8.0, threshold=0.4, share=0.25))
    A = drawn(2, 3, 1, 8, 8)
    if perturbation in ("erase", "keep"):
        mask = torch.sigmoid(8 * (A / A.amax((1, 2, 3), keepdim=True) - 0.4))
        mask = 1 - mask if perturbation == "keep" else mask
    else:
        edge = A.flatten(1).quantile(0.25 if perturbation == "erase_lowest" else 0.75, dim=1).view(3, 1, 1, 1)
        mask = (edge >= A if perturbation == "erase_lowest" else edge <= A).double()
    mask = F.interpolate(mask, (16, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, (1 - mask) * IMAGES)


def test_a_hard_mask_is_a_threshold_of_the_map() -> None:
    (found,) = seen(Perturbed(by="gaze", perturbation="keep", hard=True, threshold=0.3))
    gaze = drawn(1, 3, 1, 16, 16)
    kept = gaze >= 0.3 * gaze.amax((1, 2, 3), keepdim=True)
    torch.testing.assert_close(found[[0, 2]], torch.where(kept, IMAGES, 0)[[0, 2]])


@pytest.mark.parametrize("by", ["gaze", "boxes"])
def test_a_case_without_gaze_or_boxes_is_not_perturbed_by_them(by: str) -> None:
    for perturbation in ("erase", "keep", "erase_lowest", "erase_highest"):
        (found,) = seen(Perturbed(by=by, perturbation=perturbation))
        assert torch.equal(found[1], IMAGES[1])
        assert not torch.equal(found[0], IMAGES[0])
    (found,) = seen(Perturbed(by="gaze", perturbation="zoom", enlarged=1.0))
    torch.testing.assert_close(found[1], F.interpolate(IMAGES[1:2], (32, 32), mode="bilinear")[0])


def test_windows_of_each_size_count_alike() -> None:
    scores = iter([AFTER, BEFORE])
    term = Perturbed(by="heatmap", perturbation="zoom", sides=(0.75, 0.25), compare="classification")
    found = term.values(fixed(Outputs(BEFORE), lambda images: Outputs(next(scores))))
    losses = [-special.log_softmax(each.numpy(), 1)[np.arange(3), CLASSES] for each in (AFTER, BEFORE)]
    np.testing.assert_allclose(found, np.mean(losses, 0))
    assert [tuple(each.shape) for each in seen(term)] == [(3, 1, 32, 32)] * 2  # a multiple of 32
    several = seen(replace(term, counts=(1, 3)))
    assert len(several) == 4
    assert not torch.equal(several[1], several[2])
    with pytest.raises(FieldError, match="2 values"):
        Perturbed(by="gaze", perturbation="zoom", sides=(0.75, 0.25), counts=(1,))


def network(*, training: bool) -> nn.Module:
    torch.manual_seed(0)
    return still(randomised(Inverted(channels=1), seed=9)).train(training)  # no map of zeros


def grad_cam_step(
    model: nn.Module,
    generator: attribution.Generator,
    within: AbstractContextManager[object] = nullcontext(),  # noqa: B008 - has no state
) -> Step:
    """The step of a network with the heatmap of its labels."""
    with generator.capture(model) as read:
        with within:
            logits = model(IMAGES)
        heat = read(logits, CLASSES)
    forward = ForwardPass(
        IMAGES, Outputs(logits), lambda target: CLASSES, lambda images: Outputs(model(images))
    )
    maps = Maps(drawn(1, 3, 1, 16, 16), torch.ones(3, dtype=torch.bool), torch.ones(3, 2), heatmap=heat)
    return Step(maps, LABELS, ObjectiveConfig(classification="softmax"), forward)


def entered(model: nn.Module) -> tuple[Tensor, Tensor]:
    """The logits and the last features of the images, with plain functions of torch."""
    part = model.get_submodule
    x = F.silu(part("norm")(part("stem")(IMAGES)))
    features = F.silu(part("last_norm")(part("widen")(part("second")(part("first")(x)))))
    logits: Tensor = part("head")(features.mean((2, 3)))
    return logits, features


def alpha_of(logits: Tensor, features: Tensor) -> Tensor:
    """Grad-CAM's weights of the channels."""
    score = logits.gather(1, CLASSES[:, None]).sum()
    return torch.autograd.grad(score, features, retain_graph=True)[0].mean((2, 3), keepdim=True)


def cam_of(alpha: Tensor, features: Tensor) -> Tensor:
    heat = (alpha * features).sum(1, keepdim=True).clamp(min=0)
    return F.interpolate(heat, (16, 16), mode="bilinear", align_corners=False)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["grad_cam", "grad_cam, held", "backprop"])
@pytest.mark.parametrize("compare", ["probability", "divergence", "classification"])
def test_the_gradient_through_the_mask_into_the_parameters_is_that_of_finite_differences(
    compare: Literal["probability", "divergence", "classification"], name: str, training: bool
) -> None:
    """Through T(A) of a network of SiLU and batch norm, and through both of its passes.

    Held are the scale of the map and, where the paper holds them (Li et al. 2018, section 3.1), the channels'
    weights: the differences are those of a network with these numbers of its first pass.
    """
    model = network(training=training)
    options = {"channel_weights": "held"} if "held" in name else {}
    generator = attribution.create(name.split(",")[0], model, normalise="none", **options)
    oracle = HeldStatistics() if training and name == "backprop" else nullcontext()
    term = Perturbed(compare=compare, steepness=5.0, threshold=0.4)
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    value = (weights * term.values(grad_cam_step(model, generator))).sum()
    constants: dict[str, Tensor] = {}

    def by_hand() -> Tensor:
        logits, features = entered(model)
        if "held" in name:
            alpha = constants.setdefault("alpha", alpha_of(logits, features))
            heat = cam_of(alpha, features)
        else:
            heat = grad_cam_step(model, generator, oracle).raw("heatmap")
        scale = constants.setdefault("scale", heat.detach().amax((1, 2, 3), keepdim=True))
        T = torch.sigmoid(5.0 * (heat / scale - 0.4))
        p, q = logits.log_softmax(1), model((1 - T) * IMAGES).log_softmax(1)
        losses: dict[str, Tensor] = {
            "probability": q.exp().gather(1, CLASSES[:, None])[:, 0],
            "divergence": (p.exp() * (p - q)).sum(1),
            "classification": -q.gather(1, CLASSES[:, None])[:, 0],
        }
        return (weights * losses[compare]).sum()

    torch.testing.assert_close(by_hand(), value, rtol=1e-9, atol=1e-12)
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(value, list(parameters.values()))
    for (label, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        assert_matches(by_hand, parameter, gradient, label)


def test_held_channel_weights_are_those_of_the_scores_and_carry_no_label_or_logit() -> None:
    """A published version of GAIN passes label · logit back, so that its weights are multiplied by logits."""
    model = network(training=False)
    logits, features = entered(model)
    heat = cam_of(alpha_of(logits, features), features)
    for channel_weights in ("held", "exact"):
        generator = attribution.create("grad_cam", model, normalise="none", channel_weights=channel_weights)
        torch.testing.assert_close(grad_cam_step(model, generator).raw("heatmap"), heat)


def explained(cases: slice, target: str) -> Tensor:
    return CLASSES[cases]


def test_each_case_counts_as_if_it_were_alone() -> None:
    """Published versions of GAIN scale the maps by the minimum and maximum of the batch."""
    model = network(training=False)
    generator = attribution.create("grad_cam", model, normalise="none", channel_weights="held")
    term = Perturbed()
    whole = term.values(grad_cam_step(model, generator))
    for case in range(3):
        only = slice(case, case + 1)
        with generator.capture(model) as read:
            logits = model(IMAGES[only])
            heat = read(logits, CLASSES[only])
        forward = ForwardPass(
            IMAGES[only],
            Outputs(logits),
            partial(explained, only),
            lambda x: Outputs(model(x)),
        )
        maps = Maps(drawn(1, 1, 1, 16, 16), torch.ones(1, dtype=torch.bool), torch.ones(1, 2), heatmap=heat)
        alone = term.values(Step(maps, LABELS[only], ObjectiveConfig(classification="softmax"), forward))
        torch.testing.assert_close(whole[only], alone)


def test_only_cases_with_gaze_count_where_gaze_perturbs() -> None:
    term = TermConfig(1.0, "perturbed", options={"by": "gaze", "compare": "classification"})
    config = ObjectiveConfig(classification="softmax", terms={"x": term})
    step = fixed(Outputs(BEFORE), scored(AFTER))
    found = terms(BEFORE, LABELS, step.maps, config, Shares(), forward=step.forward)["x"]
    losses = -special.log_softmax(AFTER.numpy(), 1)[np.arange(3), CLASSES]
    assert float(found) == pytest.approx(losses[[0, 2]].mean())


def test_a_target_of_all_classes_or_of_the_runner_up_is_the_class_that_is_to_be_improbable() -> None:
    scores = torch.tensor([[2.0, 1, 0], [0, 2, 1], [1, 0, 2]])
    targets = Targets(Output(scores, None), LABELS, "softmax")
    heatmaps = (HeatmapConfig(target="true"), HeatmapConfig(target="all"), HeatmapConfig(target="runner_up"))
    for heatmap, expected in zip(heatmaps, ([1, 0, 2], [1, 0, 2], [0, 1, 0]), strict=True):
        config = ObjectiveConfig(classification="softmax", heatmap=heatmap)
        forward = ForwardPass(IMAGES, Outputs(scores), targets.classes, scored(AFTER))
        step = Step(fixed(Outputs(scores), scored(AFTER)).maps, LABELS, config, forward)
        p = special.softmax(AFTER.numpy(), 1)[np.arange(3), expected]
        np.testing.assert_allclose(Perturbed().values(step), p)


def test_a_logit_could_fall_without_end_and_a_probability_cannot() -> None:
    low = torch.full((3, 3), -1e4, dtype=torch.float64)
    for kind in ("softmax", "sigmoid"):
        values = Perturbed().values(fixed(Outputs(BEFORE), scored(low), kind))
        assert all(0 <= float(value) <= 1 and math.isfinite(value) for value in values)


PATIENTS, DRAWS = torch.tensor([5, 6, 7]), torch.tensor([11, 2**40 + 3, 2**61 + 17])


def exchange_step(model: nn.Module, *, has_gaze: tuple[bool, ...] = (True, True, True)) -> Step:
    """A step of a network whose cases can exchange pixels."""
    logits = model(IMAGES)
    forward = ForwardPass(
        IMAGES, Outputs(logits), lambda target: CLASSES, lambda x: Outputs(model(x)), PATIENTS, DRAWS
    )
    maps = Maps(drawn(1, 3, 1, 16, 16), torch.tensor(has_gaze), torch.ones(3, 2))
    return Step(maps, LABELS, ObjectiveConfig(classification="softmax"), forward).for_cases_with(("gaze",))


def twins(step: Step, term: Perturbed) -> Tensor:
    """The images on which the term runs the network."""
    seen_images: list[Tensor] = []

    def after(images: Tensor) -> Outputs:
        seen_images.append(images)
        return Outputs(AFTER)

    term.values(replace(step, forward=replace(step.run, again=after)))
    return seen_images[0]


EXCHANGED = Perturbed(by="gaze", perturbation="exchange", threshold=0.6, compare="divergence")


def test_the_exchanged_twin_keeps_both_regions_and_takes_the_rest_of_one_other_case() -> None:
    step = exchange_step(network(training=False))
    found = twins(step, EXCHANGED)
    gaze = drawn(1, 3, 1, 16, 16)
    inside = gaze >= 0.6 * gaze.amax((1, 2, 3), keepdim=True)
    for case in range(3):
        fits = [
            torch.equal(found[case], torch.where(inside[case] | inside[other], IMAGES[case], IMAGES[other]))
            for other in range(3)
            if other != case
        ]
        assert sum(fits) == 1


def test_the_consistency_of_image_and_twin_is_scipys_divergence_and_0_without_a_twin() -> None:
    model = network(training=False)
    step = exchange_step(model)
    p, q = (special.softmax(model(each).detach().numpy(), 1) for each in (IMAGES, twins(step, EXCHANGED)))
    values = EXCHANGED.values(step)
    np.testing.assert_allclose(values.detach(), stats.entropy(p, q, axis=1))
    assert values.min() > 0
    alone = exchange_step(model, has_gaze=(False, True, False))  # its partner would need a region
    assert not EXCHANGED.values(alone).any()
    with pytest.raises(MissingError, match="patients and draws"):
        EXCHANGED.values(fixed(Outputs(BEFORE), scored(AFTER)))


@pytest.mark.parametrize("training", [False, True])
def test_the_gradient_of_the_consistency_into_the_parameters_is_that_of_finite_differences(
    training: bool,
) -> None:
    """Both passes learn, through SiLU and batch norm."""
    model = network(training=training)
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    value = (weights * EXCHANGED.values(exchange_step(model))).sum()
    images = twins(exchange_step(model), EXCHANGED)

    def by_hand() -> Tensor:
        p, q = model(IMAGES).log_softmax(1), model(images).log_softmax(1)
        total: Tensor = (weights * (p.exp() * (p - q)).sum(1)).sum()
        return total

    torch.testing.assert_close(by_hand(), value, rtol=1e-9, atol=1e-12)
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(value, list(parameters.values()))
    assert sum(float(each.abs().sum()) for each in gradients) > 1e-3
    for (label, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        assert_matches(by_hand, parameter, gradient, label)


@pytest.mark.parametrize("fill", ["uniform", "shuffle"])
def test_random_fillings_follow_from_the_keys_of_the_cases(fill: Fill) -> None:
    term = Perturbed(perturbation="erase_lowest", by="heatmap", fill=fill, compare="probability")
    step = fixed(Outputs(BEFORE), scored(AFTER))

    def filled(keys: list[int]) -> Tensor:
        keyed = replace(step, forward=replace(step.run, draw=torch.tensor(keys)))
        return term.masked(keyed, IMAGES, step.raw("heatmap"))

    first = filled([11, 12, 13])
    assert torch.equal(first, filled([11, 12, 13]))
    other = filled([11, 99, 13])
    assert torch.equal(other[[0, 2]], first[[0, 2]])
    assert not torch.equal(other[1], first[1])
