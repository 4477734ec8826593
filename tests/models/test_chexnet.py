"""The network of the experiment chexnet against torchvision's DenseNet-121, and its class-activation map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from radgaze import attribution
from radgaze.attribution.registry import REGISTRY
from radgaze.models import create
from radgaze.models.unet import Classifier
from radgaze.runs import settings


def test_it_is_densenet_121_and_its_map_is_the_weighted_sum_of_its_features() -> None:
    config = settings.resolve("chexnet", model={"weights": "none"})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        published = torchvision.models.densenet121(weights=None, num_classes=3)
        for module in published.modules():
            if isinstance(module, nn.BatchNorm2d):  # as after some training
                module.running_mean = 0.1 * torch.randn(module.num_features)
                module.running_var = 0.5 + torch.rand(module.num_features)
        images, which = torch.rand(2, 1, 64, 64), torch.tensor([2, 0])
    published.eval()
    model = create(config.model, 3).eval()
    assert isinstance(model, Classifier)
    state = published.state_dict()
    model.encoder.load_state_dict({_ours(n): p for n, p in state.items() if n.startswith("features")})
    linear = next(each for each in model.head.modules() if isinstance(each, nn.Linear))
    linear.load_state_dict(published.classifier.state_dict())

    rgb = (images - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(model(images).logits, published(rgb), atol=1e-4, rtol=1e-4)
        features = published.features(rgb).relu()
    assert REGISTRY["cam"].unsupported(model) is None
    weights = published.classifier.weight[which]
    expected = F.interpolate(
        torch.einsum("bk,bkhw->bhw", weights, features)[:, None],
        size=(64, 64),
        mode="bilinear",
        align_corners=False,
    )
    shown = attribution.create("cam", model, normalise="none")(images, which)
    torch.testing.assert_close(shown, expected.detach(), atol=1e-4, rtol=1e-4)


def _ours(name: str) -> str:
    return name.replace("features.", "model.features_")
