"""Networks of users: what they may return, which of them are imported, and how they are stored."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from radgaze import models
from radgaze.cli.factory import allow_given
from radgaze.errors import UserError
from radgaze.models import factories, own
from radgaze.models.config import ModelConfig, with_given
from radgaze.models.output import Output
from radgaze.models.unet import GreyToRGB
from radgaze.options import FieldError
from tests.training.own_networks import SmallUNet, unet

NETWORKS = "tests.training.own_networks"
LOGITS, MASK = torch.randn(2, 3), torch.randn(2, 1, 8, 8)
SIZE = (8, 8)


@pytest.fixture(autouse=True)
def nothing_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test trusts what another one has."""
    monkeypatch.setenv(factories.VARIABLE, "")


@pytest.mark.parametrize(
    "made",
    [
        (LOGITS, MASK),
        [MASK, LOGITS],
        {"logits": LOGITS, "mask": MASK},
        {"logits": LOGITS, "mask": MASK[:, 0], "features": torch.zeros(2, 5)},
        SimpleNamespace(logits=LOGITS, mask=MASK),
        Output(LOGITS, MASK),
    ],
)
def test_logits_and_mask_are_found_in_each_documented_form(made: object) -> None:
    output = own.as_output(made, 3, SIZE)
    assert output.logits is LOGITS
    assert output.mask is not None
    assert torch.equal(output.mask, MASK)
    assert own.provided(output) == ("mask",)


@pytest.mark.parametrize("made", [LOGITS, (LOGITS,), {"logits": LOGITS}, (LOGITS, torch.zeros(2, 4, 8, 8))])
def test_a_network_may_have_no_mask(made: object) -> None:
    output = own.as_output(made, 3, SIZE)
    assert output.logits is LOGITS
    assert output.mask is None
    assert own.provided(output) == ()


def test_a_smaller_mask_is_enlarged_to_the_image() -> None:
    constant = torch.full((2, 1, 2, 2), 0.3)
    mask = own.as_output((LOGITS, constant), 3, SIZE).mask
    assert mask is not None
    assert torch.allclose(mask, torch.full((2, 1, 8, 8), 0.3))


def test_class_maps_and_auxiliary_scores_are_passed_on() -> None:
    maps = torch.randn(2, 3, 4, 4)
    output = own.as_output({"logits": LOGITS, "class_maps": maps, "aux_logits": LOGITS}, 3, SIZE)
    assert output.class_maps is maps
    assert output.aux_logits is LOGITS
    assert own.provided(output) == ("class_maps",)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("text", "a str without logits"),
        ({"scores": LOGITS}, "without logits"),
        (MASK, r"logits of the shape \(2, 1, 8, 8\)"),
        (torch.zeros(2, 4), r"\(2, 4\) for 3 classes"),
        ({"logits": LOGITS, "mask": torch.zeros(2, 2, 8, 8)}, "a mask of the shape"),
        ({"logits": LOGITS, "class_maps": torch.zeros(2, 2, 8, 8)}, "class maps of the shape"),
    ],
)
def test_another_output_is_refused_with_what_is_expected(made: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        own.as_output(made, 3, SIZE)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_number_of_channels_is_found_by_trying(channels: int) -> None:
    net = SmallUNet(3, channels=channels)
    network, output = own.tried(with_given(ModelConfig(factory="given"), net), 3, 32)
    assert own.channels_of(network) == channels
    images = torch.rand(2, 1, 32, 32)
    expected = net.eval()(images if channels == 1 else GreyToRGB()(images))
    assert isinstance(expected, tuple)
    assert torch.equal(network(images).logits, expected[0])
    assert output.mask is not None


def test_the_given_module_is_copied() -> None:
    net = SmallUNet(3)
    network, _ = own.tried(with_given(ModelConfig(factory="given"), net), 3, 32)
    assert net.training
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert any(parameter.any() for parameter in net.parameters())


def test_a_network_that_takes_no_such_image_is_refused_with_its_own_words() -> None:
    class Fussy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("I take nothing")

    with pytest.raises(UserError, match=r"does not take images.*1, 32, 32.*I take nothing.*3, 32, 32"):
        own.tried(with_given(ModelConfig(factory="given"), Fussy()), 3, 32)


def test_a_factory_gets_its_options_and_the_number_of_classes_by_either_name() -> None:
    factories.allow(f"{NETWORKS}:unet")
    factories.allow(f"{NETWORKS}:of_logits")
    made = models.create(ModelConfig(factory=f"{NETWORKS}:unet", options={"width": 6}), 3)
    assert isinstance(made, own.OwnNetwork)
    assert [made.network.features[0].out_channels, made.network.score.out_features] == [6, 3]  # type: ignore[index,union-attr]
    other = models.create(ModelConfig(factory=f"{NETWORKS}:of_logits", channels=1), 4)
    assert own.provided(other(torch.rand(2, 1, 32, 32))) == ()
    assert other(torch.rand(2, 1, 32, 32)).logits.shape == (2, 4)


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        ("no_such_module:net", {}, "cannot be imported: ModuleNotFoundError"),
        (f"{NETWORKS}:nothing", {}, "cannot be imported: AttributeError"),
        (f"{NETWORKS}:__doc__", {}, "is a str, where a function is expected"),
        (f"{NETWORKS}:a_number", {}, "made a int, not a torch.nn.Module"),
        (f"{NETWORKS}:unet", {"depth": 3}, r"called with \(depth=3, classes=3\), failed: TypeError"),
    ],
)
def test_a_factory_that_cannot_be_used_is_told(factory: str, options: dict[str, int], message: str) -> None:
    factories.allow(factory)
    with pytest.raises(UserError, match=message):
        models.create(ModelConfig(factory=factory, options=dict(options)), 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"factory": "net"}, "`factory` must be"),
        ({"factory": "a:b; import os"}, "`factory` must be"),
        ({"architecture": "own"}, "`factory` is missing"),
        ({"options": {"width": 3}}, "`options` is for a network of your own"),
        ({"factory": "a:b", "channels": 2}, "`channels` must be 1 or 3"),
        ({"factory": "a:b", "provides": ("logits",)}, "`provides` must be one of"),
        ({"factory": "a:b", "architecture": "temporal"}, "reads gaze"),
        ({"factory": "a:b", "architecture": "unet_with_gaze"}, "reads gaze"),
    ],
)
def test_settings_that_do_not_fit_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(FieldError, match=message):
        ModelConfig(**fields)  # type: ignore[arg-type]


