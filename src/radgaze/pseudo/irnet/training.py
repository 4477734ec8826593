"""Train IRNet on the maps of cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.pseudo.irnet.loss import confident_labels, loss_terms
from radgaze.pseudo.irnet.network import IRNet
from radgaze.pseudo.options import INSIDE, OUTSIDE

RATE, DISPLACEMENT_RATE = 0.1, 1.0
"""Learning rates of the two branches at the start, as implemented in the authors' code: the second is ten
times the first."""
DECAY = 1e-4
"""Weight decay, as implemented in the authors' code."""
STEEPEST = 1.0
"""Largest norm of the displacement branch's gradient; ours, since at its learning rate it may diverge."""
POWER = 0.9
"""Exponent of the polynomial schedule, as implemented in the authors' code."""


@dataclass(frozen=True)
class Seeds:
    """The maps of some cases.

    Attributes:
        images: Grey images (N, S, S), in 8 bits.
        maps: Maps (N, C, h, w) at a quarter of the size, in [0, 1]; zeros for a class that a case lacks.
        inside: Value of a map above which a pixel is inside.
        outside: Value of all maps below which a pixel is outside.
    """

    images: NDArray[np.uint8]
    maps: NDArray[np.float32]
    inside: float = INSIDE
    outside: float = OUTSIDE

    def batch(self, rows: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
        """Images (B, 1, S, S) in [0, 1], and labels (B, h, w)."""
        images = torch.from_numpy(self.images[rows])[:, None].float() / 255
        labels = confident_labels(torch.from_numpy(self.maps[rows]), self.inside, self.outside)
        return images.to(device), labels.to(device)


def quarter(maps: NDArray[np.floating]) -> NDArray[np.float32]:
    """Reduce maps (..., S, S) to a quarter of their size, each pixel the mean of 16."""
    planes = torch.from_numpy(np.asarray(maps, dtype=np.float32)).flatten(0, -3)[:, None]
    small = F.avg_pool2d(planes, 4)
    return small.numpy().reshape(*maps.shape[:-2], *small.shape[-2:])


def fit(
    network: IRNet, grey: nn.Module, seeds: Seeds, *, epochs: int, batch_size: int, seed: int
) -> list[float]:
    """Train the heads of a network.

    Args:
        network: The network, whose encoder stays as it is.
        grey: What makes the encoder's input (B, 3, S, S) of grey images.
        seeds: The maps.
        epochs: Number of epochs.
        batch_size: Number of cases in a step.
        seed: Seed of the order of cases.

    Returns:
        The mean loss of each epoch.

    Raises:
        UserError: The loss became NaN or infinite.
    """
    device = next(network.parameters()).device
    count = len(seeds.images)
    steps = epochs * -(-count // batch_size)
    optimiser = torch.optim.SGD(
        [
            {"params": network.boundary.parameters(), "lr": RATE},
            {"params": network.displacement.parameters(), "lr": DISPLACEMENT_RATE},
        ],
        weight_decay=DECAY,
    )
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimiser, total_iters=steps, power=POWER)
    history = []
    with progress("Learning boundaries", total=epochs * count) as bar:
        for epoch in range(epochs):
            order = np.random.default_rng((seed, epoch)).permutation(count)
            losses = []
            for start in range(0, count, batch_size):
                rows = order[start : start + batch_size].tolist()
                images, labels = seeds.batch(rows, device)
                loss = loss_terms(network(grey(images)), labels).total()
                if not bool(loss.isfinite()):
                    raise UserError("the loss of irnet is not finite; use `refine=none`, or another map")
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.displacement.parameters(), STEEPEST)
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
                bar.advance(len(rows))
            history.append(float(np.mean(losses)))
    return history
