"""The network of the bundle: TorchScript whose outputs `model.json` names, as a module of probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor


class Network(torch.nn.Module):
    """Probabilities (B, C) of images (B, 1, S, S); `outputs` has mask, heatmap and reject rule as well.

    Args:
        model: The TorchScript.
        names: Names of its outputs.
    """

    def __init__(self, model: torch.nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, image: Tensor) -> Tensor:
        """Compute the probabilities."""
        return self.outputs(image)["probabilities"]

    def outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Compute all outputs, by name."""
        return dict(zip(self.names, self.model(image), strict=True))


def load(root: str | Path) -> Network:
    """Load the network of the bundle in a folder, on the CPU."""
    root = Path(root)
    about = json.loads((root / "configs" / "model.json").read_text(encoding="utf-8"))
    model = torch.jit.load(str(root / "models" / "model.ts"), map_location="cpu")  # type: ignore[no-untyped-call]
    return Network(model.eval(), list(about["outputs"])).eval()
