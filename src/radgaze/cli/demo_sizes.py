"""The sizes of the demo, and the settings of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from radgaze.devices import of_trainer
from radgaze.simulation.options import SimulationOptions

if TYPE_CHECKING:
    from radgaze.runs.config import Config


@dataclass(frozen=True)
class Scale:
    """Size of a demo.

    Attributes:
        patients: Number of simulated patients.
        confounding: Strength of the marker's dependence on the class, see `SimulationOptions`.
        pixels: Long side of the simulated images.
        overrides: Settings that override demo.yaml.
    """

    patients: int
    confounding: float
    pixels: int
    overrides: Mapping[str, object]

    def simulation(self, out: Path, seed: int) -> SimulationOptions:
        """The simulation of this size."""
        return SimulationOptions(
            out,
            patients=self.patients,
            seed=seed,
            pixels=self.pixels,
            confounding=self.confounding,
            twins=True,
        )


FULL = Scale(patients=1000, confounding=0.9, pixels=512, overrides={})
QUICK = Scale(patients=60, confounding=0.9, pixels=160, overrides={"trainer": {"max_epochs": 1}})
"""A demo of seconds, which shows that every step runs; its figures mean nothing."""
SIZES = {"full": FULL, "quick": QUICK}


def config_of(experiment: str, store: Path, seed: int, scale: Scale, device: str) -> Config:
    """The settings of a run of the demo on the store in a folder."""
    import yaml

    from radgaze import experiments
    from radgaze.runs import settings

    fields = yaml.safe_load((files("radgaze.cli") / "demo.yaml").read_text(encoding="utf-8"))
    overrides = experiments.merge(fields, dict(scale.overrides))
    overrides = experiments.merge(overrides, {"trainer": of_trainer(device)})
    path = str(store.resolve())
    return settings.resolve(experiment, protocol="honest", data=path, seed=seed, **overrides)
