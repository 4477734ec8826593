"""Training steps and maps of transformers, ConvNeXt and a DenseNet, against straight ones and Captum."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from captum import attr
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.attribution import guided_hooks
from benchmarks.results import Cell, Result
from radgaze import attribution, models

NETWORKS: dict[str, dict[str, object]] = {
    "ViT-Ti/16": {"encoder": "tu-vit_tiny_patch16_224"},
    "Swin-T": {"encoder": "tu-swin_tiny_patch4_window7_224"},
    "ConvNeXt-atto": {"encoder": "tu-convnext_atto"},
    "DenseNet-121, one channel": {"encoder": "densenet121", "channels": 1},
}
"""Settings of each network's encoder."""

METHODS = ("guided_backprop", "backprop", "grad_cam", "attention", "attention_rollout", "relevance")
TARGET = 1


@dataclass
class Case:
    """A classifier, and the inputs of a training step."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    gaze: Tensor
    optimiser: torch.optim.Optimizer

    def step(self, generator: attribution.Generator | None) -> None:
        """Train a step, with the loss of a heatmap if there is a generator."""
        with nullcontext(None) if generator is None else generator.capture(self.model) as read:
            output = self.model(self.images)
            heat = None if read is None else read(output.logits, self.labels)
        self.learn(output.logits, heat)

    def straight(self, method: str) -> None:
        """Train a step with the gradient at the images as it is usually written."""
        images = self.images.detach().requires_grad_()
        hooks = guided_hooks(self.model) if method == "guided_backprop" else nullcontext(nullcontext)
        # Torch's other kernels of attention cannot be differentiated twice; ours chooses this one itself.
        with sdpa_kernel(SDPBackend.MATH), hooks as reading:
            logits = self.model(images).logits
            score = logits.gather(1, self.labels[:, None]).sum()
            with reading():
                (gradient,) = torch.autograd.grad(score, images, create_graph=True)
        self.learn(logits, attribution.readout.normalise(gradient.abs().amax(1, keepdim=True)))

    def learn(self, logits: Tensor, heat: Tensor | None) -> None:
        loss = F.cross_entropy(logits, self.labels)
        if heat is not None:
            loss = loss + F.mse_loss(heat, self.gaze)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


def run(*, batch: int = 4, size: int = 224, repeats: int = 3, threads: int = 1) -> Result:
    """Time training steps with each heatmap's loss and the making of maps, in turns within one run.

    Args:
        batch: Images in a step, and in a call that makes maps.
        size: Side of the images in pixels.
        repeats: Turns; medians are given.
        threads: Number of torch threads.
    """
    torch.set_num_threads(threads)
    attribution.keep_freed_memory()
    rows: list[dict[str, Cell]] = []
    for name, settings in NETWORKS.items():
        case = _case(settings, batch, size)
        for method in METHODS:
            if method in attribution.methods(case.model, size):
                rows.append({"network": name, "method": method, **_compare(case, method, repeats)})
                print("  ", *(f"{key} {value}" for key, value in rows[-1].items()), sep="  ", file=sys.stderr)
        gc.collect()
    return Result(
        "Transformers, ConvNeXt and a DenseNet of one channel",
        "A classifier's training step with a classification loss (plain), and with a heatmap in its loss as "
        "well: ours, and for gradients at the images written straight, with `create_graph=True` and hooks on "
        "activations. Forward, backward and AdamW. Then maps to look at, ours and Captum's. All take turns "
        "in one run; ratios are medians of the turns' ratios. Weights are random.",
        rows,
        {"batch": batch, "size": size, "repeats": repeats, "threads": threads},
        [
            "Captum's guided back-propagation knows ReLU modules alone: on GELU it is the plain gradient. It "
            "has no maps of attention, and its Grad-CAM needs a layer with channels first.",
        ],
    )


def _case(settings: dict[str, object], batch: int, size: int) -> Case:
    torch.manual_seed(0)
    config = models.ModelConfig(architecture="classifier", weights="none", dropout=0.0, **settings)  # type: ignore[arg-type]
    model = models.create(config, 3, size)
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False  # the straight version's hooks need each activation's input
    images = torch.rand(batch, 1, size, size)
    labels = torch.arange(batch) % 3
    return Case(
        model.train(), images, labels, torch.rand_like(images), torch.optim.AdamW(model.parameters(), 1e-6)
    )


def _compare(case: Case, method: str, repeats: int) -> dict[str, Cell]:
    generator = attribution.create(method, case.model)
    steps: dict[str, Callable[[], object]] = {
        "plain": lambda: case.step(None),
        "ours": lambda: case.step(generator),
    }
    if method in ("guided_backprop", "backprop"):
        steps["straight"] = lambda: case.straight(method)
    maps: dict[str, Callable[[], object]] = {"map": lambda: generator(case.images, TARGET)}
    if (peer := _captum(case, method)) is not None:
        maps["Captum's map"] = peer
    times: dict[str, list[float]] = {name: [] for name in (*steps, *maps)}
    for turn in range(repeats + 1):
        for part, training in ((steps, True), (maps, False)):
            case.model.train(training)
            for name, contestant in part.items():
                start = perf_counter()
                contestant()
                if turn:  # the first warms up
                    times[name].append(perf_counter() - start)
    case.model.train()
    return {
        **{f"{name} (s)": median(times[name]) if name in times else "" for name in _COLUMNS},
        "ours / plain": _ratio(times, "ours", "plain"),
        "ours / straight": _ratio(times, "ours", "straight"),
        "map / Captum's": _ratio(times, "map", "Captum's map"),
    }


_COLUMNS = ("plain", "ours", "straight", "map", "Captum's map")


def _captum(case: Case, method: str) -> Callable[[], object] | None:
    class Logits(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.model(images).logits
            return logits

    kinds = {"guided_backprop": attr.GuidedBackprop, "backprop": attr.Saliency}
    if method not in kinds:
        return None
    explain = kinds[method](Logits(case.model))

    def make() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns at each call that it sets hooks
            return explain.attribute(case.images.detach().requires_grad_(), target=TARGET)

    return make


def _ratio(times: dict[str, list[float]], above: str, below: str) -> Cell:
    if above not in times or below not in times:
        return ""
    return median(a / b for a, b in zip(times[above], times[below], strict=True))
