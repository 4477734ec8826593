"""The base class of heatmap generators: differentiable maps of a class score."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import ClassVar, Literal, Protocol, get_args

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from radgaze.attribution import rules
from radgaze.attribution.engine import turns
from radgaze.attribution.engine.capture import Capture, full
from radgaze.attribution.engine.checks import check_images, check_model
from radgaze.attribution.engine.feature_maps import CHANNELS, Arrange, Channels, layer_name
from radgaze.attribution.engine.forward_pass import Pass
from radgaze.attribution.engine.interception import Interception
from radgaze.attribution.engine.modes import compares_cases, evaluating
from radgaze.attribution.engine.swaps import Swaps
from radgaze.attribution.engine.tokens import check_named
from radgaze.attribution.engine.watch import Watch
from radgaze.attribution.readout import READOUTS, Normalise, enlarge, normalise
from radgaze.attribution.targets import Target, as_labels, logits_of, target_index
from radgaze.attribution.tracing import is_traced

RuleFor = Literal["all", "relu"]
Gates = Literal["plain", "held", "ruled"]
Statistics = Literal["held", "exact"]

PLACES_ON_CPU = 2**19
"""Most places of the images of one forward pass on a CPU, 10 cases at 224²: many cases share the fixed cost
of a pass, and memory stays bounded."""


class Read(Protocol):
    """Make a heatmap (B, 1, H, W) of a captured forward pass, given its output or logits (B, C)."""

    def __call__(
        self, output: object, target: Target = "predicted", labels: Tensor | None = None
    ) -> Tensor: ...


@dataclass
class Generator:
    """Make heatmaps of a model's class scores.

    Called on images, a generator returns detached maps, made with the model in evaluation mode; the model is
    left unchanged. Within `capture` it makes maps to train through, from the same forward pass that the other
    losses use. `create` makes the generator of a name.

    Attributes:
        model: The network, of images (B, C, H, W).
        layer: Module, or its dotted name, at whose output (B, C, h, w) the map is made; the map is then
            enlarged to the images. None means the images or, for class-activation maps, the feature maps that
            the classifier pools.
        channels: Whether that output has its channels "first", (B, C, h, w), or "last", (B, h, w, C); "auto"
            follows the network's graph to the layer that made them.
        reshape: Function that makes feature maps (B, C, h, w) of another output of the layer, such as tokens
            (B, N, C). It may only rearrange and drop values, as it is applied to the gradient too. None means
            that the output is used as it is.
        tokens: Order of a transformer's tokens (B, N, C), (prefix, h, w): the number of class and register
            tokens in front, and the grid of patches. None means that it is found, see `engine.tokens`.
        output: Key, attribute or index of the logits in the model's output. None means that they are found as
            described at `logits_of`. A target function gets the whole output.
        readout: Name of the reduction over channels, one of `readout.READOUTS`.
        normalise: Scaling of each map to [0, 1], see `readout.normalise`; "none" leaves it raw.
        through_scale: Whether the loss's gradient also flows through the scale; otherwise it is constant.
        rule_for: Activations to which the rule applies: "all", or "relu" for ReLU alone.
        gates: Treatment of the sigmoid gates of squeeze-and-excitation when the map is made: "plain" passes
            their derivative, "held" treats them as constants, so that the block is linear, and "ruled"
            applies the rule to them as to any activation.
        batch_statistics: Treatment of batch norm's statistics of the batch when the map is made: "held"
            treats them as constants, "exact" differentiates them.
        compiled: Whether the rules' formulas are compiled by `torch.compile`, which takes some seconds once
            and needs a C++ compiler, or Triton on a GPU. They are compared with the uncompiled ones first; if
            they differ or fail, a warning says so, and the uncompiled ones are used.

    Raises:
        ValueError: An option has an unknown value, the model is no module or has no such layer, or the whole
            model was compiled by `torch.compile`.
    """

    model: nn.Module = field(repr=False)
    layer: str | nn.Module | None = None
    channels: Channels = "auto"
    reshape: Arrange | None = field(default=None, repr=False)
    tokens: tuple[int, int, int] | None = None
    output: str | int | None = None
    readout: str = "absolute"
    normalise: Normalise = "max"
    through_scale: bool = False
    rule_for: RuleFor = "all"
    gates: Gates = "plain"
    batch_statistics: Statistics = "held"
    compiled: bool = False

    _notices: set[str] = field(init=False, repr=False, compare=False, default_factory=set)
    _as_given: bool = field(init=False, repr=False, compare=False, default=False)

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    """Name on a figure."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Names of outputs that the model must have beside the logits, such as `class_maps`; the model lists them
    in an attribute `provides`."""
    rule: ClassVar[rules.Rule] = rules.BACKPROP
    differentiable: ClassVar[bool] = True
    without: ClassVar[tuple[str, ...]] = ()
    """Names of the options above that do not apply to this generator."""

    def __post_init__(self) -> None:
        for option, allowed in _CHOICES.items():
            check_option(option, getattr(self, option), allowed)
        check_named(self.tokens)
        for model in (self.model, bare(self.model)):
            check_model(model)
        self.layer = layer_name(bare(self.model), self.layer)
        if self.layer is None and (self.channels != "auto" or self.reshape is not None):
            raise ValueError("channels and reshape are of a layer: name it, layer=…")

    @property
    def is_plain(self) -> bool:
        """Whether a map that is only looked at needs nothing but the plain gradient at the images."""
        by_rule = type(self).attribute is not Generator.attribute or self.rule is not rules.BACKPROP
        return self.layer is None and not by_rule

    @property
    def reads_attention(self) -> bool:
        """Whether the attention matrices of the forward pass are recorded."""
        return False

    @property
    def sampled(self) -> Hashable:
        """The images that the model runs on beside those explained; None for none, see `together`."""
        return None

    @classmethod
    def unsupported(cls, model: nn.Module, size: int = 64) -> str | None:
        """The reason why this generator does not apply to a model; None if it applies.

        Args:
            model: The network; an attribute `lacks` has the reasons that are known already, by generator.
            size: Side of its images in pixels.
        """
        reason = getattr(bare(model), "lacks", {}).get(cls.name)
        if reason is not None:
            return str(reason)
        provided = getattr(bare(model), "provides", ())
        missing = [name for name in cls.needs if name not in provided]
        return f"the model gives no {' and no '.join(_spaced(missing))}" if missing else None

    def __call__(
        self,
        images: Tensor,
        target: Target = "predicted",
        labels: Tensor | None = None,
        *,
        also: Sequence[Tensor] = (),
    ) -> Tensor:
        """Make heatmaps of images.

        Args:
            images: Images (B, C, H, W), of floating point and scaled as the model expects them.
            target: Class that is explained: a class index, an index for each case (B,), "predicted", "true"
                (with labels), or a function of the model's output that returns a score for each case (B,).
            labels: Labels for the target "true": class indices (B,), or (B, C) with 1 for each class of a
                case.
            also: Further arguments of the model after the images, of shape (B, …) each.

        Returns:
            Detached maps (B, 1, H, W), in [0, 1] unless `normalise` is "none".

        Raises:
            ValueError: The images, targets or labels have a wrong shape or type, or the target is no class.
            RuntimeError: The score does not depend on the images, or the model has no activation to which the
                rule applies.
        """
        return self.explain([self], images, target, labels, also)[0]

    def explain(
        self,
        generators: Sequence[Generator],
        images: Tensor,
        target: Target,
        labels: Tensor | None,
        also: Sequence[Tensor],
    ) -> list[Tensor]:
        """Make detached heatmaps (B, 1, H, W) of generators that `look` at the same forward passes."""
        check_images(images)
        labels = None if labels is None else as_labels(labels)
        if isinstance(target, Tensor) and target.dim() == 0:
            target = target.expand(len(images))
        given = [
            ("targets", target),
            ("labels", labels),
            *(("what the model is called with", a) for a in also),
        ]
        for name, value in given:
            if isinstance(value, Tensor) and len(value) != len(images):
                shape = tuple(value.shape)
                raise ValueError(f"{name} have the shape {shape}, but the batch holds {len(images)} cases")
        model = bare(self.model)
        parts = []
        with turns.alone(model, held=True), turns.undisturbed(), evaluating(model, parameters=True):
            at_once = len(images) if compares_cases(model) else _at_once(images)
            for k in range(0, len(images), at_once):
                part = slice(k, k + at_once)
                targets = target[part] if isinstance(target, Tensor) else target
                part_labels = None if labels is None else labels[part]
                arguments = (images[part], targets, part_labels, [a[part] for a in also])
                parts.append(
                    [self.look(model, *arguments)]
                    if len(generators) == 1
                    else self.look_together(generators, model, *arguments)
                )
        return [torch.cat(maps) for maps in zip(*parts, strict=True)]

    def look(
        self, model: nn.Module, images: Tensor, target: Target, labels: Tensor | None, also: Sequence[Tensor]
    ) -> Tensor:
        """Make detached maps (B, 1, H, W) of a part of a batch.

        Args:
            model: The network without a wrapper, in evaluation mode.
            images: Images (B, C, H, W).
            target: See `__call__`.
            labels: See `__call__`.
            also: Further arguments of the model after the images.
        """
        return self.look_together([self], model, images, target, labels, also)[0]

    def look_together(
        self,
        generators: Sequence[Generator],
        model: nn.Module,
        images: Tensor,
        target: Target,
        labels: Tensor | None,
        also: Sequence[Tensor],
    ) -> list[Tensor]:
        """Make detached maps as `look` does, of several generators of the same options and `sampled`."""

        def looked() -> list[Tensor]:
            plain = all(each.is_plain and type(each).map is Generator.map for each in generators)
            with self._watched(model, False, images, plain=plain) as watch:
                read = self._read(watch, model(images, *also), target, labels, create_graph=False)
                with watch.listening():
                    maps = self.maps(read, generators)
                return [each.scaled(heat).detach() for each, heat in zip(generators, maps, strict=True)]

        try:
            return looked()
        except RuntimeError as error:
            if self._as_given or _NO_VIEW not in str(error):
                raise
        self._as_given = True  # the model looks at feature maps as if they lay in memory channel by channel
        return looked()

    def maps(self, read: Capture, generators: Sequence[Generator]) -> list[Tensor]:
        """The maps (B, 1, H, W) before scaling of several generators of the same `sampled`."""
        return [each.map(read) for each in generators]

    def scaled(self, heat: Tensor) -> Tensor:
        """Scale a map (B, 1, H, W) as `normalise` says."""
        return normalise(heat, self.normalise, through_scale=self.through_scale)

    @contextmanager
    def capture(self, model: nn.Module | None = None, *, create_graph: bool = True) -> Iterator[Read]:
        """Capture the model's next forward pass, to make differentiable heatmaps of it.

        The rule applies only while `read` runs: the loss's own backward pass, inside the context or after it,
        is exact, also in models that recompute their activations (`torch.utils.checkpoint`, not re-entrant).

        Args:
            model: The network as the training step calls it, e.g. wrapped for several processes; None for
                the generator's own.
            create_graph: Whether the maps will be differentiated.

        Yields:
            `read(output, target="predicted", labels=None)`, which returns maps (B, 1, H, W), differentiable
            with respect to every parameter that the score depends on; it may be called several times.

        Raises:
            ValueError: The model is no module, or was compiled as a whole by `torch.compile`.
            RuntimeError: `read` was called before the model ran, the score does not depend on the images, or
                the model has no activation to which the rule applies.
        """
        called = self.model if model is None else model
        check_model(called)
        with self._watched(bare(called), create_graph) as watch:

            def read(output: object, target: Target = "predicted", labels: Tensor | None = None) -> Tensor:
                captured = self._read(watch, output, target, labels, create_graph=create_graph)
                with watch.listening():
                    heat = self.map(captured)
                return self.scaled(heat)

            yield read

    def _read(
        self, watch: Watch, output: object, target: Target, labels: Tensor | None, *, create_graph: bool
    ) -> Capture:
        """The forward pass that a watch has kept, with the class that is explained."""
        if watch.pass_.images is None:
            raise RuntimeError("call the model inside `capture` before reading a heatmap out of its output")
        if not callable(target):
            target = target_index(logits_of(output, self.output), target, labels)
        return Capture(watch, watch.pass_, output, target, create_graph, self.output)

    @contextmanager
    def _watched(
        self, model: nn.Module, create_graph: bool, of: Tensor | None = None, *, plain: bool = False
    ) -> Iterator[Watch]:
        """Watch the forward passes of a bare model.

        Args:
            model: The model.
            create_graph: Whether the maps will be differentiated.
            of: Images that maps are only looked at of; None for maps to train through.
            plain: Whether all maps are those of a plain gradient at the images.
        """

        def new_pass() -> Pass:
            return Pass(
                literal=self.rule_for == "relu",
                gates=self.gates,
                only_looked_at=not create_graph,
                channels_last=of is not None and not self._as_given,
                records=self.reads_attention,
                compiled=self.compiled,
            )

        def interception() -> Interception | Swaps:
            swapped = plain and self.gates == "plain"
            if of is None or is_traced() or not swapped or self.reads_attention or compares_cases(model):
                return Interception(new_pass(), self.batch_statistics)
            return Swaps(model, new_pass(), self.batch_statistics, of.shape[2:].numel() * len(of))

        layer = layer_name(model, self.layer)
        features = (self.channels, self.reshape, self.tokens, self._notices)
        with torch.enable_grad(), Watch(model, layer, new_pass, interception(), *features) as watch:
            yield watch

    def map(self, read: Capture) -> Tensor:
        """The map (B, 1, H, W) of a forward pass before scaling: its attribution, read out and enlarged."""
        return self.read_out(self.attribute(read), read)

    def read_out(self, attribution: Tensor, read: Capture) -> Tensor:
        """Reduce an attribution (B, K, h, w) to a map (B, 1, H, W)."""
        return enlarge(READOUTS[self.readout](full(attribution)), read.images.shape[-2:])

    def attribute(self, read: Capture) -> Tensor:
        """The signed attribution at each position, (B, K, h, w): the gradient under the generator's rule."""
        return read.gradient(read.place, self.rule)


_CHOICES: dict[str, tuple[str, ...]] = {
    "channels": CHANNELS,
    "readout": tuple(READOUTS),
    "normalise": get_args(Normalise),
    "rule_for": get_args(RuleFor),
    "gates": get_args(Gates),
    "batch_statistics": get_args(Statistics),
}


_NO_VIEW = "view size is not compatible with"
"""What torch says where a tensor is viewed that lies in memory in another order."""


def check_option(name: str, value: str, allowed: Sequence[str]) -> None:
    """Check the value of an option.

    Raises:
        ValueError: The value is not one of those allowed.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


def _at_once(images: Tensor) -> int:
    """The number of cases per forward pass: a case's map does not depend on the others."""
    if images.device.type != "cpu":
        return len(images)
    most = max(PLACES_ON_CPU // max(images.shape[-2:].numel(), 1), 1)
    return ceil(len(images) / ceil(len(images) / most))  # parts of about one size


def bare(model: nn.Module) -> nn.Module:
    """The network itself, without its wrapper for several processes."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def _spaced(names: Sequence[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]
