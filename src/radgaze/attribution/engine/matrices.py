"""The attention matrices of a forward pass, block after block, checked for being those of all tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from radgaze.attribution.engine.capture import Capture, full
from radgaze.attribution.engine.graph import leads_to
from radgaze.attribution.engine.tokens import TokenGrid


class AttentionError(RuntimeError):
    """The model has no attention of all tokens to each other."""


@dataclass(frozen=True)
class Attentions:
    """Attention of all tokens to each other, in the order of the blocks.

    Attributes:
        blocks: (B, heads, N, N) of each block.
        pooling: (B, heads, L, N) of a pooling by attention after the last block, if there is one.
        made: The same tensors as the model made them, perhaps (B · heads, …), and perhaps in half precision.
        grid: Where the tokens lie.
    """

    blocks: Sequence[Tensor]
    pooling: Tensor | None
    made: Sequence[Tensor]
    grid: TokenGrid

    def arranged(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Tensors of the shapes of those that the model made, as (B, heads, …)."""
        return [_by_case(tensor, self.blocks[0].shape[0]) for tensor in tensors]


def attentions(read: Capture) -> Attentions:
    """The attention matrices of a captured forward pass.

    Raises:
        AttentionError: There are none, or they are not those of all tokens to each other.
        GridError: No grid is known for the tokens.
    """
    made, batch = read.pass_.attention, read.images.shape[0]
    if made and _pools(made[-1]) and not _reaches(made[-1], read.score):
        made = made[:-1]  # a pooling whose result is not used
    if not made:
        raise AttentionError("the model computes no attention that can be recorded, by softmax of QKᵀ")
    for A in made:
        if A.dim() > 4 or (A.shape[0] != batch and (A.dim() == 4 or A.shape[0] % batch)):
            raise AttentionError(
                f"the model's attention {tuple(A.shape)} is within windows: no matrix holds all tokens"
            )
    matrices = [_by_case(A, batch) for A in made]
    pooling = full(matrices[-1]) if _pools(made[-1]) else None
    blocks = matrices if pooling is None else matrices[:-1]
    shapes = list(dict.fromkeys((A.shape[-2], A.shape[-1]) for A in matrices))
    counts = {n for A in blocks for n in A.shape[-2:]} | {A.shape[-1] for A in matrices}
    if not blocks or len(counts) > 1:
        raise AttentionError(
            "the model's attention is not that of all tokens to each other in each block: its matrices are "
            + ", ".join(f"{queries} × {keys}" for queries, keys in shapes)
        )
    _check_order(read, made)
    grid = read.grid_of(counts.pop())
    return Attentions([full(A) for A in blocks], pooling, made, grid)


def _pools(A: Tensor) -> bool:
    """Whether attention has other queries than keys."""
    return A.shape[-2] != A.shape[-1]


def _reaches(A: Tensor, later: Tensor) -> bool:
    """Whether a tensor is computed from a matrix."""
    return later.grad_fn is not None and leads_to(later.grad_fn, A.grad_fn)


def _by_case(A: Tensor, batch: int) -> Tensor:
    """A as (B, heads, L, N)."""
    return A if A.dim() == 4 else A.unflatten(0, (batch, -1))  # type: ignore[no-untyped-call]


def _check_order(read: Capture, made: Sequence[Tensor]) -> None:
    """Refuse attention side by side in one block. It is looked for once for each generator."""
    if "attention in order" in read.watch.notices:
        return
    for earlier, later in pairwise(made):
        if not _reaches(earlier, later):
            raise AttentionError("the model computes several attentions side by side in one block")
    read.watch.notices.add("attention in order")
