"""Layers as steps: exact wherever they stand, and with what they are made of used elsewhere as well."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution
from tests.attribution.finite_differences import assert_heatmap_loss_is_exact, assert_matches, still
from tests.attribution.generator_contract import images_for
from tests.attribution.networks import Inverted, Parts, Residual, Small, gradients, randomised

TARGETS = torch.tensor([2, 0, 1, 1])
Body = Callable[[Parts, Tensor], Tensor]


class Odd(nn.Module):
    """Two convolutions and a norm, put together in an uncommon way."""

    def __init__(self, body: Body, *, norm: nn.Module | None = None, conv: nn.Module | None = None) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(
            {
                "stem": nn.Conv2d(1, 4, 3, padding=1),
                "conv": conv or nn.Conv2d(4, 4, 3, padding=1),
                "norm": norm or nn.BatchNorm2d(4),
                "last": nn.Conv2d(4, 4, 3, padding=1),
            }
        )
        self.body, self.head = body, nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.body(self.parts, F.silu(self.parts["stem"](images)))
        logits: Tensor = self.head(F.silu(self.parts["last"](F.silu(x))).mean((2, 3)))
        return logits


def reused(m: Parts, x: Tensor) -> Tensor:
    y = m["conv"](x)
    return m["norm"](y) + y


def reused_before(m: Parts, x: Tensor) -> Tensor:
    y = m["conv"](x)
    z = F.silu(y)
    return m["norm"](y) * z


def normed_twice(m: Parts, x: Tensor) -> Tensor:
    y = m["conv"](x)
    return m["norm"](y) + m["norm"](F.silu(y))


def changed_in_place(m: Parts, x: Tensor) -> Tensor:
    y = m["conv"](x)
    y += 0.3 * x
    return m["norm"](y)


def changed_in_place_afterwards(m: Parts, x: Tensor) -> Tensor:
    y = m["norm"](m["conv"](x))
    y += x
    return y


def clamped_in_place(m: Parts, x: Tensor) -> Tensor:
    return m["norm"](F.relu_(m["conv"](x)))


def between(m: Parts, x: Tensor) -> Tensor:
    y = m["conv"](x)
    x = m["stem"](x[:, :1])  # another convolution comes before the norm
    return m["norm"](y) + x


def conv_twice(m: Parts, x: Tensor) -> Tensor:
    return m["norm"](m["conv"](m["conv"](x)))


def norm_alone(m: Parts, x: Tensor) -> Tensor:
    return m["norm"](x) + m["conv"](x)


def dropped_out_between(m: Parts, x: Tensor) -> Tensor:
    return m["norm"](F.dropout(m["conv"](x), 0.0, training=True))


def viewed_between(m: Parts, x: Tensor) -> Tensor:
    y = m["conv"](x)
    return m["norm"](y.flip(1))


def concatenated(m: Parts, x: Tensor) -> Tensor:
    both = torch.cat([m["conv"](x), x, m["norm"](x)], 1)
    y, z = both.split((5, 7), 1)  # type: ignore[no-untyped-call]
    sliced: Tensor = y[:, :4] * 2 + z[:, 2:6]
    return sliced


def normed_then_conv(m: Parts, x: Tensor) -> Tensor:
    return m["conv"](F.silu(m["norm"](x)))


BODIES = {
    body.__name__: body
    for body in (
        reused,
        reused_before,
        normed_twice,
        changed_in_place,
        changed_in_place_afterwards,
        clamped_in_place,
        between,
        conv_twice,
        norm_alone,
        dropped_out_between,
        viewed_between,
        concatenated,
        normed_then_conv,
    )
}
NORMS: dict[str, Callable[[], nn.Module]] = {
    "without γ and β": lambda: nn.BatchNorm2d(4, affine=False),
    "without running statistics": lambda: nn.BatchNorm2d(4, track_running_stats=False),
    "with neither": lambda: nn.BatchNorm2d(4, affine=False, track_running_stats=False),
    "of large ε": lambda: nn.BatchNorm2d(4, eps=0.5),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "instance norm": lambda: nn.InstanceNorm2d(4, affine=True),
    "none": nn.Identity,
}
CONVS: dict[str, Callable[[], nn.Module]] = {
    "same": lambda: nn.Conv2d(4, 4, 3, padding="same"),
    "same, dilated": lambda: nn.Conv2d(4, 4, 3, padding="same", dilation=2),
    "valid": lambda: nn.Conv2d(4, 4, 3, padding="valid"),
    "reflected": lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    "circular": lambda: nn.Conv2d(4, 4, (3, 1), padding=(1, 0), padding_mode="circular"),
    "oblong": lambda: nn.Conv2d(4, 4, (1, 5), stride=(2, 1), padding=(0, 2), dilation=(1, 1)),
    "grouped": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 4, 5, padding=2, groups=4, bias=False),
    "depthwise, strided": lambda: nn.Conv2d(4, 4, 5, stride=2, padding=2, groups=4),
    "wide, depthwise": lambda: nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, groups=4), nn.Conv2d(8, 4, 3, groups=4)
    ),
    "stride over the edge": lambda: nn.Conv2d(4, 4, 2, stride=3),
    "transposed": lambda: nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1),
}


def conv_norm(m: Parts, x: Tensor) -> Tensor:
    return m["norm"](m["conv"](x))


def exact(model: nn.Module, *, training: bool, name: str = "guided_backprop") -> None:
    torch.manual_seed(0)
    model = still(randomised(model)).train(training)
    generator = attribution.create(name, model, normalise="none")
    assert_heatmap_loss_is_exact(generator, images_for(model, 3, size=(11, 10)), held=training)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("body", BODIES)
def test_gradients_are_exact_whatever_else_a_convolutions_output_goes_into(body: str, training: bool) -> None:
    exact(Odd(BODIES[body]), training=training)
    exact(Odd(BODIES[body]), training=training, name="backprop")


@pytest.mark.parametrize("body", BODIES)
def test_maps_are_torchs_own_gradient_whatever_else_a_convolutions_output_goes_into(body: str) -> None:
    model = randomised(Odd(BODIES[body])).eval()
    images = images_for(model, 4).requires_grad_()
    (g,) = torch.autograd.grad(model(images).gather(1, TARGETS[:, None]).sum(), images)
    found = attribution.create("backprop", model, normalise="none")(images.detach(), TARGETS)
    torch.testing.assert_close(found, g.abs())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_gradients_are_exact_for_any_norm(norm: str, training: bool) -> None:
    exact(Odd(conv_norm, norm=NORMS[norm]()), training=training)
    exact(Odd(norm_alone, norm=NORMS[norm]()), training=training)


@pytest.mark.parametrize("conv", CONVS)
def test_gradients_are_exact_for_any_convolution(conv: str) -> None:
    exact(Odd(conv_norm, conv=CONVS[conv]()), training=False)


@pytest.mark.parametrize("network", [Inverted, Residual], ids=["Inverted", "Residual"])
def test_momentum_and_counts_move_as_the_bare_model_moves_them(network: Callable[[], nn.Module]) -> None:
    model = randomised(network()).train()
    bare = copy.deepcopy(model)
    images = images_for(model, 4)
    generator = attribution.create("guided_backprop", model)
    for _ in range(3):
        bare(images)
        with generator.capture() as read:
            read(model(images), TARGETS)
    for ours, theirs in zip(model.buffers(), bare.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_held_statistics_are_those_of_the_pass_though_later_ones_move_them() -> None:
    """In evaluation mode: another step of training before the loss's backward changes the model's buffers."""
    model = randomised(Inverted()).eval()
    images = images_for(model, 4)

    def found(disturbed: bool) -> list[Tensor]:
        changed = copy.deepcopy(model)
        with attribution.create("guided_backprop", changed, normalise="none").capture() as read:
            output = changed(images)
            if disturbed:
                changed.train()
                with torch.no_grad():
                    changed(images + 1)
                changed.eval()
            heat = read(output, TARGETS)
        (heat.square().sum() + output.square().sum()).backward()
        return [heat.detach(), *gradients(changed).values()]

    torch.testing.assert_close(found(True), found(False))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels_last", [False, True])
def test_depthwise_weights_have_the_same_gradient_by_every_way_to_compute_it(
    dtype: torch.dtype, channels_last: bool
) -> None:
    """A copy with the channels last is quicker in float32; the oracle is torch's own backward in float64."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = randomised(Odd(conv_norm, conv=nn.Conv2d(4, 4, 5, padding=2, groups=4))).eval()
    images = images_for(model, 4)
    torch.autograd.backward(F.cross_entropy(model(images), TARGETS))
    expected = {key: gradient.to(dtype) for key, gradient in gradients(model).items()}
    model.zero_grad()
    model.to(dtype).to(memory_format=layout)
    with attribution.create("backprop", model).capture() as read:
        output = model(images.to(dtype, memory_format=layout))
        read(output, TARGETS)
    torch.autograd.backward(F.cross_entropy(output, TARGETS))
    torch.testing.assert_close(gradients(model), expected, rtol=1e-4, atol=1e-6)


