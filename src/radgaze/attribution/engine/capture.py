"""A captured forward pass, differentiated under a rule, from which a generator makes its map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from radgaze.attribution.engine import census, feature_maps
from radgaze.attribution.engine.checks import refuse_without_derivative, why_independent
from radgaze.attribution.engine.feature_maps import Arrange, UnpooledError
from radgaze.attribution.engine.forward_pass import Pass
from radgaze.attribution.engine.rounding import gradient_of_scores
from radgaze.attribution.engine.tokens import TokenGrid, grid_of
from radgaze.attribution.engine.watch import Watch
from radgaze.attribution.rules import BACKPROP, Rule
from radgaze.attribution.targets import ByCase, Target, score_of

HALF_SCALES = (2.0**8, 1.0, 2.0**-8)
"""Factors of the score in float16, of which the first without overflow is used: a case's gradient in one
pixel is near that format's smallest number, and that of a gate, a sum over all pixels, may exceed its
largest."""


@dataclass(frozen=True)
class Capture:
    """One forward pass, ready to be differentiated.

    Attributes:
        watch: The watch of the model.
        pass_: The forward pass.
        output: Output of the model.
        target: A class for each case (B,), or a function of the output.
        create_graph: Whether the map will be differentiated in turn.
        which: Key, attribute or index of the logits in the output, see `logits_of`.
    """

    watch: Watch
    pass_: Pass
    output: object
    target: Target
    create_graph: bool
    which: str | int | None = None

    @property
    def images(self) -> Tensor:
        """The images (B, C, H, W)."""
        assert self.pass_.images is not None
        return self.pass_.images

    @cached_property
    def features(self) -> Tensor:
        """Feature maps (B, C, h, w): of the layer asked for or, without one, those the classifier pools.

        Raises:
            RuntimeError: There are no such maps.
        """
        made, arrange = self.as_made
        return arrange(made)

    @cached_property
    def as_made(self) -> tuple[Tensor, Arrange]:
        """The features as the network made them, perhaps with channels last, and the function that arranges
        them."""
        if self.watch.layer is None:
            return self._pooled()
        made = self.pass_.features
        if made is None:
            raise RuntimeError(
                f"the layer {self.watch.layer!r} did not run in this forward pass, or under torch.no_grad()"
            )
        arrange, assumed = feature_maps.arranged(
            self.watch.layer, made, self.watch.channels, self.watch.reshape, self.grid_of
        )
        if assumed:
            self.watch.warn_once(
                f"nothing tells whether {self.watch.layer} gives {_listed_shape(made)} with its channels "
                "first or last; they are taken to be first: say channels='first' or 'last'"
            )
        return made, arrange

    def _pooled(self) -> tuple[Tensor, Arrange]:
        """The feature maps that the score pools; of a transformer the tokens in front of its last attention.

        With a class token, what the last block gives for patches does not reach the score: the class token
        reads the patches in the attention of that block, as its norm gives them.
        """
        try:
            pooled, dim = feature_maps.pooled(self.score, self.pass_.stages)
        except UnpooledError:
            tokens = self.pass_.tokens
            if tokens is None:
                raise
            return tokens, self.grid_of(tokens.shape[1]).maps
        return pooled, feature_maps.arrangement(dim)

    def grid_of(self, count: int) -> TokenGrid:
        """The grid of a number of tokens.

        Raises:
            GridError: None is known that fits.
        """
        size = (self.images.shape[-2], self.images.shape[-1])
        flattened = (maps for maps, _ in self.pass_.stages if maps.shape[0] == self.images.shape[0])
        return grid_of(count, self.watch.model, size, flattened, self.watch.tokens)

    @property
    def place(self) -> Tensor:
        """The tensor at which a gradient map is made: the features of `layer`, else the images."""
        return self.images if self.watch.layer is None else self.features

    @cached_property
    def score(self) -> Tensor:
        """The sum of the cases' scores, which is differentiated.

        Raises:
            RuntimeError: It has no gradient.
        """
        score = full(self._scores).sum()
        if not score.requires_grad:
            raise RuntimeError(why_independent(score))
        return score

    @cached_property
    def _scores(self) -> Tensor:
        scores = score_of(self.output, self.target, self.which)
        if scores.shape[0] != self.images.shape[0]:
            raise ValueError(
                f"a target function gives one score for each case, ({len(self.images)},); this one gave "
                f"{tuple(scores.shape)}"
            )
        return scores

    def gradient(self, source: Tensor, rule: Rule = BACKPROP) -> Tensor:
        """∂score/∂source under a rule, in the shape of `source`, never in half precision.

        Args:
            source: A tensor of the forward pass: `images`, `features` or `place`.
            rule: The rule that is applied to the activations.

        Raises:
            RuntimeError: The model has no activation to which the rule applies, or the score does not depend
                on `source`.
        """
        if rule is not BACKPROP:
            self._check_matches(rule)
        key = (id(source), rule)
        if not self.create_graph and key in self._differentiated:
            return self._differentiated[key][1]
        arrange: Arrange | None = None
        made = source
        if "features" in self.__dict__ and source is self.features:
            made, arrange = self.as_made
        gradient = self._in_range((made,), rule)
        gradient = gradient if arrange is None else arrange(gradient)
        if not self.create_graph:
            self._differentiated[key] = source, gradient
        return gradient

    @cached_property
    def _differentiated(self) -> dict[tuple[int, Rule], tuple[Tensor, Tensor]]:
        """Each tensor that was differentiated by, with its gradient: several maps may need the same."""
        return {}

    def gradients(self, sources: Sequence[Tensor]) -> list[Tensor]:
        """∂score/∂source for several tensors of the forward pass, (B, …) or (B · heads, …).

        Raises:
            RuntimeError: The score does not depend on one of them.
        """
        batch = self.images.shape[0]  # `len` would fix it in a trace
        joint = self._in_range(sources, BACKPROP).reshape(batch, -1)
        parts = torch.split(joint, [source.numel() // batch for source in sources], 1)
        return [part.reshape(source.shape) for part, source in zip(parts, sources, strict=True)]

    def constant_gradient(self, source: Tensor, rule: Rule = BACKPROP) -> Tensor:
        """Compute the same as `gradient`, without a graph, so that it is a constant in the backward pass."""
        return self._without_graph().gradient(source, rule).detach()

    def constant_gradients(self, sources: Sequence[Tensor]) -> list[Tensor]:
        """Compute the same as `gradients`, constant in the backward pass."""
        return [gradient.detach() for gradient in self._without_graph().gradients(sources)]

    def _without_graph(self) -> Capture:
        without_graph = copy(self)  # with the features and scores that were computed
        object.__setattr__(without_graph, "create_graph", False)
        return without_graph

    def _check_matches(self, rule: Rule) -> None:
        """Refuse a rule that applies to no activation, and warn once of operations that it does not cover."""
        pass_, warn_once = self.pass_, self.watch.warn_once
        counted = f"{rule.name}: counted"  # the graph of another batch has the same operations
        if pass_.activations and counted in self.watch.notices:
            return
        self.watch.notices.add(counted)
        passed_over = census.unruled(self.score, self.images, pass_.unruled)
        if not pass_.activations:
            if not census.depends(self.score, self.images):
                raise RuntimeError(why_independent(self.score))
            raise RuntimeError(
                f"the rule of {rule.name} met no activation it knows: the map would be the plain gradient"
                + (f"; {_listed(passed_over)} it does not know" if passed_over else "")
            )
        if pass_.literal and "relu" not in pass_.activations:
            warn_once(
                f"rule_for='relu': the network's activations are {_listed(pass_.activations)}; none is a "
                f"ReLU, so this map is the plain gradient, not {rule.name}"
            )
        elif 2 * pass_.norms >= sum(pass_.activations.values()) and "relu" not in pass_.activations:
            warn_once(  # transformers and ConvNeXt
                f"{rule.name}: its rule applies to {_listed(pass_.activations)} alone; layer norms, "
                "attention and residual connections pass their plain derivative, so that the map's meaning "
                "is thin: see Transformers in docs/heatmaps.md"
            )
        if passed_over:
            warn_once(f"no rule covers {_listed(passed_over)}: there the plain derivative passes")

    def _in_range(self, sources: Sequence[Tensor], rule: Rule) -> Tensor:
        types = (*(source.dtype for source in sources), self._scores.dtype)
        in_half = torch.float16 in types or _in_float16(self._scores.device.type)
        if not in_half:
            return self._gradient(sources, rule)
        for scale in HALF_SCALES:
            gradient = self._gradient(sources, rule, scale)
            if gradient.isfinite().all():
                break
        return gradient

    def _gradient(self, sources: Sequence[Tensor], rule: Rule, scale: float = 1.0) -> Tensor:
        def differentiate(factor: float, keep_graph: bool) -> Tensor:
            self.pass_.put_in_force(rule)
            try:
                with torch.set_grad_enabled(True):
                    gradients = torch.autograd.grad(
                        self.score * (scale * factor),
                        tuple(sources),
                        create_graph=self.create_graph and keep_graph,
                        retain_graph=True,
                        allow_unused=True,
                    )
            finally:
                self.pass_.put_in_force(None)
            if any(gradient is None for gradient in gradients):
                raise RuntimeError(why_independent(self.score))
            return self._joint(gradients) / (scale * factor)

        if "followed" not in self.watch.notices:  # once for each generator: it walks the graph
            refuse_without_derivative(self.score)
            self.watch.notices.add("followed")
        return gradient_of_scores(differentiate, self._joint(sources), full(self._scores))

    def _joint(self, tensors: Sequence[Tensor]) -> Tensor:
        """Several tensors as one (B, K), so that their rounding is judged together; one alone as it is."""
        if len(tensors) == 1 and tensors[0].shape[0] == self.images.shape[0]:
            return full(tensors[0])
        return torch.cat([full(tensor).reshape(self.images.shape[0], -1) for tensor in tensors], 1)

    def again(self, images: Tensor, cases: Tensor) -> Capture:
        """Capture a forward pass of other images (N, C, H, W) with the same targets.

        Args:
            images: The images; the model runs on them in evaluation mode.
            cases: Index of the batch's case that each belongs to, (N,).
        """
        output, pass_ = self.watch.again(images, cases)
        target = self.target[cases] if isinstance(self.target, Tensor | ByCase) else self.target
        return Capture(self.watch, pass_, output, target, self.create_graph, self.which)


def full(tensor: Tensor) -> Tensor:
    """Convert half precision to float32; float64 stays."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _listed_shape(tensor: Tensor) -> str:
    return "(B, " + ", ".join(map(str, tensor.shape[1:])) + ")"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _in_float16(device: str) -> bool:
    return torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
