"""Refine the maps of a run's cases by IRNet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from radgaze import models
from radgaze.console import progress
from radgaze.devices import usable_device
from radgaze.errors import UserError
from radgaze.pseudo.irnet.network import IRNet
from radgaze.pseudo.irnet.spreading import spread
from radgaze.pseudo.irnet.training import Seeds, fit, quarter
from radgaze.pseudo.maps import ClassMap
from radgaze.pseudo.options import PseudoOptions
from radgaze.runs.run import Run


def network_of(run: Run, device: str, seed: int) -> tuple[IRNet, nn.Module]:
    """Make IRNet on the encoder of a run, with new heads; and what makes its input of grey images.

    Raises:
        UserError: The network of the run has no such encoder.
    """
    model = models.scoring(run.voters[0].model(device))
    encoder, grey = getattr(model, "encoder", None), getattr(model, "grey", None)
    channels: Sequence[int] | None = getattr(encoder, "out_channels", None)
    if not isinstance(encoder, nn.Module) or not isinstance(grey, nn.Module) or channels is None:
        raise UserError(
            f"`refine=irnet` needs the encoder of a unet or classifier; {run.path} is of "
            f"{run.config.model.architecture}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = IRNet(encoder, [int(number) for number in channels])
    return network.to(device), grey


def refined(maps: Iterable[ClassMap], run: Run, options: PseudoOptions) -> Iterator[ClassMap]:
    """Learn boundaries from all maps, and spread each of them up to the boundaries of its image.

    Args:
        maps: The maps. Each keeps its maximum, by which a threshold of the decoder's mask is absolute.
        run: Run whose encoder is used; of a vote, its first run.
        options: The options.
    """
    # Only what is needed later is kept of each map; a case with several classes has one image.
    device = usable_device(options.device)
    places, todo = dict[str, int](), list[ClassMap]()
    images, small, heights = list[NDArray[np.uint8]](), list[NDArray[np.float32]](), list[float]()
    for each in maps:
        if each.case_id not in places:
            places[each.case_id] = len(images)
            images.append(np.rint(each.image * 255).astype(np.uint8))
        small.append(quarter(each.values[None])[0])
        heights.append(float(each.values.max()))
        todo.append(replace(each, image=each.image[:0], values=each.values[:0]))
    if not todo:
        return
    classes = {name: k for k, name in enumerate(run.classes)}
    planes = np.zeros((len(images), len(classes), *small[0].shape), np.float32)
    for each, plane in zip(todo, small, strict=True):
        planes[places[each.case_id], classes[each.label]] = plane
    network, grey = network_of(run, device, options.seed)
    seeds = Seeds(np.stack(images), planes, options.surely_inside, options.surely_outside)
    fit(network, grey, seeds, epochs=options.epochs, batch_size=options.batch_size, seed=options.seed)
    network.eval()
    size = images[0].shape
    with progress("Spreading maps", total=len(todo)) as bar, torch.no_grad():
        for each, plane, height in zip(todo, small, heights, strict=True):
            image = torch.from_numpy(images[places[each.case_id]])[None, None].float() / 255
            boundary = network(grey(image.to(device))).boundary[0].cpu().numpy()
            grown = torch.from_numpy(spread(plane[None], boundary))[None]
            large = F.interpolate(grown, size, mode="bilinear", align_corners=False)[0, 0].numpy()
            values = (large * (height / max(large.max(), 1e-12))).astype(np.float32)
            yield replace(
                each, image=seeds.images[places[each.case_id]].astype(np.float32) / 255, values=values
            )
            bar.advance()
