"""Two processes with half of a batch each train through heatmaps as one process with the whole batch does."""

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

from radgaze import attribution
from tests.attribution.networks import Inverted, gradients, randomised
from tests.attribution.transformers import vit

SECONDS = 60
NAMES = tuple(
    name for name in attribution.names(differentiable=True) if name != "pylon"
)  # which differentiates nothing here
FEW: dict[str, dict[str, Any]] = {"smooth_grad": {"samples": 2}, "integrated_gradients": {"steps": 3}}


@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS)
def test_gradients_of_two_processes_equal_those_of_one(
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
    images, targets = batch()
    for name in NAMES:
        model = network(name)
        expected = step(name, model, model, images, targets)
        found = [torch.load(tmp_path / f"{name}{rank}.pt", weights_only=True) for rank in range(2)]
        torch.testing.assert_close(torch.cat([each.pop("map") for each in found]), expected.pop("map"))
        for each in found:
            torch.testing.assert_close(each, expected)


def process(rank: int, folder: Path) -> None:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'store'}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=SECONDS / 2),
    )
    images, targets = (tensor.chunk(2)[rank] for tensor in batch())
    for name in NAMES:
        model = network(name)
        found = step(name, model, DistributedDataParallel(model), images, targets)
        torch.save(found, folder / f"{name}{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # gloo's threads may else be ended as they run, and end the process with them


def step(name: str, bare: nn.Module, model: nn.Module, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """A map, and the gradients of a classification and a heatmap loss, each a mean over the cases."""
    with attribution.create(name, model, normalise="none", **FEW.get(name, {})).capture() as read:
        output = model(images)
        heat = read(output, targets)
    torch.autograd.backward(F.cross_entropy(output, targets) + 10 * heat.square().mean())
    return {"map": heat.detach(), **gradients(bare)}


def network(name: str = "") -> nn.Module:
    """A convolutional network, or a transformer for the maps of attention."""
    if name in ("attention", "attention_rollout", "relevance"):
        transformer: nn.Module = vit(in_chans=2, img_size=(20, 18), patch_size=2)
        return transformer
    return randomised(Inverted()).eval()


def batch() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    return torch.rand(4, 2, 20, 18, generator=source, dtype=torch.float64), torch.tensor([2, 0, 1, 1])


def test_wrapped_model_is_looked_at_like_the_bare_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its layers have the names that they have in the bare one."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        model = network()
        wrapped = DistributedDataParallel(model)
        images, targets = batch()
        for options in ({}, {"layer": "first.project"}):
            found, expected = (
                attribution.create("grad_cam", each, **options)(images, targets) for each in (wrapped, model)
            )
            torch.testing.assert_close(found, expected)
    finally:
        dist.destroy_process_group()
