"""Watching a forward pass, and differentiating it under a rule: what a generator makes its map from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from radgaze.attribution import census, feature_maps, turns
from radgaze.attribution.feature_maps import Arrange, Channels
from radgaze.attribution.graph import name_of, walk
from radgaze.attribution.interception import Interception
from radgaze.attribution.modes import evaluating
from radgaze.attribution.rounding import gradient_of_scores
from radgaze.attribution.rules import BACKPROP, Rule
from radgaze.attribution.steps import Pass
from radgaze.attribution.synchronised import refuse_hidden_statistics
from radgaze.attribution.targets import Target, score_of
from radgaze.attribution.telling import warn_user

HALF_SCALES = (2.0**8, 1.0, 2.0**-8)
"""Of the score in float16, the first with which nothing overflows: a case's gradient in one pixel is near
that format's smallest number, and that of a gate, a sum over all pixels, may be beyond its largest."""


class Watch:
    """While it is entered, the model's forward passes are intercepted, and the last one can be read out.

    Args:
        model: The network.
        layer: Name of the module whose output is kept as `Pass.features`.
        channels: Where that output has its channels.
        reshape: What makes feature maps (B, C, h, w) of it.
        told: What has been counted and warned of, and is not again.
        new_pass: Makes the state of a forward pass.
        batch_statistics: As for `Interception`.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str | None,
        new_pass: Callable[[], Pass],
        batch_statistics: Literal["held", "exact"],
        channels: Channels = "auto",
        reshape: Arrange | None = None,
        told: set[str] | None = None,
    ) -> None:
        self.model, self.layer, self._new_pass = model, layer, new_pass
        self.channels, self.reshape = channels, reshape
        self._interception = Interception(new_pass(), batch_statistics)
        self._hooks: list[Any] = []
        self.told: set[str] = set() if told is None else told
        self._passes: list[Pass] = []
        self._call: tuple[int, tuple[Any, ...], dict[str, Any]] = (0, (), {})
        self._held, self._eager = ExitStack(), ExitStack()
        self._depth, self._thread = 0, threading.get_ident()

    @property
    def pass_(self) -> Pass:
        """The last forward pass."""
        return self._interception.pass_

    def __enter__(self) -> Self:
        refuse_hidden_statistics(self.model)
        refuse_compiled(self.model)
        self._held.enter_context(turns.alone(self.model))
        turns.HERE.watches.append(self)
        self._held.enter_context(turns.listening(self._interception))
        self._hooks = [
            self.model.register_forward_pre_hook(self._catch, with_kwargs=True),
            self.model.register_forward_hook(self._done, always_call=True),
        ]
        if self.layer is not None:
            self._hooks.append(self.model.get_submodule(self.layer).register_forward_hook(self._keep))
        self._interception.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._interception.__exit__(*error)
        for hook in self._hooks:
            hook.remove()
        for pass_ in self._passes:
            pass_.forget()
        self._call = (0, (), {})
        turns.HERE.watches.remove(self)
        if self in turns.HERE.running:  # it was interrupted
            turns.HERE.running.remove(self)
        self._eager.close()
        self._held.close()

    def again(self, images: Tensor, cases: Tensor) -> Any:
        """The model's output for other images (N, C, H, W), each of one of the batch's cases (N,).

        The model runs in evaluation mode: no running statistic moves, nothing is dropped, and a case's result
        does not depend on its neighbours. Its other arguments are those of the last call.
        """
        place, args, kwargs = self._call
        batch = len(args[place])

        def chosen(value: Any) -> Any:
            is_of_batch = isinstance(value, Tensor) and value.dim() and len(value) == batch
            return value[cases] if is_of_batch else value

        before = [images if k == place else chosen(value) for k, value in enumerate(args)]
        kept, outer = self._call, self._interception.pass_
        self._interception.around = partial(evaluating, self.model)
        try:
            with turns.undisturbed(self, listens=self._interception), evaluating(self.model):
                return self.model(
                    *before, **{key: chosen(value) for key, value in kwargs.items()}
                ), self.pass_
        finally:
            self._call, self._interception.pass_ = kept, outer
            self._interception.around = nullcontext

    def listening(self) -> AbstractContextManager[None]:
        """Within it what is computed belongs to this reading."""
        return turns.listening(self._interception)

    def _here(self) -> bool:
        """Whether it is this reading that a module's call belongs to."""
        return torch.is_grad_enabled() and self in turns.HERE.watches

    def tell(self, text: str) -> None:
        """Warn, once for each generator, at the line of the user's that asked for the map."""
        if text not in self.told:
            self.told.add(text)
            warn_user(text)

    def _catch(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        again = torch._C._current_graph_task_id() != -1  # computed again, within a backward
        if torch.is_grad_enabled() and not again and threading.get_ident() != self._thread:
            raise RuntimeError(
                "the model runs in another thread than the one that reads its heatmaps: run it in the thread "
                "that entered `reading`, or without gradients"
            )
        if not self._here():
            return None
        self._depth += not again
        if self._depth > 1:  # the model calls itself
            return None
        place = next((k for k, a in enumerate(args) if isinstance(a, Tensor) and a.dim() == 4), None)
        if place is None:
            named = [key for key, a in kwargs.items() if isinstance(a, Tensor) and a.dim() == 4]
            raise RuntimeError(
                "the model was called without images (B, C, H, W) as a positional argument"
                + (f": call model(images), not model({named[0]}=images)" if named else "")
            )
        images: Tensor = args[place]
        if again:
            leaf = images if images.requires_grad else images.detach().requires_grad_()
            return (*args[:place], leaf, *args[place + 1 :]), kwargs
        check_images(images)
        pass_ = self._interception.pass_ = self._new_pass()
        pass_.evaluating = not self.model.training
        if turns.HERE.running:
            turns.HERE.running[-1].include(self)
        turns.HERE.running.append(self)
        turns.HERE.listens = self._interception
        self._eager.enter_context(turns.eagerly())
        self._passes.append(pass_)
        pass_.own_leaf = not images.requires_grad
        pass_.images = images.detach().requires_grad_() if pass_.own_leaf else images
        self._call = (place, args, kwargs)
        return (*args[:place], pass_.images, *args[place + 1 :]), kwargs

    def _done(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self._depth or not self._here() or torch._C._current_graph_task_id() != -1:
            return
        self._depth -= 1
        running = turns.HERE.running
        if self._depth or not (running and running[-1] is self):
            return
        running.pop()
        self._eager.close()
        if running:
            running[-1].pass_.take_over(self.pass_)
            turns.HERE.listens = running[-1]._interception

    def include(self, inner: Watch) -> None:
        """Take a forward pass that another reading watches for a part of this one's, which it runs within.

        Raises:
            RuntimeError: The two are to treat it differently.
        """
        outer, own = self.pass_, inner.pass_
        alike = (outer.literal, outer.gates, self._interception.batch_statistics) == (
            own.literal,
            own.gates,
            inner._interception.batch_statistics,
        )
        if not alike:
            raise RuntimeError(
                "readings of one forward pass have the same rule_for, gates, batch_statistics; these differ"
            )
        own.only_looked_at = own.only_looked_at and outer.only_looked_at
        outer.inner.append(own)

    def _keep(self, module: nn.Module, args: Any, output: Any) -> Tensor | None:
        if not self._here():
            return None
        if not isinstance(output, Tensor):
            inside = ", ".join(name for name, _ in module.named_children()) or "none"
            raise RuntimeError(
                f"the layer {self.layer!r} gives a {type(output).__name__}, not one tensor: name another, "
                f"such as one of its modules ({inside})"
            )
        if torch._C._current_graph_task_id() == -1:  # else it is computed again, within a backward
            self.pass_.features = output
        return output.clone()  # what follows may overwrite it


@dataclass(frozen=True)
class Reading:
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
            raise RuntimeError(_why_independent(score))
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
                raise RuntimeError(_why_independent(self.score))
            return full(gradient) / (scale * factor)

        if self.create_graph:  # a training step: its loss does not scale a map to 1 by itself
            return differentiate(1.0, True)
        return gradient_of_scores(differentiate, of, full(self._scores))

    def again(self, images: Tensor, cases: Tensor) -> Reading:
        """The same question asked of other images (N, C, H, W), each of one of the batch's cases (N,)."""
        output, pass_ = self.watch.again(images, cases)
        target = self.target[cases] if isinstance(self.target, Tensor) else self.target
        return Reading(self.watch, pass_, output, target, self.create_graph, self.which)


def refuse_compiled(model: nn.Module) -> None:
    """Refuse a model that torch.compile has made.

    Raises:
        ValueError: It is one. Of one with compiled parts these run as they were written instead.
    """
    if hasattr(model, "_orig_mod") or model._compiled_call_impl is not None:
        raise ValueError("no rule reaches what torch.compile has made of the model, or of a part of it")


def full(tensor: Tensor) -> Tensor:
    """Half precision to float32; float64 stays."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def check_images(images: Tensor) -> None:
    """Refuse what is no batch of images.

    Raises:
        ValueError: There are none, or they are whole numbers.
    """
    if not len(images):
        raise ValueError("the batch holds no images")
    if not images.is_floating_point():
        raise ValueError(
            f"images are floating-point numbers, scaled as the model is used to; these are {images.dtype}"
        )


def _why_independent(score: Tensor) -> str:
    """What to say where a score has no gradient in what it is asked for."""
    text = "the class score does not depend on what its gradient is asked for"
    if any(name_of(node) in ("WarnNotImplemented", "NotImplemented") for node in walk(score.grad_fn)):
        return f"{text}: an operation has no gradient, as those of quantised layers; use the float model"
    if not score.requires_grad:
        return f"{text}: the model, or what makes its score, ran under torch.no_grad() or detached it"
    return f"{text}: it ran beside it, under torch.no_grad(), or was detached"


def _listed_shape(tensor: Tensor) -> str:
    return "(B, " + ", ".join(map(str, tensor.shape[1:])) + ")"


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))


def _in_float16(device: str) -> bool:
    return torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
