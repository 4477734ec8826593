"""Weights are found where the setting says, read without running code, and bring their input with them."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import densenet as torchvisions

from radgaze.errors import UserError
from radgaze.models import ModelConfig, create, load, save
from radgaze.models.encoder_input import ASSUMED, input_of
from radgaze.models.scale import IMAGENET, NAMED, Scale
from radgaze.models.weight_files import read_weights
from radgaze.models.weight_sources import XRV_FILES, stated_scale
from radgaze.models.weights import taken_by

NAME = "densenet121-res224-rsna"
TINY = "tu-test_efficientnet"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """The state of a DenseNet-121 as torchxrayvision has it: one channel, 18 classes, thresholds."""
    torch.manual_seed(0)
    network: Any = torchvisions.densenet121(weights=None, num_classes=18)
    network.features.conv0 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    return {**network.state_dict(), "op_threshs": torch.full((18,), 0.5)}


@pytest.fixture
def tiny() -> dict[str, Tensor]:
    torch.manual_seed(1)
    made: Any = create(config(TINY, "none"), 3)
    state: dict[str, Tensor] = made.encoder.state_dict()
    return state


def test_a_densenet_of_torchxrayvision_gets_its_weights_one_channel_and_its_range(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    save_file(state, tmp_path / f"{NAME}.safetensors")
    asked = config("densenet121", f"torchxrayvision:{NAME}", weights_dir=str(tmp_path))
    model: Any = create(asked, 3).eval()
    assert torch.equal(model.encoder.features.conv0.weight, state["features.conv0.weight"])
    assert input_of(asked).scale == Scale((0.0,), (1.0,), -1024.0, 1024.0)
    seen = []
    model.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        model(torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(-1, -1, 32, 32))
    assert seen[0].shape == (3, 1, 32, 32)
    assert seen[0][:, 0, 0, 0].tolist() == [-1024, 0, 1024]
    taken = taken_by(model)
    assert taken is not None
    assert taken.unused == ("classifier.bias", "classifier.weight", "op_threshs")
    file = config("densenet121", str(tmp_path / f"{NAME}.safetensors"))  # told by its thresholds
    assert input_of(file).scale == NAMED["torchxrayvision"]


def test_three_channels_of_the_same_weights_see_the_same(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / f"{NAME}.safetensors")
    images = torch.rand(2, 1, 32, 32)
    features = []
    for channels in (1, 3):
        asked = config("densenet121", f"torchxrayvision:{NAME}", weights_dir=str(tmp_path), channels=channels)
        model: Any = create(asked, 3).eval()
        with torch.no_grad():
            features.append(model.encoder(model.grey(images))[-1])
    torch.testing.assert_close(*features, rtol=1e-3, atol=1e-3)  # of values up to 1024


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_whole_module_in_a_file_is_read_without_its_class(
    zipped: bool, state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("torchxrayvision.models")
    monkeypatch.setitem(sys.modules, "torchxrayvision", types.ModuleType("torchxrayvision"))
    monkeypatch.setitem(sys.modules, "torchxrayvision.models", module)
    ran: list[str] = []

    class DenseNet(nn.Module):
        def __setstate__(self, content: dict[str, Any]) -> None:
            ran.append("code of the file's class")
            self.__dict__.update(content)

    DenseNet.__module__, DenseNet.__qualname__ = module.__name__, "DenseNet"
    module.DenseNet = DenseNet  # type: ignore[attr-defined]
    whole: Any = DenseNet()
    whole.features = nn.Sequential()
    whole.features.add_module("conv0", nn.Conv2d(1, 4, 3, bias=False))
    whole.features.add_module("norm0", nn.BatchNorm2d(4))
    path = tmp_path / XRV_FILES[NAME]
    torch.save(whole, path, _use_new_zipfile_serialization=zipped)
    torch.load(path, weights_only=False)
    assert ran.pop()  # so the class would have run
    monkeypatch.delitem(sys.modules, "torchxrayvision.models")
    if not zipped:  # torch reads no whole module of its old format without running code
        with pytest.raises(UserError, match="store the state_dict alone"):
            read_weights(path)
        assert not ran
        return
    found = read_weights(path)
    assert not ran
    assert found.keys() == whole.state_dict().keys()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(found[name], tensor), name


def test_a_checkpoint_that_contains_itself_is_refused(tmp_path: Path) -> None:
    content: dict[str, object] = {}
    content["model"] = content
    torch.save(content, tmp_path / "cyclic.pt")
    with pytest.raises(UserError, match="store the state_dict alone"):
        read_weights(tmp_path / "cyclic.pt")


def test_weights_of_torchxrayvision_that_are_missing_name_their_file_and_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{XRV_FILES[NAME]}.*`model\.weights_dir`") as caught:
        create(config("densenet121", f"torchxrayvision:{NAME}", weights_dir=str(tmp_path)), 3)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(UserError, match=r"has no such weights of a DenseNet-121; there are .*-rsna"):
        create(config("densenet121", "torchxrayvision:densenet121-res224-rsnaa"), 3)


def test_a_densenets_weights_name_their_encoder_where_another_one_is_set(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    save_file(state, tmp_path / f"{NAME}.safetensors")
    with pytest.raises(UserError, match=r"they are those of `model\.encoder=densenet121`"):
        create(config("resnet18", f"torchxrayvision:{NAME}", weights_dir=str(tmp_path)), 3)


@pytest.mark.parametrize("layout", ["OWNER/NAME", "NAME", ".", "cache"])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_files_of_the_hub_in_a_local_folder_need_no_network(
    layout: str, file: str, tiny: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    inner = {"OWNER/NAME": "lab/xray", "NAME": "xray", ".": "."}.get(layout)
    if inner is None:
        root = tmp_path / "models--lab--xray"
        inner = "models--lab--xray/snapshots/0123456789abcdef0123456789abcdef01234567"
        (root / "refs").mkdir(parents=True)
        (root / "refs" / "main").write_text("0123456789abcdef0123456789abcdef01234567")
    folder = tmp_path / inner
    folder.mkdir(parents=True, exist_ok=True)
    write_hub(folder, file, tiny, {"image_mean": [0.53] * 3, "image_std": [0.26] * 3, "do_normalize": True})
    asked = config(TINY, "hf:lab/xray", weights_dir=str(tmp_path))
    made: Any = create(asked, 3)
    for name, tensor in made.encoder.state_dict().items():
        assert torch.equal(tensor, tiny[name]), name
    found = input_of(asked)
    assert (found.scale, found.by) == (Scale((0.53,) * 3, (0.26,) * 3), "preprocessor_config.json")


def test_a_folder_of_the_same_files_can_be_named_itself(tiny: dict[str, Tensor], tmp_path: Path) -> None:
    write_hub(tmp_path, "model.safetensors", tiny, None)
    (tmp_path / "config.json").write_text(
        json.dumps({"architecture": "x", "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}})
    )
    found = input_of(config(TINY, str(tmp_path)))
    assert (found.scale, found.by) == (Scale((0.5,) * 3, (0.25,) * 3), "config.json")


def test_a_hub_that_cannot_be_reached_names_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(UserError, match=r"hf:lab/xray .*not available in .*hub.*HF_HOME") as caught:
        create(config(TINY, "hf:lab/xray"), 3)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=f"not available in {tmp_path}"):
        create(config(TINY, "hf:lab/xray:model.pt", weights_dir=str(tmp_path)), 3)
    for wrong in ("hf:xray", "hf:lab/../xray", "hf:lab/xray:/etc/passwd/../x"):
        with pytest.raises(UserError, match="must be hf:OWNER/NAME"):
            create(config(TINY, wrong), 3)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}, Scale((0.5,) * 3, (0.25,) * 3)),
        (
            {
                "image_mean": [0.5] * 3,
                "image_std": [0.25] * 3,
                "do_rescale": True,
                "rescale_factor": 1 / 127.5,
            },
            Scale((0.5,) * 3, (0.25,) * 3, 0.0, 2.0),
        ),
        (
            {"image_mean": [120.0], "image_std": [60.0], "do_rescale": False},
            Scale((120.0,), (60.0,), 0.0, 255.0),
        ),
        ({"image_mean": [9.0] * 3, "image_std": [9.0] * 3, "do_normalize": False}, NAMED["none"]),
        ({"preprocess_cfg": {"mean": [0.48] * 3, "std": [0.27] * 3}}, Scale((0.48,) * 3, (0.27,) * 3)),
        ({"model": {"normalisation": "torchxrayvision", "channels": 1}}, NAMED["torchxrayvision"]),
        ({"architectures": ["Dinov2Model"], "hidden_size": 768}, None),
    ],
)
def test_configurations_beside_weights_state_their_input(content: Any, expected: Scale | None) -> None:
    assert stated_scale(content) == expected


def test_mean_and_deviation_that_are_none_are_refused() -> None:
    for mean, std in (([0.5] * 2, [1.0] * 2), (["a"], [1])):
        with pytest.raises(UserError, match="mean and deviation stated with the weights cannot be used"):
            stated_scale({"image_mean": mean, "image_std": std})


def test_an_input_that_nothing_states_is_imagenets_and_said_to_be_assumed(
    tiny: dict[str, Tensor], tmp_path: Path
) -> None:
    save_file(tiny, tmp_path / "mine.safetensors")
    found = input_of(config(TINY, str(tmp_path / "mine.safetensors")))
    assert (found.scale, found.by) == (IMAGENET, ASSUMED)


def test_a_trained_network_hands_its_encoder_and_its_input_on(tmp_path: Path) -> None:
    torch.manual_seed(4)
    asked = config(TINY, "none", architecture="unet", normalisation="given", mean=(0.4,), std=(0.2,))
    first: Any = create(asked, 3)
    save(first, asked, ("a", "b", "c"), tmp_path / "model")
    again = config(TINY, str(tmp_path / "model" / "model.safetensors"))
    second: Any = create(again, 3)
    assert input_of(again).scale == Scale((0.4,), (0.2,))
    for name, tensor in first.network.encoder.state_dict().items():
        assert torch.equal(second.encoder.state_dict()[name], tensor), name
    found, _ = load(tmp_path / "model")
    images = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(found(images).logits, first.eval()(images).logits)


def write_hub(folder: Path, file: str, state: dict[str, Tensor], preprocessor: object) -> None:
    if file.endswith("safetensors"):
        save_file(state, folder / file)
    else:
        torch.save(state, folder / file)
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))


def config(encoder: str, weights: str, **changed: Any) -> ModelConfig:
    values = {"architecture": "classifier", "encoder": encoder, "weights": weights}
    return ModelConfig(**{**values, **changed})
