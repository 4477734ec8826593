"""Small transformers for the tests of the heatmap engine, and their maps written with hooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.attribution.networks import Network

TINY = {"num_classes": 3, "in_chans": 1, "embed_dim": 12, "depth": 2, "num_heads": 2}


def drawn(model: Network, seed: int = 0) -> Network:
    """The model in float64, each parameter drawn, so that no layer scale or head is 0 or nearly so."""
    source = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        values = torch.randn(parameter.shape, generator=source, dtype=torch.float64)
        size = 0.3 if parameter.dim() < 2 else parameter[0].numel() ** -0.5
        parameter.data = size * values + (1.0 if parameter.dim() == 1 and size == 0.3 else 0.0)
    return model.double().eval()


def vit(name: str = "vit_tiny_patch16_224", seed: int = 0, **options: Any) -> Any:
    """A ViT of timm for images of 32 × 32, with patches of 8 × 8."""
    settings: dict[str, Any] = {"img_size": 32, "patch_size": 8, **TINY, **options}
    return drawn(timm.create_model(name, pretrained=False, **settings), seed)


def swin() -> Any:
    settings: dict[str, Any] = {"img_size": 32, "window_size": 4, "num_classes": 3, "in_chans": 1}
    settings |= {"embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2)}
    return drawn(timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, **settings))


def convnext() -> Any:
    settings: dict[str, Any] = {"num_classes": 3, "in_chans": 1, "dims": (4, 4, 6, 6), "depths": (1, 1, 1, 1)}
    return drawn(timm.create_model("convnext_atto", pretrained=False, **settings))


def images_of(batch: int, size: tuple[int, int] = (32, 32)) -> Tensor:
    source = torch.Generator().manual_seed(batch)
    return torch.rand(batch, 1, *size, generator=source, dtype=torch.float64)


def unfused(model: Any) -> Any:
    """The model with timm's own explicit attention."""
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return model


@contextmanager
def attention_of(model: nn.Module) -> Iterator[list[Tensor]]:
    """The matrices of an unfused model, taken by hooks at its attention drop-out."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        kept.append(args[0])

    hooks = [
        module.register_forward_pre_hook(keep)
        for name, module in model.named_modules()
        if name.endswith("attn_drop")
    ]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def rollout(A: list[Tensor]) -> Tensor:
    """A' = ½W + ½I with rows that sum to 1, and Ã_i = A'_i Ã_{i−1}, for one case (Abnar and Zuidema 2020)."""
    rolled = torch.eye(A[0].shape[-1], dtype=A[0].dtype)
    for matrix in A:
        half = 0.5 * matrix.mean(0) + 0.5 * torch.eye(matrix.shape[-1], dtype=matrix.dtype)
        rolled = (half / half.sum(1, keepdim=True)) @ rolled
    return rolled


def relevance(A: list[Tensor], gradients: list[Tensor]) -> Tensor:
    """R ← R + Ā·R with Ā = E_h((∇A ⊙ A)⁺), for one case (Chefer et al. 2021)."""
    count = A[0].shape[-1]
    R = torch.eye(count, dtype=A[0].dtype)
    for matrix, gradient in zip(A, gradients, strict=True):
        mean = torch.stack([(gradient[h] * matrix[h]).clamp(min=0) for h in range(len(matrix))]).mean(0)
        R = R + torch.stack([sum((mean[i, k] * R[k] for k in range(count)), 0 * R[0]) for i in range(count)])
    return R


def as_map(row: Tensor, prefix: int, grid: tuple[int, int], size: Sequence[int]) -> Tensor:
    """A token's row as a map of the image."""
    patches = row[prefix:].reshape(1, 1, *grid)
    return F.interpolate(patches, size=tuple(size), mode="bilinear", align_corners=False)
