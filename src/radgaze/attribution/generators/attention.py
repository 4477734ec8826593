"""Maps of attention: which patches a transformer's tokens attend to, block after block.

A_b (B, heads, N, N) is the attention of block b = 1 … L, whose row i holds the weights with which token i
reads the others. A map is a row of a product of such matrices: that of the token that the score is read from,
the class token, or the mean over all patches where these are averaged. It is made without the (N, N) product,
by multiplying the row from the last block to the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from radgaze.attribution.engine.capture import Capture, full
from radgaze.attribution.engine.matrices import AttentionError, Attentions, attentions
from radgaze.attribution.engine.tokens import GridError, TokenGrid
from radgaze.attribution.generator import Generator, check_option
from radgaze.attribution.generators.trials import reason
from radgaze.attribution.registry import register

Derivatives = Literal["held", "exact"]
Row = Literal["auto", "mean"] | int


@dataclass
class OfAttention(Generator):
    """A generator of attention matrices, recorded in the forward pass.

    Attributes:
        row: Token whose row is shown: the number of a prefix token, such as 0 for the class token, or "mean"
            for the mean over all patches. "auto" takes those that the score is read from.
    """

    row: Row = "auto"

    without: ClassVar[tuple[str, ...]] = (
        *("layer", "channels", "reshape", "readout"),
        *("rule_for", "gates"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.row, int) and self.row >= 0) and self.row not in ("auto", "mean"):
            raise ValueError(f"row must be auto, mean or the number of a prefix token, got {self.row!r}")

    @property
    def reads_attention(self) -> bool:
        return True

    @classmethod
    def unsupported(cls, model: nn.Module, size: int = 64) -> str | None:
        """The reason why the model has no attention of all tokens to each other, tested with black images."""
        already = super().unsupported(model, size)
        return already or reason(Attention, model, size, (AttentionError, GridError))

    def first(self, A: Attentions, read: Capture, gradient: Tensor | None = None) -> Tensor:
        """The weights of the last block's tokens (B, N) of which the map is made."""
        if isinstance(self.row, int) and self.row >= A.grid.prefix:
            raise ValueError(f"row={self.row}, but the model has {A.grid.prefix} prefix tokens")
        last = A.blocks[-1]
        place = torch.arange(last.shape[-1], device=last.device)
        if isinstance(self.row, int):
            chosen = place == self.row
        elif self.row == "auto":
            if gradient is None:
                (gradient,) = A.arranged(read.constant_gradients([A.made[len(A.blocks) - 1]]))
            chosen = _read_from(gradient, A.grid, place)
        else:
            chosen = place >= A.grid.prefix
        weights = chosen.to(full(last).dtype)
        return (weights / weights.sum()).expand(last.shape[0], -1)


def _read_from(gradient: Tensor, grid: TokenGrid, place: Tensor) -> Tensor:
    """The tokens (N,) that the score is read from, given its gradient in the last block's attention.

    They are all patches where it depends on what any of them has attended to; else those prefix tokens. No
    value is looked at, so that an export records either.
    """
    patches = place >= grid.prefix
    if not grid.prefix:
        return patches
    read = (gradient != 0).any(-1).any(1).any(0)
    of_patches, of_prefix = (read & patches).any(), read & ~patches
    # The score may depend on none, as in a block that drop-path leaves out.
    of_none = ~read.any() & (place == 0)
    # Not `where`, which onnxruntime lacks for truth values.
    return (of_patches & patches) | (~of_patches & (of_prefix | of_none))


@register("attention", title="Attention, last block (of no class)")
@dataclass
class Attention(OfAttention):
    """H = r · mean_h A_L, of no class: what tokens that the score is read from attend to in the last block.

    It does not depend on the target. A pooling by attention that follows the last
    block, as SigLIP's, counts as a block, with one row.
    """

    def attribute(self, read: Capture) -> Tensor:
        A = attentions(read)
        if A.pooling is not None and self.row == "auto":
            return A.grid.map(A.pooling.mean((1, 2)))
        return A.grid.map(_times(self.first(A, read), A.blocks[-1].mean(1)))


@register("attention_rollout", title="Attention rollout (of no class)")
@dataclass
class AttentionRollout(OfAttention):
    """H = r · A'_L ⋯ A'_1, of no class; A'_b = ½·mean_h A_b + ½·I with rows of 1 (Abnar and Zuidema 2020).

    Half of each row is the residual connection past the attention. It does not depend on the target.
    """

    def attribute(self, read: Capture) -> Tensor:
        A = attentions(read)
        pooled = A.pooling is not None and self.row == "auto"
        r = A.pooling.mean((1, 2)) if pooled and A.pooling is not None else self.first(A, read)
        for block in reversed(A.blocks):
            mean = block.mean(1)
            r = r / (0.5 * mean.sum(2) + 0.5)
            r = 0.5 * _times(r, mean) + 0.5 * r
        return A.grid.map(r)


@register("relevance", title="Relevance of attention")
@dataclass
class Relevance(OfAttention):
    """H = r · (R − I), R ← R + mean_h max(∂y/∂A_b ∘ A_b, 0) · R from I (Chefer, Gur and Wolf 2021).

    With ∇A = ∂y/∂A the map is that of a class. I, the tokens themselves, adds the same to each patch of a
    mean over patches, and nothing to those of a class token.

    Attributes:
        attention_gradients: Whether ∇A is constant in the backward pass ("held"), as in RobustViT (Chefer et
            al. 2022), or differentiated ("exact"), which takes second derivatives.
    """

    attention_gradients: Derivatives = "held"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("attention_gradients", self.attention_gradients, get_args(Derivatives))

    def attribute(self, read: Capture) -> Tensor:
        A = attentions(read)
        held = self.attention_gradients == "held"
        gradients = A.arranged(read.constant_gradients(A.made) if held else read.gradients(A.made))
        count = len(A.blocks)
        relevant = [_relevant(A_b, g) for A_b, g in zip(A.blocks, gradients[:count], strict=True)]
        if A.pooling is not None and self.row == "auto":
            r = _relevant(A.pooling, gradients[count]).mean(1)
            return A.grid.map(r + _added(r, relevant))
        return A.grid.map(_added(self.first(A, read, gradients[count - 1].detach()), relevant))


def _relevant(A: Tensor, gradient: Tensor) -> Tensor:
    """mean_h max(∇A ∘ A, 0), (B, L, N)."""
    return (gradient * A).clamp(min=0).mean(1)


def _added(r: Tensor, blocks: Sequence[Tensor]) -> Tensor:
    """r · ((I + A_L) ⋯ (I + A_1) − I), without cancellation: what is added may be far smaller than r."""
    added = torch.zeros_like(r)
    for block in reversed(blocks):
        added = added + _times(r + added, block)
    return added


def _times(r: Tensor, matrix: Tensor) -> Tensor:
    """r · M for each case: (B, N) and (B, N, N)."""
    return torch.einsum("bi,bij->bj", r, matrix)
