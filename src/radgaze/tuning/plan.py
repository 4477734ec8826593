"""From what the user asks for to a search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.runs import settings
from radgaze.tuning import space as spaces
from radgaze.tuning.study import REDUCTION, Search


def plan(
    experiment: str,
    data: str,
    *,
    protocol: str = "honest",
    seed: int = 42,
    given: Mapping[str, Any] | None = None,
    space: Path | None = None,
    min_epochs: int | None = None,
) -> Search:
    """A search of an experiment's settings.

    Args:
        experiment: Its name.
        data: The store.
        protocol: "honest" or "faithful".
        seed: Of the search, and of every trial.
        given: Fields that the user has set, nested; they are held.
        space: A user's YAML, laid over the experiment's space.
        min_epochs: Epochs that every trial gets; by default a ninth of all, so that there are two rungs, and
            more than the warm-up, within which networks differ by little but chance.

    Raises:
        UserError: Something of it cannot be used.
    """
    given = dict(given or {})
    held = experiments.flat(given)  # names, to be left out of the space
    config = settings.resolve(
        experiment,
        protocol=protocol,
        **experiments.merge(given, {"data": str(Path(data).resolve()), "seed": seed}),
    )
    if held.get("selection", "validate") != "validate":
        raise UserError("--selection test: a search goes by the validation AUC alone")
    trainer = config.trainer
    if trainer.num_nodes != 1 or trainer.devices not in ("auto", 1, "1"):
        raise UserError(
            "each trial runs on one device; leave out --trainer.devices, and run several with --jobs"
        )
    trainer.devices = 1
    own = {} if space is None else spaces.read(space, config, held)
    if min_epochs is None:
        warmup = config.optimisation.warmup_epochs if config.optimisation.schedule == "cosine" else 0
        min_epochs = max(math.ceil(warmup) + 1, round(trainer.max_epochs / REDUCTION**2))
    if min_epochs < 1:
        raise UserError(f"--min-epochs is {min_epochs}; it must be 1 up")
    plain = experiments.flat(settings.to_dict(config))
    nested: dict[str, Any] = {}
    for name in held:
        nested = experiments.merge(nested, spaces.nest(name, plain[name]))
    return Search(config, nested, spaces.laid_over(spaces.default(config, held), own), min_epochs)
