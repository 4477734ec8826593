"""Batch norm in two processes, each with a part of a batch, is that of one process with the whole batch."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from radgaze import attribution
from tests.attribution.networks import Inverted, gradients, randomised

SECONDS = 120
CASES = 5
OWN = (slice(0, 3), slice(3, CASES))
"""Cases of each process; not as many in one as in the other."""

WAYS: dict[str, dict[str, Any] | None] = {
    "plain": None,
    "held": {"name": "guided_backprop"},
    "exact": {"name": "guided_backprop", "batch_statistics": "exact"},
}


class Recomputing(Inverted):
    """Network whose second half is computed again in the backward pass."""

    def forward(self, images: Tensor) -> Tensor:
        x = F.silu(self.norm(self.stem(images)))
        x = checkpoint(lambda y: self.second(self.first(y)), x, use_reentrant=False)
        logits: Tensor = self.head(F.silu(self.last_norm(self.widen(x))).mean((2, 3)))
        return logits


NETWORKS = {"kept": Inverted, "recomputed": Recomputing}


@pytest.mark.timeout(2 * SECONDS)
def test_losses_maps_gradients_and_statistics_of_two_processes_are_those_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # where the processes find this module
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    processes = mp.spawn(process, (tmp_path,), nprocs=2, join=False)  # type: ignore[attr-defined, no-untyped-call]
    try:
        until = time.monotonic() + SECONDS
        while not processes.join(timeout=1):
            assert time.monotonic() < until
    finally:
        for each in processes.processes:
            each.kill()
    for way, kind in combinations():
        model = network(kind)
        expected = step(way, model, model, slice(0, CASES), 1)
        found = [torch.load(tmp_path / f"{way}-{kind}-{rank}.pt", weights_only=True) for rank in range(2)]
        maps = torch.cat([each.pop("map") for each in found])
        torch.testing.assert_close(maps, expected.pop("map"))
        for each in found:
            torch.testing.assert_close(each, expected, msg=f"{way}, {kind}: {{}}".format)


def process(rank: int, folder: Path) -> None:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'store'}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=SECONDS / 2),
    )
    for way, kind in combinations():
        model = network(kind)
        found = step(way, model, DistributedDataParallel(model), OWN[rank], 2)
        torch.save(found, folder / f"{way}-{kind}-{rank}.pt")
    hidden_statistics_are_refused()
    no_second_derivative_is_wrong_in_silence()
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # gloo's threads may else be ended as they run, and end the process with them


def hidden_statistics_are_refused() -> None:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(network("kept"))  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match=r"attribution\.synchronised"):  # noqa: SIM117
        with attribution.create("guided_backprop", model).capture():
            pass
    with attribution.create("guided_backprop", model.eval()).capture():
        pass  # in evaluation mode it is a plain one


def no_second_derivative_is_wrong_in_silence() -> None:
    images = batch()[0].requires_grad_()
    with attribution.synchronised():
        score = network("kept")(images).sum()
    with pytest.raises(RuntimeError, match='batch_statistics="exact"'):
        torch.autograd.grad(score, images, create_graph=True)


def step(way: str, bare: nn.Module, model: nn.Module, own: slice, processes: int) -> dict[str, Tensor]:
    """Map, gradients and buffers of a step; each process's loss counts by its cases."""
    images, targets = (tensor[own] for tensor in batch())
    share = len(images) * processes / CASES
    options, heat = WAYS[way], torch.zeros(len(images), 1, 1, 1, dtype=torch.float64)
    with attribution.synchronised():
        if options is None:
            output = model(images)
        else:
            with attribution.create(model=bare, normalise="none", **options).capture(model) as read:
                output = model(images)
                heat = read(output, targets)
    torch.autograd.backward(share * (F.cross_entropy(output, targets) + 10 * heat.square().mean()))
    return {"map": heat.detach(), **gradients(bare), **dict(bare.named_buffers())}


def combinations() -> list[tuple[str, str]]:
    return [(way, kind) for way in WAYS for kind in NETWORKS]


def network(kind: str) -> nn.Module:
    return randomised(NETWORKS[kind]()).train()


def batch() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    images = torch.rand(CASES, 2, 20, 18, generator=source, dtype=torch.float64)
    return images, torch.tensor([2, 0, 1, 1, 0])


def test_in_one_process_nothing_is_synchronised() -> None:
    images, targets = batch()
    found = []
    for inside in (False, True):
        model = network("kept")
        if inside:
            with attribution.synchronised():
                loss = F.cross_entropy(model(images), targets)
        else:
            loss = F.cross_entropy(model(images), targets)
        torch.autograd.backward(loss)
        found.append([loss.detach(), *(parameter.grad for parameter in model.parameters())])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
