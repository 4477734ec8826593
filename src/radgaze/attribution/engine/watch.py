"""Watch the forward passes of a model, and keep the tensors that a heatmap is read out of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from radgaze.attribution.engine import turns
from radgaze.attribution.engine.activations import Arguments, Keywords
from radgaze.attribution.engine.checks import check_images, check_model
from radgaze.attribution.engine.feature_maps import Arrange, Channels
from radgaze.attribution.engine.forward_pass import Pass
from radgaze.attribution.engine.interception import Interception
from radgaze.attribution.engine.modes import evaluating
from radgaze.attribution.engine.notices import warn_user
from radgaze.attribution.engine.swaps import Swaps
from radgaze.attribution.engine.sync_batch_norm import refuse_hidden_statistics


class Watch:
    """Context manager in which the model's forward passes are intercepted and the last one is kept.

    Args:
        model: The network.
        layer: Name of the module whose output is kept as `Pass.features`.
        channels: Where that output has its channels.
        reshape: Function that makes feature maps (B, C, h, w) of it.
        tokens: Prefix tokens and grid of its tokens (B, N, C), where they are not to be found.
        notices: Names and texts of what has been counted and warned of, once for each generator.
        new_pass: Function that makes the state of a forward pass.
        interception: The mode that the forward passes run under.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str | None,
        new_pass: Callable[[], Pass],
        interception: Interception | Swaps,
        channels: Channels = "auto",
        reshape: Arrange | None = None,
        tokens: tuple[int, int, int] | None = None,
        notices: set[str] | None = None,
    ) -> None:
        self.model, self.layer, self._new_pass = model, layer, new_pass
        self.channels, self.reshape, self.tokens = channels, reshape, tokens
        self._interception = interception
        self._hooks: list[RemovableHandle] = []
        self.notices: set[str] = set() if notices is None else notices
        self._passes: list[Pass] = []
        self._call: tuple[int, Arguments, Keywords] = (0, (), {})
        self._held, self._eager, self._entered = ExitStack(), ExitStack(), ExitStack()
        self._depth, self._thread = 0, threading.get_ident()

    @property
    def pass_(self) -> Pass:
        """The last forward pass."""
        return self._interception.pass_

    def __enter__(self) -> Self:
        refuse_hidden_statistics(self.model)
        check_model(self.model)
        try:
            self._begin()
        except BaseException:  # also an interrupt, or an unknown layer: nothing stays behind
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        self._held.enter_context(turns.alone(self.model))
        turns.HERE.watches.append(self)
        self._held.enter_context(turns.listening(self._interception))
        self._hooks = [
            self.model.register_forward_pre_hook(self._catch, with_kwargs=True),
            self.model.register_forward_hook(self._done, always_call=True),
        ]
        if self.layer is not None:
            self._hooks.append(self.model.get_submodule(self.layer).register_forward_hook(self._keep))
        self._entered.enter_context(self._interception)

    def __exit__(self, *error: object) -> None:
        self._entered.close()
        for hook in self._hooks:
            hook.remove()
        for pass_ in self._passes:
            pass_.forget()
        self._call = (0, (), {})
        for watches in (turns.HERE.watches, turns.HERE.running):  # still running: it was interrupted
            if self in watches:
                watches.remove(self)
        self._eager.close()
        self._held.close()

    def again(self, images: Tensor, cases: Tensor) -> tuple[object, Pass]:
        """Run the model on other images (N, C, H, W), each of one of the batch's cases (N,).

        The model runs in evaluation mode: no running statistic changes, drop-out is off, and a case's result
        does not depend on the rest of the batch. Its other arguments are those of the last call.

        Returns:
            The model's output, and its forward pass.
        """
        place, args, kwargs = self._call
        batch = _length(args[place])

        def chosen(value: object) -> object:
            return value[cases] if isinstance(value, Tensor) and _length(value) == batch else value

        before = [images if k == place else chosen(value) for k, value in enumerate(args)]
        call, outer = self._call, self._interception.pass_
        self._interception.around = partial(evaluating, self.model)
        try:
            with turns.undisturbed(self, listens=self._interception), evaluating(self.model):
                return self.model(
                    *before, **{key: chosen(value) for key, value in kwargs.items()}
                ), self.pass_
        finally:
            self._call, self._interception.pass_ = call, outer
            self._interception.around = nullcontext

    def listening(self) -> AbstractContextManager[None]:
        """Assign the torch functions called within to this capture."""
        return turns.listening(self._interception)

    def _here(self) -> bool:
        """Whether a module's call belongs to this capture."""
        return torch.is_grad_enabled() and self in turns.HERE.watches

    def warn_once(self, text: str) -> None:
        """Warn, once for each generator, at the user's line that asked for the map."""
        if text not in self.notices:
            self.notices.add(text)
            warn_user(text)

    def _catch(
        self, module: nn.Module, args: Arguments, kwargs: Keywords
    ) -> tuple[Arguments, Keywords] | None:
        again = torch._C._current_graph_task_id() != -1  # computed again, within a backward
        if torch.is_grad_enabled() and not again and threading.get_ident() != self._thread:
            raise RuntimeError(
                "the model runs in another thread than the one that reads its heatmaps: run it in the thread "
                "that entered `capture`, or without gradients"
            )
        if not self._here():
            return None
        self._depth += not again
        if self._depth > 1:  # the model calls itself
            return None
        place, images = next(
            ((k, a) for k, a in enumerate(args) if isinstance(a, Tensor) and a.dim() == 4), (0, None)
        )
        if images is None:
            named = [key for key, a in kwargs.items() if isinstance(a, Tensor) and a.dim() == 4]
            raise RuntimeError(
                "the model was called without images (B, C, H, W) as a positional argument"
                + (f": call model(images), not model({named[0]}=images)" if named else "")
            )
        if again:
            leaf = images if images.requires_grad else images.detach().requires_grad_()
            return (*args[:place], leaf, *args[place + 1 :]), kwargs
        check_images(images)
        pass_ = self._interception.pass_ = self._new_pass()
        pass_.evaluating = not self.model.training
        outer = _innermost()
        if outer is not None:
            outer.include(self)
        turns.HERE.running.append(self)
        turns.HERE.listens = self._interception
        self._eager.enter_context(turns.eagerly())
        self._passes.append(pass_)
        pass_.own_leaf = not images.requires_grad
        pass_.images = images.detach().requires_grad_() if pass_.own_leaf else images
        self._call = (place, args, kwargs)
        return (*args[:place], pass_.images, *args[place + 1 :]), kwargs

    def _done(self, module: nn.Module, args: object, output: object) -> None:
        if not self._depth or not self._here() or torch._C._current_graph_task_id() != -1:
            return
        self._depth -= 1
        # Hooks of several captures of one model run in the order in which these began: the last one ends all.
        while (watch := _innermost()) is not None and not watch._depth:
            turns.HERE.running.pop()
            watch._eager.close()
            outer = _innermost()
            if outer is not None:
                outer.pass_.take_over(watch.pass_)
                turns.HERE.listens = outer._interception

    def include(self, inner: Watch) -> None:
        """Include a forward pass of another capture that runs within this one's.

        Raises:
            RuntimeError: The two captures have different settings.
        """
        outer, nested = self.pass_, inner.pass_
        alike = (outer.literal, outer.gates, self._interception.batch_statistics) == (
            nested.literal,
            nested.gates,
            inner._interception.batch_statistics,
        )
        if not alike:
            raise RuntimeError(
                "captures of one forward pass must have the same rule_for, gates, batch_statistics; "
                "these differ"
            )
        nested.only_looked_at = nested.only_looked_at and outer.only_looked_at
        nested.records = nested.records or outer.records
        outer.inner.append(nested)

    def _keep(self, module: nn.Module, args: object, output: object) -> Tensor | None:
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
        return output.clone()  # the next layers may overwrite it


def _innermost() -> Watch | None:
    """The innermost capture whose model is running in this thread."""
    watch = turns.HERE.running[-1] if turns.HERE.running else None
    assert watch is None or isinstance(watch, Watch)
    return watch


def _length(value: object) -> int:
    """The length of a tensor; 0 of a scalar and of another object."""
    return value.shape[0] if isinstance(value, Tensor) and value.dim() else 0
