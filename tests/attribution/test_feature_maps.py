"""Class-activation maps are made of what the classifier pools, however it spells that, or of a layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution
from tests.attribution.networks import Small, randomised

SIDE = 8

POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "AvgPool2d": lambda x: nn.AvgPool2d(SIDE)(x),
    "AdaptiveMaxPool2d": lambda x: nn.AdaptiveMaxPool2d(1)(x),
    "GeM": lambda x: F.avg_pool2d(x.clamp(min=1e-6).pow(3), SIDE).pow(1 / 3),
    "GeM, with operators": lambda x: (x.clamp(min=1e-6) ** 3).mean((2, 3)) ** (1 / 3),
    "sum": lambda x: x.sum((2, 3)),
    "mean, twice": lambda x: x.mean(3).mean(2),
    "flatten and mean": lambda x: x.flatten(2).mean(-1),
    "view and mean": lambda x: x.view(*x.shape[:2], -1).mean(2),
    "flatten and max": lambda x: x.flatten(2).max(-1).values,
    "flatten and the largest": lambda x: x.flatten(2).topk(5).values.mean(-1),
    "median": lambda x: x.flatten(2).median(2).values,
    "logsumexp": lambda x: torch.logsumexp(x, (2, 3)),
    "logsumexp, written out": lambda x: x.exp().mean((2, 3)).log(),
    "einsum": lambda x: torch.einsum("bchw->bc", x),
    "matmul": lambda x: (x.flatten(2) @ x.new_ones(SIDE * SIDE, 1))[..., 0],
    "norm": lambda x: torch.linalg.vector_norm(x, 2, (2, 3)),
    "lp_pool2d": lambda x: F.lp_pool2d(x, 2, SIDE),
    "channels last": lambda x: x.permute(0, 2, 3, 1).mean((1, 2)),
    "convolution over all places": lambda x: F.conv2d(x, x.new_ones(6, 1, SIDE, SIDE), groups=6),
    "mean and maximum": lambda x: torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1),
}


class Pooling(nn.Module):
    """Squeeze-and-excitation in the middle, whose pooling comes before the classifier's."""

    def __init__(self, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.last = nn.Conv2d(1, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, padding=1)
        self.excite = nn.Conv2d(6, 6, 1)
        self.pool = pool
        self.head = nn.Linear(len(pool(torch.rand(1, 6, SIDE, SIDE)).flatten()), 3)

    def forward(self, images: Tensor) -> Tensor:
        x = F.silu(self.stem(images))
        x = x * torch.sigmoid(self.excite(F.adaptive_avg_pool2d(x, 1)))
        return self.classified(F.relu(self.last(x)))

    def classified(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pool(features).flatten(1))
        return logits


@pytest.mark.parametrize("pooling", POOLINGS)
def test_maps_are_made_of_what_the_classifier_pools(pooling: str) -> None:
    torch.manual_seed(0)
    model = randomised(Pooling(POOLINGS[pooling])).eval()
    model.head.weight.data.abs_()
    images = torch.rand(2, 1, 2 * SIDE, 2 * SIDE, dtype=torch.float64)
    kept: list[Tensor] = []
    pool = model.pool

    def keeping(x: Tensor) -> Tensor:
        kept.append(x)
        return pool(x)

    with torch.no_grad():
        model.pool = keeping
        model(images)
        model.pool = pool
    A = kept[0].requires_grad_()
    (g,) = torch.autograd.grad(model.classified(A)[:, 1].sum(), A)
    expected = {
        "grad_cam": (g.mean((2, 3), keepdim=True) * A).sum(1, keepdim=True).clamp(min=0),
        "hires_cam": (g * A).sum(1, keepdim=True).clamp(min=0),
    }
    for name, cam in expected.items():
        found = attribution.create(name, model, normalise="none")(images, 1)
        enlarged = F.interpolate(cam, size=images.shape[-2:], mode="bilinear").detach()
        torch.testing.assert_close(found, enlarged)
    assert sum(float(cam.max()) for cam in expected.values()) > 0


class Last(nn.Module):
    """A stage whose feature maps have their channels last, as Swin's have."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 6, 4, stride=4)
        self.norm, self.mlp = nn.LayerNorm(6), nn.Linear(6, 6)
        self.act = nn.GELU()
        self.same = nn.Identity()
        self.head = nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).permute(0, 2, 3, 1)
        x = self.same(x + self.act(self.mlp(self.norm(x))))
        logits: Tensor = self.head(x.mean((1, 2)))
        return logits


class First(nn.Module):
    """Network of `Last` with the channels first."""

    def __init__(self, other: Last) -> None:
        super().__init__()
        self.other, self.same = other, nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        x = self.other.patches(images)
        y = self.other.norm(x.permute(0, 2, 3, 1))
        x = self.same(x + self.other.act(F.conv2d(y.permute(0, 3, 1, 2), self.kernel(), self.other.mlp.bias)))
        logits: Tensor = self.other.head(x.mean((2, 3)))
        return logits

    def kernel(self) -> Tensor:
        return self.other.mlp.weight[:, :, None, None]


class Tokens(Last):
    """Network of `Last` on tokens (B, 1 + N, C), the first of them the class token."""

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = x + self.act(self.mlp(self.norm(x)))
        x = self.same(torch.cat([x.new_zeros(len(x), 1, 6), x], 1))
        logits: Tensor = self.head(x[:, 1:].mean(1))
        return logits


def tokens_to_maps(tokens: Tensor) -> Tensor:
    return torch.unflatten(tokens[:, 1:].transpose(1, 2), 2, (5, 4))


@pytest.mark.parametrize("name", ["grad_cam", "hires_cam", "layer_cam", "backprop", "input_x_gradient"])
def test_channels_last_and_tokens_give_the_maps_of_channels_first(name: str) -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 1, 20, 16, dtype=torch.float64)
    last = Last().double()
    tokens = Tokens().double()
    tokens.load_state_dict(last.state_dict())
    first = First(last)
    expected = attribution.create(name, first, layer="same", normalise="none")(images, 1)
    asked: list[tuple[nn.Module, dict[str, Any]]] = [
        (last, {"layer": "same"}),
        (last, {"layer": last.same, "channels": "last"}),
        (tokens, {"layer": "same", "reshape": tokens_to_maps}),
        (tokens, {"layer": "same"}),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model, options in asked:
            found = attribution.create(name, model, normalise="none", **options)(images, 1)
            torch.testing.assert_close(found, expected)
            assert found.max() > 0
    if "cam" in name:
        torch.testing.assert_close(attribution.create(name, last, normalise="none")(images, 1), expected)


def test_gradients_of_the_parameters_do_not_depend_on_where_the_channels_are() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 1, 20, 16, dtype=torch.float64)
    last = Last().double()
    found = []
    for model in (last, First(last)):
        with attribution.create("grad_cam", model, layer="same").capture() as read:
            loss = (read(model(images), 1) * images).sum()
        found.append(torch.autograd.grad(loss, [last.patches.weight, last.mlp.weight, last.head.weight]))
    torch.testing.assert_close(*found)


class Unknown(nn.Module):
    """A layer whose channels nothing tells the place of."""

    def __init__(self) -> None:
        super().__init__()
        self.same, self.head = nn.Identity(), nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.same(images * 2)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def test_where_nothing_tells_where_the_channels_are_that_is_said_once_at_the_users_line() -> None:
    generator = attribution.create("grad_cam", Unknown(), layer="same")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for batch in (20, 2):
            generator(torch.rand(batch, 3, 6, 5), 1)
    assert [(w.filename, str(w.message)[:32]) for w in told] == [
        (__file__, "nothing tells whether same gives")
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attribution.create("grad_cam", Unknown(), layer="same", channels="first")(torch.rand(2, 3, 6, 5), 1)


@pytest.mark.parametrize("name", ["grad_cam", "backprop"])
def test_tokens_on_no_grid_are_refused_with_a_word_on_how_to_lay_them_out(name: str) -> None:
    model: Any = Tokens()
    model.same.forward = lambda tokens: tokens[:, :-2]
    with pytest.raises(RuntimeError, match=r"but tokens \(2, 19, 6\): found no grid .* reshape=lambda"):
        attribution.create(name, model, layer="same")(torch.rand(2, 1, 20, 16), 1)


def test_reshape_that_makes_no_feature_maps_is_refused() -> None:
    generator = attribution.create("grad_cam", Tokens(), layer="same", reshape=lambda tokens: tokens[:, 1:])
    with pytest.raises(RuntimeError, match=r"reshape makes .* not \(2, 20, 6\)"):
        generator(torch.rand(2, 1, 20, 16), 1)


class Several(nn.Module):
    """A module that gives a list, and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Small(nn.ReLU)
        self.both = nn.ModuleDict({"inner": nn.Conv2d(1, 2, 1)})
        self.both.forward = lambda x: [x, x]
        self.unused = nn.Conv2d(1, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(self.both(images)[0])
        return logits


@pytest.mark.parametrize("name", ["grad_cam", "guided_backprop", "input_x_gradient"])
def test_layer_that_gives_a_list_or_never_runs_is_an_error(name: str) -> None:
    images = torch.rand(2, 1, 20, 18)
    with pytest.raises(RuntimeError, match=r"the layer 'both' gives a list, not one tensor: .*\(inner\)"):
        attribution.create(name, Several(), layer="both")(images, 1)
    with pytest.raises(RuntimeError, match="the layer 'unused' did not run"):
        attribution.create(name, Several(), layer="unused")(images, 1)


def test_layer_is_a_name_or_a_module_of_the_model() -> None:
    model = Small(nn.SiLU).eval()
    images = torch.rand(2, 1, 20, 18)
    named, given = (
        attribution.create("grad_cam", model, layer=layer)(images, 1) for layer in ("act2", model.act2)
    )
    assert torch.equal(named, given)
    for layer, match in (
        (nn.ReLU(), "a ReLU, is no module of this model"),
        (["act2"], "one name .* not a list"),
        (3, "not a int"),
    ):
        with pytest.raises(ValueError, match=match):
            attribution.create("grad_cam", model, layer=layer)
    with pytest.raises(ValueError, match="channels and reshape are of a layer"):
        attribution.create("grad_cam", model, channels="last")


class Transformer(nn.Module):
    def __init__(self, *, norm_first: bool) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 4, stride=4)
        self.block = nn.TransformerEncoderLayer(
            8, 2, 16, batch_first=True, activation="gelu", norm_first=norm_first
        )
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.block(self.patches(images).flatten(2).transpose(1, 2)).mean(1))
        return logits