def test_a_factory_is_not_imported_unless_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "foreign.py").write_text(
        "from pathlib import Path\n"
        "Path(__file__).with_name('imported').touch()\n"
        "from tests.training.own_networks import unet\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = ModelConfig(factory="foreign:unet", channels=1)
    models.save(own.OwnNetwork(with_given(config, unet), 3), config, ("a", "b", "c"), tmp_path / "model")
    with pytest.raises(UserError, match=r"made by foreign:unet.*`trust=True`"):
        models.load(tmp_path / "model")
    with pytest.raises(UserError, match="made by foreign:unet"):
        models.create(config, 3)
    assert models.load_classes(tmp_path / "model") == ("a", "b", "c")
    factories.allow("foreign:other")  # another one
    with pytest.raises(UserError, match="made by foreign:unet"):
        models.load(tmp_path / "model")
    assert not (tmp_path / "imported").exists()
    with factories.trusting():
        models.load(tmp_path / "model")
    assert (tmp_path / "imported").exists()
    assert not factories.is_allowed("foreign:unet")
    assert os.environ[factories.VARIABLE] == "foreign:other"


def test_a_factory_that_is_named_on_the_command_line_is_trusted_also_by_processes_that_it_starts() -> None:
    allow_given({"trainer": {"max_epochs": 3}, "model": {"factory": f"{NETWORKS}:unet"}})
    allow_given({"model": {"dropout": 0.1}})
    assert os.environ[factories.VARIABLE].split() == [f"{NETWORKS}:unet"]


def test_weights_are_stored_and_read_for_a_network_given_again(tmp_path: Path) -> None:
    class Tied(nn.Module):
        """Two layers that share their weights, which a file of tensors cannot hold as such."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
            self.second.weight = self.first.weight
            self.score = nn.Linear(64, 3)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.score(self.second(self.first(images.flatten(1)).relu()))
            return logits

    config = ModelConfig(factory="given", channels=1)
    trained = own.OwnNetwork(with_given(config, Tied()), 3).eval()
    models.save(trained, config, ("a", "b", "c"), tmp_path, size=8)
    loaded, classes = models.load(tmp_path, given=Tied())
    images = torch.rand(2, 1, 8, 8)
    assert classes == ("a", "b", "c")
    assert torch.equal(loaded(images).logits, trained(images).logits)
    with pytest.raises(UserError, match=r"was given as an object.*Run\.open\(RUN, model=NETWORK\)"):
        models.load(tmp_path)
    with pytest.raises(UserError, match="weights of another network"):
        models.load(tmp_path, given=SmallUNet(3))


def test_a_function_is_named_if_it_can_be_imported_again() -> None:
    assert factories.name_of(unet) == f"{NETWORKS}:unet"
    assert factories.name_of(lambda: None) == "given"
    assert factories.name_of(SmallUNet(3)) == "given"