# The images


@pytest.mark.parametrize("network", [Inverted, Residual, lambda: Odd(reused)])
@pytest.mark.parametrize("name", ["backprop", "guided_backprop", "input_x_gradient", "grad_cam"])
def test_images_that_require_it_get_the_exact_gradient(name: str, network: Callable[[], nn.Module]) -> None:
    """As for an adversarial image: of the classification and of the heatmap."""
    torch.manual_seed(0)
    model = randomised(network()).eval()
    images = images_for(model, 3, size=(12, 10)).requires_grad_()
    classes = TARGETS[:3]
    generator = attribution.create(name, model, normalise="none")
    size = generator(images.detach(), classes).max()

    def loss() -> Tensor:
        with generator.capture() as read:
            output = model(images)
            heat = read(output, classes) / size
        return F.cross_entropy(output, classes) + heat.square().sum()

    (gradient,) = torch.autograd.grad(loss(), images)
    for _ in range(3):
        assert_matches(loss, images, gradient)


def test_images_made_by_another_network_pass_the_gradient_on_to_it() -> None:
    torch.manual_seed(0)
    model, before = randomised(Small(nn.SiLU)).eval(), randomised(nn.Conv2d(1, 1, 3, padding=1))
    images = images_for(model, 3, size=(12, 10))
    generator = attribution.create("guided_backprop", model, normalise="none")

    def loss() -> Tensor:
        with generator.capture() as read:
            output = model(before(images))
            heat = read(output, TARGETS[:3])
        total: Tensor = output.square().sum() + heat.square().sum() * 100
        return total

    for parameter in before.parameters():
        (gradient,) = torch.autograd.grad(loss(), parameter)
        assert_matches(loss, parameter, gradient)


