"""The network of image and gaze sequence: the published one to the parameter, and what masking changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from captum.attr import GuidedBackprop
from torch import Tensor, nn

from radgaze import attribution, models
from radgaze.errors import UserError
from radgaze.models import ModelConfig, create
from radgaze.models.temporal import GazeBranch, Temporal, XRayNet, attention

SIZE = 32
COUNTS = (4, 1, 0, 2)
THERE = torch.arange(5) < torch.tensor(COUNTS)[:, None]  # the last frame belongs to no case

Form = Literal["honest", "faithful"]
FORMS: tuple[Form, ...] = ("honest", "faithful")


@pytest.fixture(autouse=True)
def _same_numbers() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def network(form: Form = "honest", *, size: int = SIZE, trained: bool = True, **options: Any) -> Temporal:
    """A network in evaluation mode; `trained` gives its batch norms statistics and scales that matter."""
    model = create(ModelConfig("temporal", form=form, **options), 3, size)
    for module in model.modules():
        if trained and isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                assert tensor is not None
                tensor.copy_(torch.rand_like(tensor) + 0.5)
    assert isinstance(model, Temporal)
    return model.eval()


def batch() -> tuple[Tensor, Tensor]:
    """Images and frames; what padded frames hold is noise."""
    return torch.rand(4, 1, SIZE, SIZE), torch.rand(4, 5, SIZE, SIZE)


@pytest.mark.parametrize(
    ("architecture", "parameters"), [("temporal", 51_491_779), ("temporal_image_only", 25_708_483)]
)
@pytest.mark.parametrize("form", FORMS)
def test_it_has_as_many_parameters_as_was_published(architecture: str, parameters: int, form: Form) -> None:
    with torch.device("meta"):
        model = create(ModelConfig(architecture, form=form), 3, 224)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("size", [32, 64, 96, 224])
def test_the_flattened_width_follows_the_images_side(size: int) -> None:
    with torch.device("meta"):
        found = XRayNet(ModelConfig("temporal"), size)
        written_out = written(found)
        assert found(torch.rand(2, 3, size, size)).shape == (2, 64)
        assert written_out(torch.rand(2, 3, size, size)).shape == (2, 64)
    assert found.hidden.in_features == 64 * (size // 4) ** 2


@pytest.mark.parametrize("training", [False, True])
def test_the_image_branch_is_the_published_order_of_layers(training: bool) -> None:
    found = network(dropout=0.0).image.train(training)
    same = written(found).train(training)
    x = torch.rand(6, 3, SIZE, SIZE)
    torch.testing.assert_close(found(x), same(x))
    for ours, theirs in zip(found.buffers(), same.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("form", "momentum"), [("honest", 0.1), ("faithful", 0.01)])
def test_only_the_faithful_form_has_the_published_momentum(form: Form, momentum: float) -> None:
    found = network(form).gaze.frame
    assert (found.norm.momentum, found.hidden_norm.momentum) == (0.1, momentum)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_a_loop(masked: bool) -> None:
    query, values = torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 5, 6, dtype=torch.float64)
    found = attention(query, values, 0.3, THERE if masked else None)
    for b in range(4):
        seen = [t for t in range(5) if THERE[b, t] or not masked]
        weights = [float(torch.exp(0.3 * (query[b] @ values[b, t]))) for t in seen]
        expected = torch.zeros(6, dtype=torch.float64)
        for weight, t in zip(weights, seen, strict=True):
            expected += weight / sum(weights) * values[b, t]
        torch.testing.assert_close(found[b], expected)


def test_the_honest_form_reads_each_case_as_if_it_were_alone() -> None:
    """Against the branch written out for one case without padding."""
    model = network()
    images, frames = batch()
    together = model(images, frames, THERE).logits
    branch = model.gaze
    for b, count in enumerate(COUNTS):
        if not count:
            continue
        embedded = branch.frame(model.grey(frames[b, :count, None]))
        outputs, _ = branch.lstm(embedded[None])
        query = torch.cat([outputs[0, -1, :64], outputs[0, 0, 64:]])
        weights = torch.softmax(outputs[0] @ query / 128**0.5, 0)
        gaze = branch.out(weights @ outputs[0])
        image = model.image(model.grey(images[b : b + 1]))[0]
        torch.testing.assert_close(together[b], model.classifier(torch.cat([image, gaze])))


@pytest.mark.parametrize("training", [False, True])
def test_padded_frames_change_nothing_in_the_honest_form(training: bool) -> None:
    images, frames = batch()
    model = network().train(training)
    longer = torch.cat([frames, torch.full((4, 3, SIZE, SIZE), torch.nan)], 1)
    longer_there = torch.cat([THERE, torch.zeros(4, 3, dtype=torch.bool)], 1)
    found = []
    for f, there in ((frames[:, :4], THERE[:, :4]), (frames, THERE), (longer, longer_there)):
        torch.manual_seed(1)  # of the drop-out
        model.zero_grad()
        logits = model(images, f, there).logits
        logits.square().sum().backward()
        found.append((logits, {name: p.grad for name, p in model.named_parameters()}))
    for logits, gradients in found[1:]:
        torch.testing.assert_close(logits, found[0][0])
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, found[0][1][name], rtol=1e-4, atol=1e-5, msg=name)


def test_padded_frames_change_the_faithful_form_as_in_the_published_code() -> None:
    model = network("faithful")
    images, frames = batch()
    logits = model(images, frames, THERE).logits
    shorter = model(images, frames[:, :4], THERE[:, :4]).logits
    assert (logits - shorter).abs().min() > 1e-4
    torch.testing.assert_close(
        model(images, torch.where(THERE[..., None, None], frames, 9), THERE).logits, logits
    )

    branch = model.gaze
    rgb = torch.stack([model.grey(frames[:, t : t + 1]) for t in range(5)], 1)
    rgb[~THERE] = 0
    embedded = torch.stack([branch.frame(rgb[:, t]) for t in range(5)], 1)
    outputs, _ = branch.lstm(embedded)
    query = torch.cat([outputs[:, 0, 64:], outputs[:, -1, :64]], 1)  # backward first, unlike the keys
    weights = torch.softmax((outputs @ query[..., None])[..., 0] / 8, 1)
    gaze = branch.out((weights[..., None] * outputs).sum(1))
    both = torch.cat([model.image(model.grey(images)), gaze], 1)
    torch.testing.assert_close(logits, model.classifier(both))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("counts", [(3, 0, 0), (1, 0, 0), (0, 0, 0)])
def test_cases_without_gaze_have_finite_scores_and_every_parameter_a_finite_gradient(
    form: Form, training: bool, counts: tuple[int, ...]
) -> None:
    model = network(form).train(training)
    there = torch.arange(3) < torch.tensor(counts)[:, None]
    logits = model(torch.rand(3, 1, SIZE, SIZE), torch.rand(3, 3, SIZE, SIZE), there).logits
    assert logits.isfinite().all()
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(buffer.isfinite().all() for buffer in model.buffers())


def test_without_gaze_the_honest_gaze_branch_gives_its_bias() -> None:
    model = network()
    found = model.gaze(torch.rand(2, 3, SIZE, SIZE), torch.zeros(2, 3, dtype=torch.bool))
    torch.testing.assert_close(found, model.gaze.out.bias.expand(2, 64))


@pytest.mark.parametrize("cases", [0, 1])
def test_one_frame_alone_is_normalised_by_the_running_statistics(cases: int) -> None:
    found = network(dropout=0.0).image
    x, before = torch.rand(cases, 3, SIZE, SIZE), [buffer.clone() for buffer in found.buffers()]
    torch.testing.assert_close(found.train()(x), found.eval()(x))
    assert all(torch.equal(a, b) for a, b in zip(found.buffers(), before, strict=True))


@pytest.mark.parametrize("architecture", ["temporal", "temporal_image_only"])
def test_a_model_comes_back_with_its_size(architecture: str, tmp_path: Path) -> None:
    config = ModelConfig(architecture, form="faithful", frames="seconds", frame_seconds=0.5, most_frames=7)
    model = create(config, 2, 64).eval()
    models.save(model, config, ("a", "b"), tmp_path, size=64)
    found, classes = models.load(tmp_path)
    assert classes == ("a", "b")
    x = (torch.rand(2, 1, 64, 64), torch.rand(2, 3, 64, 64), torch.ones(2, 3, dtype=torch.bool))
    given = x if architecture == "temporal" else x[:1]
    assert torch.equal(found(*given).logits, model(*given).logits)
    assert getattr(found, "frames", None) == getattr(model, "frames", None)


def test_images_of_another_side_are_refused_with_both() -> None:
    with pytest.raises(ValueError, match=r"made for 32×32, but was given \(64, 64\)"):
        network()(torch.rand(1, 1, 64, 64), torch.rand(1, 1, 64, 64), torch.ones(1, 1, dtype=torch.bool))


@pytest.mark.parametrize(
    ("wrong", "said"), [({"frame_seconds": 0.0}, "frame_seconds"), ({"most_frames": 0}, "most_f")]
)
def test_settings_that_make_no_sense_are_told(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        network(**wrong)


def test_guided_back_propagation_to_the_image_equals_captums() -> None:
    model = network()
    images, frames = batch()
    heat = attribution.create("guided_backprop", model, normalise="none")
    found = heat(images, 1, also=(frames, THERE))
    theirs = OnImage(model, model.gaze(frames, THERE).detach())
    expected = GuidedBackprop(theirs).attribute(images.clone().requires_grad_(), target=1).abs()
    assert float(found.amax()) > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_a_case_has_its_heatmap_whatever_the_batch_and_its_parts() -> None:
    model = network()
    images, frames, there = torch.rand(11, 1, SIZE, SIZE), torch.rand(11, 3, SIZE, SIZE), torch.ones(11, 3)
    heat = attribution.create("guided_backprop", model)
    together = heat(images, also=(frames, there.bool()))
    for b in (0, 7, 8, 10):
        one = slice(b, b + 1)
        torch.testing.assert_close(heat(images[one], also=(frames[one], there[one].bool())), together[one])
    with pytest.raises(ValueError, match="batch holds 11 cases"):
        heat(images, also=(frames[:3], there.bool()))


@pytest.mark.parametrize("form", FORMS)
def test_grad_cam_is_made_of_the_images_feature_maps(form: Form) -> None:
    model = network(form)
    images, frames = batch()
    features = model.image.pool(model.image.norm(model.image.conv(model.grey(images)).relu())).detach()
    features.requires_grad_()
    hidden = model.image.hidden(features.flatten(1)).relu()
    embedded = model.image.embed(model.image.hidden_norm(hidden).relu())
    logits = model.classifier(torch.cat([embedded, model.gaze(frames, THERE)], 1))
    (gradient,) = torch.autograd.grad(logits[:, 2].sum(), features)
    cam = (gradient.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).clamp(min=0)
    expected = nn.functional.interpolate(cam, (SIZE, SIZE), mode="bilinear")
    found = attribution.create("grad_cam", model, normalise="none")(images, 2, also=(frames, THERE))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


def test_methods_of_attention_do_not_apply_and_deep_lift_does() -> None:
    model = network().requires_grad_(requires_grad=False)
    images, frames = batch()
    able = attribution.methods(model, SIZE)
    assert not {"attention", "attention_rollout", "relevance"} & {*able}
    assert {"deep_lift", "grad_cam", "guided_backprop"} <= {*able}
    maps = attribution.create("deep_lift", model)(images, 1, also=(frames, THERE))
    assert maps.isfinite().all()
    assert maps.amax() > 0


def test_without_frames_the_output_is_that_of_empty_readings() -> None:
    model = network()
    images, frames = batch()
    torch.testing.assert_close(model(images).logits, model(images, frames, torch.zeros_like(THERE)).logits)


def test_the_gaze_branchs_output_does_not_depend_on_the_image_nor_the_images_on_gaze() -> None:
    model = network()
    images, frames = batch()
    images.requires_grad_()
    score = GazeBranch.forward(model.gaze, frames, THERE).sum()
    assert not any(g is not None for g in torch.autograd.grad(score, [images], allow_unused=True))


class OnImage(nn.Module):
    """The network as a function of the image, with modules for activations, since Captum sees no others."""

    def __init__(self, model: Temporal, gaze: Tensor) -> None:
        super().__init__()
        self.grey, self.image, self.classifier = model.grey, written(model.image), model.classifier
        self.gaze = gaze
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(torch.cat([self.image(self.grey(images)), self.gaze], 1))
        return logits


def written(net: XRayNet) -> nn.Sequential:
    """The published order of layers, with the weights of ours."""
    hidden = net.hidden.in_features
    same = nn.Sequential(
        nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        nn.ReLU(),
        nn.BatchNorm2d(64),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Flatten(),
        nn.Linear(hidden, 128),
        nn.ReLU(),
        nn.BatchNorm1d(128, momentum=net.hidden_norm.momentum),
        nn.ReLU(),
        nn.Dropout(net.dropout.p),
        nn.Linear(128, 64),
    )
    with torch.no_grad():
        for ours, theirs in zip(net.state_dict().values(), same.state_dict().values(), strict=True):
            theirs.copy_(ours)
    return same
