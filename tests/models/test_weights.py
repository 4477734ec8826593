"""Weights go to disk and come back to the bit; what else lies there is refused in one line, and not run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from radgaze.errors import UserError
from radgaze.models import ModelConfig, create, load, save
from radgaze.models.unet import Classifier, UNet

ENCODER = "tu-test_efficientnet"
CLASSES = ("Normal", "CHF", "pneumonia")
WEIGHTS = Path("model.safetensors")


@pytest.fixture(scope="module")
def model() -> Classifier:
    """A classifier whose statistics are not those that a new one has."""
    torch.manual_seed(0)
    made = create(config(), 3)
    assert isinstance(made, Classifier)
    made.train()(torch.rand(4, 1, 32, 32))
    return made


@pytest.fixture
def folder(model: Classifier, tmp_path: Path) -> Path:
    save(model, config(), CLASSES, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("architecture", ["unet", "classifier"])
def test_a_model_comes_back_to_the_bit(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    asked = config(architecture=architecture, decoder_channels=(24, 16, 8, 8, 4), dropout=0.25)
    model = create(asked, 3).to(memory_format=torch.channels_last)
    model.train()(torch.rand(4, 1, 32, 32))
    save(model, asked, CLASSES, tmp_path / "deep" / "model")
    found, classes = load(tmp_path / "deep" / "model")
    assert classes == CLASSES
    assert not any(module.training for module in found.modules())
    kept = found.state_dict()
    assert list(kept) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert kept[name].dtype == tensor.dtype
        assert torch.equal(kept[name], tensor), name
    x = torch.rand(2, 1, 64, 32)
    model = model.eval().to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        for ours, theirs in zip(found(x), model(x), strict=True):
            assert ours is theirs is None or torch.equal(ours, theirs)
    assert [m.p for m in found.modules() if isinstance(m, nn.Dropout) and m.p] == [0.25]


def test_a_model_is_kept_as_safetensors_and_json_that_say_what_they_are(
    model: Classifier, folder: Path
) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    tensors = load_file(folder / WEIGHTS)
    assert tensors.keys() == model.state_dict().keys()
    about = json.loads((folder / "config.json").read_text())
    assert about["classes"] == list(CLASSES)
    assert about["model"]["encoder"] == ENCODER
    assert about["software"].startswith("radgaze ")


def test_loading_a_model_fetches_no_weights_whatever_it_started_from(
    model: Classifier, tmp_path: Path
) -> None:
    for start in ("imagenet", "noisy-student", "/gone/weights.pt"):
        save(model, config(weights=start), CLASSES, tmp_path)
        found, _ = load(tmp_path)
        assert isinstance(found, Classifier)
        assert torch.equal(found.get_parameter("head.3.weight"), model.get_parameter("head.3.weight"))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_no_model_and_the_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(UserError, match=f"{folder} holds no trained model: {missing} is missing"):
        load(folder)
    (folder / missing).mkdir()
    with pytest.raises(UserError, match=missing):
        load(folder)


def test_no_folder_and_a_file_in_its_place_are_no_model(folder: Path) -> None:
    for path in (folder / "nothing", folder / "config.json"):
        with pytest.raises(UserError, match=f"{path} holds no trained model"):
            load(path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe\x00binary",
        b"[]",
        b"null",
        b"{}",
        b'{"model": [], "classes": ["a"]}',
        b'{"model": {}, "classes": 3}',
        b'{"model": {"size": 3}, "classes": ["a"]}',
        b'{"model": {"architecture": "transformer"}, "classes": ["a"]}',
        b'{"model": {"encoder": "resnet81"}, "classes": ["a"]}',
        b'{"model": {"encoder": 3}, "classes": ["a"]}',
        b'{"model": {"encoder": "resnet18", "dropout": 7}, "classes": ["a"]}',
        b'{"model": {"encoder": "resnet18", "decoder_channels": [3]}, "classes": ["a"]}',
    ],
)
def test_a_broken_configuration_is_refused_and_named(folder: Path, text: bytes) -> None:
    (folder / "config.json").write_bytes(text)
    with pytest.raises(
        UserError, match=r"config\.json (describes no model|cannot be read|does not hold what it should)"
    ) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_setting_of_another_version_is_named_with_that_version(folder: Path) -> None:
    text = '{"software": "radgaze 99.0", "model": {"future": 1}, "classes": ["a"]}'
    (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"radgaze .* does not know its setting future, of radgaze 99\.0"):
        load(folder)


def test_what_can_be_saved_can_be_loaded(tmp_path: Path) -> None:
    many = ModelConfig("temporal", weights="none", most_frames=10_000)
    save(create(many, 1, 32), many, ("a" * 1000,), tmp_path, size=32)
    assert load(tmp_path)[1] == ("a" * 1000,)
    wide: dict[str, Any] = {"pylon_channels": 8193, "decoder_channels": (8193, 8, 8, 4, 4)}
    for name, value in wide.items():
        with pytest.raises(UserError, match=f"`{name}` must be from 1 to 8,192"):
            ModelConfig(**{name: value})


def test_broken_weights_are_refused_and_named(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    for broken in (b"", b"0" * 1000, whole[:50], whole[: len(whole) // 2]):
        (folder / WEIGHTS).write_bytes(broken)
        with pytest.raises(UserError, match=r"model\.safetensors cannot be read"):
            load(folder)


def test_weights_of_another_network_are_refused_and_named(folder: Path) -> None:
    kept = (folder / "config.json").read_text()
    others = [("classifier", "unet"), (ENCODER, "resnet18"), ('"pneumonia"', '"pneumonia", "effusion"')]
    for there, other in others:
        (folder / "config.json").write_text(kept.replace(there, other))
        with pytest.raises(UserError, match=r"model.safetensors .* another network") as caught:
            load(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["safetensors", "state dict", "checkpoint", "legacy"])
@pytest.mark.parametrize("architecture", ["unet", "classifier"])
def test_encoder_starts_from_the_weights_in_a_file(
    form: str, architecture: str, model: Classifier, tmp_path: Path
) -> None:
    state = model.encoder.state_dict()
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pt")
    if form == "safetensors":
        save_file(state, path)
    else:
        kept = {"state_dict": state, "epoch": 7} if form == "checkpoint" else state
        torch.save(kept, path, _use_new_zipfile_serialization=form != "legacy")
    made = create(config(architecture=architecture, weights=str(path)), 3)
    assert isinstance(made, UNet | Classifier)
    encoder = made.network.encoder if isinstance(made, UNet) else made.encoder
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_file_of_weights_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "exploded",)

    pickle.loads(pickle.dumps(Bomb()))
    (tmp_path / "exploded").unlink()  # so it does explode where it is not refused
    for protocol in (2, 4):
        path = tmp_path / "weights.pt"
        path.write_bytes(pickle.dumps({"conv.weight": Bomb()}, protocol))
        with pytest.raises(UserError, match=f"`model.weights` must be safetensors.*; {path} is"):
            create(config(weights=str(path)), 3)
        torch.save({"conv.weight": Bomb()}, path)
        with pytest.raises(UserError, match=f"`model.weights` must be safetensors.*; {path} is"):
            create(config(weights=str(path)), 3)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not weights",
        b"\x80\x04\x95\x00",
        b"he.",  # a pickle that asks for what it never put down
        b"X\x01\x00\x00\x00\xff.",  # one whose text is none
        b"PK\x03\x04 and no more",
        b"\x00" * 64,
    ],
)
def test_a_file_that_holds_no_weights_is_refused_in_one_line(
    name: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        UserError, match=f"`model.weights` must be safetensors.*; {tmp_path / name} is"
    ) as caught:
        create(config(weights=str(tmp_path / name)), 3)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "state",
    [[torch.zeros(3)], torch.zeros(3), {"state_dict": [1]}, {"state_dict": None}, {1: torch.zeros(3)}, {}],
    ids=repr,
)
def test_what_is_not_this_encoders_state_is_refused(state: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(state, path)
    with pytest.raises(
        UserError, match=f"`model.weights` must be weights of the encoder; those of {path} are not"
    ):
        create(config(weights=str(path)), 3)


def test_weights_of_another_encoder_are_refused(model: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(model.encoder.state_dict(), path)
    with pytest.raises(
        UserError, match=f"`model.weights` must be weights of the encoder; those of {path} are not"
    ) as caught:
        create(config(encoder="resnet18", weights=str(path)), 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weights", ["imagenett", "/nowhere/weights.pt", "."])
def test_weights_that_are_no_file_are_refused_with_what_would_do(weights: str) -> None:
    with pytest.raises(
        UserError,
        match=f"`model.weights` must be a file, imagenet, .* or none; there is no file {weights}",
    ):
        create(config(weights=weights), 3)


@pytest.mark.parametrize("architecture", ["unet", "classifier"])
@pytest.mark.parametrize(
    ("encoder", "weights"),
    [("resnet18", "imagenet"), ("timm-efficientnet-b0", "noisy-student"), (ENCODER, "imagenet")],
)
def test_weights_that_cannot_be_downloaded_name_the_option(
    architecture: str, encoder: str, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UserError, match=f"the {weights} weights of {encoder} could not be downloaded"
    ) as caught:
        create(config(architecture=architecture, encoder=encoder, weights=weights), 3)
    assert "`model.weights=none`" in str(caught.value)


def test_weights_that_an_encoder_was_never_published_with_are_refused() -> None:
    with pytest.raises(
        UserError,
        match=r"`model.encoder=resnet18` with `model.weights=noisy-student` cannot be used: .*imagenet",
    ):
        create(config(encoder="resnet18", weights="noisy-student"), 3)


def test_noisy_student_of_a_timm_encoder_is_refused_since_timm_would_give_other_weights() -> None:
    with pytest.raises(
        UserError, match=f"must be imagenet with `model.encoder={ENCODER}`, got noisy-student"
    ):
        create(config(weights="noisy-student"), 3)


def config(**changed: Any) -> ModelConfig:
    settings = {"architecture": "classifier", "encoder": ENCODER, "weights": "none", "dropout": 0.5}
    return ModelConfig(**{**settings, **changed})