def test_images_that_do_not_require_it_get_none_and_stay_as_they_are() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images = images_for(model, 4)
    before = images.clone()
    with attribution.create("guided_backprop", model).capture() as read:
        output = model(images)
        heat = read(output, TARGETS)
    (output.sum() + heat.sum()).backward()
    assert not images.requires_grad
    assert images.grad is None
    assert torch.equal(images, before)


def test_images_changed_in_place_by_the_model_are_read_as_they_came() -> None:
    """A network's own normalisation, in place on a copy, stands between images and stem."""

    class Normalising(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = Small(nn.SiLU)

        def forward(self, images: Tensor) -> Tensor:
            x = images.clone()
            x.sub_(0.5).div_(0.2)
            logits: Tensor = self.network(x)
            return logits

    model = randomised(Normalising()).eval()
    images = images_for(model, 4)
    expected = attribution.create("backprop", model.network, normalise="none")((images - 0.5) / 0.2, TARGETS)
    found = attribution.create("backprop", model, normalise="none")(images, TARGETS)
    torch.testing.assert_close(found, expected / 0.2)


# Several readings


def test_readings_of_two_generators_are_independent() -> None:
    model = randomised(Inverted()).eval()
    images = images_for(model, 4)
    first, second = (
        attribution.create(name, model, normalise="none") for name in ("guided_backprop", "deconvnet")
    )
    alone = [step([generator], model, images) for generator in (first, second)]
    heats, gradients = step([first, second], model, images)
    torch.testing.assert_close(heats, [alone[0][0][0], alone[1][0][0]])
    torch.testing.assert_close(gradients, [a + b for a, b in zip(alone[0][1], alone[1][1], strict=True)])


def step(
    generators: list[attribution.Generator], model: nn.Module, images: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Each generator's map from a pass of its own, and the gradients of the sum of their losses."""
    model.zero_grad()
    heats = []
    for generator in generators:
        with generator.capture() as read:
            heats.append(read(model(images), TARGETS))
    torch.autograd.backward([heat.square().sum() for heat in heats])
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]
    return [heat.detach() for heat in heats], gradients


@pytest.mark.parametrize("count", [2, 3, 4])
def test_any_number_of_captures_read_one_forward_pass(count: int) -> None:
    model = randomised(Inverted()).eval()
    images = images_for(model, 4)
    names = ("grad_cam", "guided_backprop", "cam", "deconvnet")[:count]
    generators = [attribution.create(name, model, normalise="none") for name in names]
    alone = [step([generator], model, images)[0][0] for generator in generators]
    with ExitStack() as stack:
        reads = [stack.enter_context(generator.capture()) for generator in generators]
        output = model(images)
        found = [read(output, TARGETS).detach() for read in reads]
    torch.testing.assert_close(found, alone)


def test_readings_one_within_the_other_are_independent() -> None:
    """Read maps of two models at once, such as a teacher and its student."""
    teacher, pupil = randomised(Small(nn.SiLU), seed=1).eval(), randomised(Small(nn.SiLU), seed=2).eval()
    images = images_for(pupil, 4)
    ours, theirs = (
        attribution.create("guided_backprop", model, normalise="none") for model in (pupil, teacher)
    )
    with ours.capture() as read:
        output = pupil(images)
        with theirs.capture() as read_theirs:
            lesson = read_theirs(teacher(images), TARGETS)
        heat = read(output, TARGETS)
        looked_at = theirs(images, TARGETS)
    torch.testing.assert_close(heat.detach(), ours(images, TARGETS))
    torch.testing.assert_close(lesson.detach(), theirs(images, TARGETS))
    torch.testing.assert_close(looked_at, lesson.detach())


def test_last_pass_within_a_context_is_the_one_that_is_read() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images = images_for(model, 4)
    generator = attribution.create("guided_backprop", model, normalise="none")
    with generator.capture() as read:
        model(images)
        with torch.no_grad():
            model(images * 2)  # a pass without gradients is none
        output = model(images.flip(0))
        with torch.no_grad():
            model(images * 2)
        heat = read(output, TARGETS)
    torch.testing.assert_close(heat.detach(), generator(images.flip(0), TARGETS))
