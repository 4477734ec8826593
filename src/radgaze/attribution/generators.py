"""Heatmap generators: what an image's class score points at, as a map that can be trained through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from radgaze.attribution import rules
from radgaze.attribution.interception import Interception
from radgaze.attribution.readout import READOUTS, Normalise, normalise
from radgaze.attribution.steps import Pass

Target = int | str | Tensor
Read = Callable[[Tensor, Target], Tensor]

REGISTRY: dict[str, type[Generator]] = {}


def register(name: str) -> Callable[[type[Generator]], type[Generator]]:
    """Give a generator the name it is asked for by."""

    def decorate(cls: type[Generator]) -> type[Generator]:
        REGISTRY[name] = cls
        cls.name = name
        return cls

    return decorate


def names() -> tuple[str, ...]:
    """The generators there are."""
    return tuple(REGISTRY)


def create(name: str, model: nn.Module, **options: Any) -> Generator:
    """The generator of that name for a model.

    Args:
        name: One of `names()`.
        model: Any network of images (B, C, H, W) whose output holds logits: a tensor, a tuple or mapping with
            them first, or an object with an attribute `logits`.
        **options: Fields of the generator, e.g. `normalise="none"` or `rule_for="relu"`.

    Raises:
        ValueError: There is no generator of that name.
    """
    if name not in REGISTRY:
        raise ValueError(f"there is no generator {name!r}; there are {', '.join(names())}")
    return REGISTRY[name](model, **options)


@dataclass
class Generator:
    """Make heatmaps of a model's class scores.

    Called on images it gives maps to look at, detached, with the model in evaluation mode and left as it was
    found. Within `reading` it gives maps to train through, read out of the very forward pass that the other
    losses use.

    Attributes:
        model: The network.
        readout: Name of the reduction over channels, see `readout.READOUTS`.
        normalise: How a map is brought to [0, 1], see `readout.normalise`; "none" leaves it raw.
        through_scale: Whether that scale is differentiated.
        rule_for: "all" activations or, literally, "relu" alone.
        batch_statistics: Batch norm's statistics in the read-out: "held" constant, or "exact".
    """

    model: nn.Module = field(repr=False)
    readout: str = "absolute"
    normalise: Normalise = "max"
    through_scale: bool = False
    rule_for: Literal["all", "relu"] = "all"
    batch_statistics: Literal["held", "exact"] = "held"

    name: ClassVar[str] = ""
    rule: ClassVar[rules.Rule] = rules.BACKPROP
    needs_rule: ClassVar[bool] = False

    def __call__(self, images: Tensor, target: Target = "predicted") -> Tensor:
        """Heatmaps (B, 1, H, W), detached, of images (B, C, H, W).

        The target is one class, one class per case, or "predicted".
        """
        with _evaluating(self.model), self.reading(self.model, create_graph=False) as read:
            logits = logits_of(self.model(images))
            return read(logits, target).detach()

    @contextmanager
    def reading(self, model: nn.Module | None = None, *, create_graph: bool = True) -> Iterator[Read]:
        """Within this context one forward pass of the model can be read out as heatmaps.

        Yields `read(logits, target) -> (B, 1, H, W)`, differentiable with respect to every parameter that the
        score depends on; it may be called several times. The rule is in force only while `read` runs: the
        loss's own backward, inside the context or after it, is exact.

        Raises:
            RuntimeError: `read` before the model ran, or a rule that met no activation.
        """
        model = self.model if model is None else model
        pass_ = Pass()

        def catch(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if not torch.is_grad_enabled():
                return None
            place = next((k for k, a in enumerate(args) if isinstance(a, Tensor) and a.dim() == 4), None)
            if place is None:
                raise RuntimeError(
                    "the model was called without images (B, C, H, W) as a positional argument"
                )
            images = args[place]
            leaf = images if images.requires_grad else images.detach().requires_grad_()
            pass_.images = [leaf]
            return (*args[:place], leaf, *args[place + 1 :]), kwargs

        def read(logits: Tensor, target: Target = "predicted") -> Tensor:
            if not pass_.images:
                raise RuntimeError(
                    "call the model inside `reading` before reading a heatmap out of its logits"
                )
            if self.needs_rule and self.rule_for == "all" and not pass_.applied:
                raise RuntimeError(
                    f"{self.name} met no activation it has a rule for: the map would be the plain gradient"
                )
            score = _full(logits).gather(1, target_index(logits, target)[:, None]).sum()
            heat = self.map(score, pass_, create_graph)
            return normalise(heat, self.normalise, through_scale=self.through_scale)

        handle = model.register_forward_pre_hook(catch, with_kwargs=True)
        try:
            with torch.enable_grad(), Interception(self.rule, pass_, self.rule_for, self.batch_statistics):
                yield read
        finally:
            handle.remove()
            # The graph's nodes hold the pass: were it to hold tensors of the graph on, only the garbage
            # collector would end that circle, steps later, and memory would fill up until then.
            pass_.images, pass_.pooled = [], None

    def map(self, score: Tensor, pass_: Pass, create_graph: bool) -> Tensor:
        """The raw map (B, 1, H, W) of the summed class scores."""
        gradient = _gradient(score, pass_.images[0], pass_, create_graph)
        return READOUTS[self.readout](gradient)


@register("backprop")
class Backprop(Generator):
    """Gradient magnitude, H = max_c |∂y/∂x_c| (Simonyan et al. 2014)."""


@register("deconvnet")
class DeconvNet(Generator):
    """Back-propagation that passes max(g, 0) at each activation (Zeiler and Fergus 2014)."""

    rule = rules.DECONVNET
    needs_rule = True


@register("guided_backprop")
class GuidedBackprop(Generator):
    """Back-propagation that passes max(g, 0)·[x > 0]·a'(x) at each activation (Springenberg et al. 2015)."""

    rule = rules.GUIDED
    needs_rule = True


