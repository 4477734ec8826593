"""The cases of a run: the data set of each split, and batches of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from torch.utils.data import DataLoader, Subset

from radgaze.errors import UserError
from radgaze.gaze.spec import GazeMaps
from radgaze.objectives.config import PARTS
from radgaze.objectives.terms import compares
from radgaze.runs.config import Config, GazeConfig
from radgaze.store.batch import Batch, collate
from radgaze.store.dataset import Augmentation, GazeDataset
from radgaze.store.memory import available_memory
from radgaze.store.store import Store


def dataset(
    store: Store,
    config: Config,
    split: str,
    *,
    augment: bool = False,
    per_class: bool = False,
    controlled: bool = False,
    parts: bool = False,
    lungs: bool = False,
) -> GazeDataset:
    """Make the data set of one split with the settings of a run.

    Args:
        store: Store of the run.
        config: Configuration of the run.
        split: Name of the split, "train", "validate" or "test".
        augment: Whether images are augmented.
        per_class: Whether the gaze of each class is kept apart, where `gaze.per` is class.
        controlled: Whether the run's control stands in for the gaze, as in training (`GazeConfig.control`).
        parts: Whether the data set has the parts of images that the objective uses.
        lungs: Whether samples hold the lungs.

    Raises:
        UserError: The control leaves no case with gaze.
    """
    cache = config.input.cache
    if cache == "auto":
        cache = _fits(int((store.cases["split"] == split).sum()), config)
    gaze = gaze_maps(config.gaze)
    return GazeDataset(
        store,
        split,
        size=config.input.size,
        fit=config.input.fit,
        gaze=replace(
            gaze,
            per=config.gaze.per if per_class else "case",
            control=config.gaze.control if controlled else "none",
        ),
        parts=[part.value for part in PARTS if parts and compares(config.objective, part)],
        augment=Augmentation() if augment else None,
        seed=config.seed,
        lungs=lungs,
        cache=cache,
    )


def uncached(config: Config) -> Config:
    """Return a configuration that keeps no images in memory, for cases that are loaded once or twice."""
    return replace(config, input=replace(config.input, cache=False))


def gaze_maps(config: GazeConfig) -> GazeMaps:
    """Convert a configuration of gaze maps to `GazeMaps`, which has the same fields, without a control."""
    return GazeMaps(**asdict(config) | {"control": "none"})


def _fits(cases: int, config: Config) -> bool:
    """Whether the images of some cases take less than a quarter of the free memory, over all processes."""
    devices = str(config.trainer.devices)
    copies = (int(devices) if devices.isdigit() else 1) * (1 + config.trainer.workers)
    return cases * config.input.size**2 * copies < available_memory() / 4


def batches(cases: GazeDataset, batch_size: int, case_ids: Sequence[str] | None = None) -> Iterator[Batch]:
    """Load cases as batches.

    Args:
        cases: The data set.
        batch_size: Number of cases in a batch; the last may be smaller.
        case_ids: Ids of the cases to load, in this order; None for all cases in the order of the data set.

    Raises:
        UserError: The data set has no case of an id.
    """
    selected: GazeDataset | Subset[object] = cases
    if case_ids is not None:
        place = {case_id: i for i, case_id in enumerate(cases.case_ids)}
        missing = [case_id for case_id in case_ids if case_id not in place]
        if missing:
            raise UserError(f"no such case here: {', '.join(missing[:3])}")
        selected = Subset(cases, [place[case_id] for case_id in case_ids])
    yield from DataLoader(selected, batch_size=batch_size, collate_fn=collate)
