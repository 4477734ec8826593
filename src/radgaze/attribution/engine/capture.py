"""A captured forward pass, differentiated under a rule: what a generator makes its map from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from radgaze.attribution.engine import census, feature_maps
from radgaze.attribution.engine.checks import refuse_without_derivative, why_independent
from radgaze.attribution.engine.feature_maps import Arrange
from radgaze.attribution.engine.forward_pass import Pass
from radgaze.attribution.engine.rounding import gradient_of_scores
from radgaze.attribution.engine.watch import Watch
from radgaze.attribution.rules import BACKPROP, Rule
from radgaze.attribution.targets import Target, score_of

HALF_SCALES = (2.0**8, 1.0, 2.0**-8)
"""Of the score in float16, the first with which nothing overflows: a case's gradient in one pixel is near
that format's smallest number, and that of a gate, a sum over all pixels, may be beyond its largest."""


@dataclass(frozen=True)
class Capture:
    """One forward pass, ready to be differentiated.

    Attributes:
        watch: Where the model runs.
        pass_: The forward pass.
        output: What the model gave.
        target: A class for each case (B,), or a function of the output.
        create_graph: Whether what is read out will be differentiated in turn.
        which: Where the logits are in the output, see `logits_of`.
    """

    watch: Watch
    pass_: Pass
    output: Any
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
        """Feature maps (B, C, h, w): of the layer asked for or, with none, what the classifier pools.

        Raises:
            RuntimeError: There are no such maps.
        """
        made, arrange = self.as_made
        return arrange(made)

    @cached_property
    def as_made(self) -> tuple[Tensor, Arrange]:
        """The same as the network has made them, perhaps with the channels last, and what arranges them."""
        if self.watch.layer is None:
            found, dim = feature_maps.pooled(self.score, self.pass_.stages)
            return found, feature_maps.arrangement(dim)
        made = self.pass_.features
        if made is None:
            raise RuntimeError(
                f"the layer {self.watch.layer!r} did not run in this forward pass, or under torch.no_grad()"
            )
        arrange, assumed = feature_maps.arranged(
            self.watch.layer, made, self.watch.channels, self.watch.reshape
        )
        if assumed:
            self.watch.tell(
                f"nothing tells whether {self.watch.layer} gives {_listed_shape(made)} with its channels "
                "first or last; they are taken to be first: say channels='first' or 'last'"
            )
        return made, arrange

    @property
    def place(self) -> Tensor:
        """Where a gradient map is made: at the layer asked for, else at the images."""
        return self.images if self.watch.layer is None else self.features

    @cached_property
    def score(self) -> Tensor:
        """What is differentiated: the cases' scores, summed.

        Raises:
            RuntimeError: They depend on nothing.
        """
        score = full(self._scores).sum()
        if not score.requires_grad:
            raise RuntimeError(why_independent(score))
        return score

    @cached_property
    def _scores(self) -> Tensor:
        scores = score_of(self.output, self.target, self.which)
        if len(scores) != len(self.images):
            raise ValueError(
                f"a target function gives one score for each case, ({len(self.images)},); this one gave "
                f"{tuple(scores.shape)}"
            )
        return scores

    def gradient(self, of: Tensor, rule: Rule = BACKPROP) -> Tensor:
        """∂score/∂of under a rule, in the shape of `of`, never in half precision.

        Raises:
            RuntimeError: The rule met no activation, or the score does not depend on `of`.
        """
        if rule is not BACKPROP:
            self._check_matches(rule)
        arrange: Arrange | None = None
        if "features" in self.__dict__ and of is self.features:
            of, arrange = self.as_made
        found = self._in_range(of, rule)
        return found if arrange is None else arrange(found)

    def _check_matches(self, rule: Rule) -> None:
        """Refuse a rule that meets nothing, and tell once what it does not reach."""
        pass_, tell = self.pass_, self.watch.tell
        counted = f"{rule.name}: counted"  # the graph of another batch has the same operations
        if pass_.activations and counted in self.watch.told:
            return
        self.watch.told.add(counted)
        passed_over = census.unruled(self.score, self.images, pass_.unruled)
        if not pass_.activations:
            if not census.depends(self.score, self.images):
                raise RuntimeError(why_independent(self.score))
            raise RuntimeError(
                f"the rule of {rule.name} met no activation it knows: the map would be the plain gradient"
                + (f"; {_listed(passed_over)} it does not know" if passed_over else "")
            )
        if pass_.literal and "relu" not in pass_.activations:
            tell(
                f"rule_for='relu': the network's activations are {_listed(pass_.activations)}; none is a "
                f"ReLU, so this map is the plain gradient, not {rule.name}"
            )
        if passed_over:
            tell(f"no rule covers {_listed(passed_over)}: there the plain derivative passes")

    def _in_range(self, of: Tensor, rule: Rule) -> Tensor:
        in_half = torch.float16 in (of.dtype, self._scores.dtype) or _in_float16(of.device.type)
        if not in_half:
            return self._gradient(of, rule)
        for scale in HALF_SCALES:
            gradient = self._gradient(of, rule, scale)
            if gradient.isfinite().all():
                break
        return gradient

    def _gradient(self, of: Tensor, rule: Rule, scale: float = 1.0) -> Tensor:
        def differentiate(factor: float, kept: bool) -> Tensor:
            self.pass_.put_in_force(rule)
            try:
                with torch.set_grad_enabled(True):
                    (gradient,) = torch.autograd.grad(
                        self.score * (scale * factor),
                        of,
                        create_graph=self.create_graph and kept,
                        retain_graph=True,
                        allow_unused=True,
                    )
            finally:
                self.pass_.put_in_force(None)
            if gradient is None:
                raise RuntimeError(why_independent(self.score))
            return full(gradient) / (scale * factor)

        if "followed" not in self.watch.told:  # once for each generator: it walks the graph
            refuse_without_derivative(self.score)
            self.watch.told.add("followed")
        return gradient_of_scores(differentiate, of, full(self._scores))

    def again(self, images: Tensor, cases: Tensor) -> Capture:
        """The same question asked of other images (N, C, H, W), each of one of the batch's cases (N,)."""
        output, pass_ = self.watch.again(images, cases)
        target = self.target[cases] if isinstance(self.target, Tensor) else self.target
        return Capture(self.watch, pass_, output, target, self.create_graph, self.which)


def full(tensor: Tensor) -> Tensor:
    """Half precision to float32; float64 stays."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _listed_shape(tensor: Tensor) -> str:
    return "(B, " + ", ".join(map(str, tensor.shape[1:])) + ")"


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))


def _in_float16(device: str) -> bool:
    return torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