@register("grad_cam")
class GradCAM(Generator):
    """H = max(Σ_k α_k A_k, 0), α_k the mean of ∂y/∂A_k over the map (Selvaraju et al. 2017, eq. 1 and 2).

    A is what the classifier's global pooling sees, found during the forward pass. The weights α are
    differentiated too. The map is enlarged to the image by bilinear interpolation.
    """

    def map(self, score: Tensor, pass_: Pass, create_graph: bool) -> Tensor:
        if pass_.pooled is None:
            raise RuntimeError(
                "grad_cam found no global pooling in the forward pass to take its feature maps from"
            )
        features = pass_.pooled
        alpha = _gradient(score, features, pass_, create_graph).mean((2, 3), keepdim=True)
        cam = (alpha * features).sum(1, keepdim=True).clamp(min=0)
        size = pass_.images[0].shape[-2:]
        return nn.functional.interpolate(_full(cam), size=size, mode="bilinear", align_corners=False)


def logits_of(output: Any) -> Tensor:
    """The logits (B, C) in an output: a tensor, an object with `logits`, or first in a tuple or mapping."""
    if isinstance(output, Tensor):
        return output
    if hasattr(output, "logits"):
        return logits_of(output.logits)
    if isinstance(output, dict):
        return logits_of(output.get("logits", next(iter(output.values()))))
    return logits_of(output[0])


def target_index(logits: Tensor, target: Target) -> Tensor:
    """Class index (B,) of each case's target.

    Raises:
        ValueError: An unknown word, or a tensor of another length than the batch.
    """
    batch = logits.shape[0]
    if isinstance(target, str):
        if target != "predicted":
            raise ValueError(f"target is a class index, one for each case, or 'predicted'; not {target!r}")
        return logits.detach().argmax(1)
    if isinstance(target, int):
        return torch.full((batch,), target, device=logits.device)
    if target.shape != (batch,):
        raise ValueError(f"targets have the shape {tuple(target.shape)}, but the batch holds {batch} cases")
    return target.to(logits.device, torch.long)


def _full(tensor: Tensor) -> Tensor:
    """Half precision to float32; float64 stays."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _gradient(score: Tensor, of: Tensor, pass_: Pass, create_graph: bool) -> Tensor:
    pass_.reading = True
    try:
        return torch.autograd.grad(score, of, create_graph=create_graph, retain_graph=True)[0]
    finally:
        pass_.reading = False


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, parameters without gradient; each module and parameter is put back as it was."""
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in wanted:
            parameter.requires_grad_(flag)
