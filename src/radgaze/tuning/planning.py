"""The plan of a search, from an experiment and the user's options."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.tuning.options import TuneOptions
from radgaze.tuning.space_file import read_entries

if TYPE_CHECKING:
    from radgaze.tuning.study import Search


def plan(
    experiment: str, data: str, options: TuneOptions, *, given: Mapping[str, object] | None = None
) -> Search:
    """Plan a search of an experiment's settings.

    Args:
        experiment: Name of the experiment.
        data: Folder of the store.
        options: Options of the search.
        given: Nested fields of the configuration that the user has set; they are not varied.

    Raises:
        UserError: There is no such experiment, or a field or the space cannot be used.
    """
    given = dict(given or {})
    held = experiments.flat(given)  # fields that are left out of the space
    fields = experiments.merge(given, {"data": str(Path(data).resolve()), "seed": options.seed})
    config = settings.resolve(experiment, protocol=options.protocol, **fields)
    if held.get("selection", "validate") != "validate":
        raise UserError("`selection` must be validate: a search uses the validation AUC alone")
    trainer = config.trainer
    if trainer.num_nodes != 1 or trainer.devices not in ("auto", 1, "1"):
        raise UserError(
            "each trial runs on one device; leave out `trainer.devices`, and run several trials with `jobs`"
        )
    trainer.devices = 1
    if options.space is not None:
        read_entries(options.space)  # a file that cannot be read is told before torch is imported
    from radgaze.tuning import space as spaces
    from radgaze.tuning.study import Search

    ranges = {} if options.space is None else spaces.read(options.space, config, held)
    resolved = experiments.flat(settings.to_dict(config))
    nested: dict[str, object] = {}
    for name in held:
        nested = experiments.merge(nested, spaces.nest(name, resolved.get(name, held[name])))
    space = spaces.replaced(spaces.default(config, held), ranges)
    return Search(config, nested, space, options.min_epochs or _min_epochs(config))


def _min_epochs(config: Config) -> int:
    """Epochs before a trial can be stopped: a ninth of all, for two rungs, and more than the warm-up.

    During the warm-up, differences between networks are mostly random.
    """
    from radgaze.tuning.study import REDUCTION

    optimisation = config.optimisation
    warmup = optimisation.warmup_epochs if optimisation.schedule == "cosine" else 0
    return max(math.ceil(warmup) + 1, round(config.trainer.max_epochs / REDUCTION**2))