def test_transformer_is_explained_at_the_norm_in_front_of_its_last_attention() -> None:
    """Residual connections lead from the last tokens to the patches, past everything."""
    torch.manual_seed(0)
    model, images = Transformer(norm_first=True), torch.rand(2, 1, 20, 16)
    found, named = (
        torch.cat([attribution.create("hires_cam", model, layer=layer)(images, k) for k in range(3)])
        for layer in (None, "block.norm1")
    )
    torch.testing.assert_close(found, named)
    assert found.max() > 0


def test_transformer_without_a_norm_in_front_is_not_explained_at_its_patches_unasked() -> None:
    with pytest.raises(RuntimeError, match=r"but tokens \(2, 20, 8\); name a layer"):
        attribution.create("grad_cam", Transformer(norm_first=False))(torch.rand(2, 1, 20, 16), 1)


@pytest.mark.parametrize("name", ["grad_cam", "hires_cam", "layer_cam", "grad_cam_pp"])
@pytest.mark.parametrize("norm", [nn.Identity, lambda: nn.BatchNorm2d(6)])
@pytest.mark.parametrize(("side", "kernel", "stride"), [(4, 3, 2), (3, 2, 2), (5, 4, 4)])
def test_strided_convolution_onto_one_place_is_no_pooling(
    side: int, kernel: int, stride: int, norm: Callable[[], nn.Module], name: str
) -> None:
    """As in Inception-v3 with images of 96 × 96, whose last three branches have one place each."""
    model = nn.Sequential(nn.Conv2d(1, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, kernel, stride), norm(), nn.ReLU())
    model = nn.Sequential(*model, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    generator = attribution.create(name, randomised(model).eval(), normalise="none")
    with pytest.raises(RuntimeError, match="the last ones have one place; name a layer"):
        generator(torch.rand(2, 1, side, side, dtype=torch.float64), 1)


def test_padded_convolution_over_all_places_flattens_them() -> None:
    """As in EfficientNet with images of 32 × 32, whose last strided convolution sees 2 × 2 places."""
    torch.manual_seed(4)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU()
    )
    model = nn.Sequential(*model, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    images = torch.rand(2, 1, 2, 2, dtype=torch.float64)
    model = randomised(model).eval()
    shown = attribution.create("hires_cam", model, normalise="none")(images, 1)
    named = attribution.create("hires_cam", model, normalise="none", layer="1")(images, 1)
    torch.testing.assert_close(shown, named)


class Shortcut(nn.Module):
    """A residual block with a strided shortcut, on maps of 2 × 2 places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 1), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(6, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, 1, 1))
        self.shortcut = nn.Conv2d(6, 6, 1, 2)
        self.head = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        scores: Tensor = self.head(self.block(maps) + self.shortcut(maps))
        return scores


def test_maps_of_which_a_shortcut_sees_one_place_are_those_that_its_block_flattens() -> None:
    """As in a ResNet with images of 32 × 32."""
    torch.manual_seed(4)
    model, images = randomised(Shortcut()).eval(), torch.rand(2, 1, 2, 2, dtype=torch.float64)
    shown = attribution.create("hires_cam", model, normalise="none")(images, 1)
    named = attribution.create("hires_cam", model, normalise="none", layer="stem")(images, 1)
    torch.testing.assert_close(shown, named)


class Branches(nn.Module):
    """Two branches, each of which flattens maps of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 1)
        self.one_flat, self.other_flat = nn.Conv2d(4, 4, 3, 2), nn.Conv2d(4, 4, 3, 2)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        one = self.one_flat(F.relu(self.one(images)))
        other = self.other_flat(F.relu(self.other(images)))
        scores: Tensor = self.head(torch.cat([one, other], 1).mean((2, 3)))
        return scores


@pytest.mark.parametrize("name", ["cam", "grad_cam"])
def test_branches_that_flatten_maps_of_their_own_are_not_explained_by_the_last_one(name: str) -> None:
    """As in Inception-v3 with images of 80 × 80."""
    generator = attribution.create(name, Branches().eval())
    with pytest.raises(RuntimeError, match="several branches flatten maps of their own; name a layer"):
        generator(torch.rand(2, 1, 3, 3), torch.tensor([0, 1]))
