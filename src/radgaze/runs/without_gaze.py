"""The run of a network that can read a gaze map, given none: how well it does where nobody has looked yet."""

from __future__ import annotations

from dataclasses import replace

from radgaze import models
from radgaze.errors import UserError
from radgaze.files import write_bytes
from radgaze.runs import dates, origin, resumed, settings
from radgaze.runs.history import HISTORY
from radgaze.runs.run import PREDICTIONS, WITHOUT_GAZE, Run
from radgaze.tables import write_parquet

FOLDER = WITHOUT_GAZE
"""Name of the run's folder in that of the run that reads gaze."""


def without_gaze(run: Run, device: str = "auto") -> Run:
    """Write the run of the same weights whose inputs are images with empty gaze maps, into RUN/without_gaze.

    It is evaluated, compared and explained like any run. What an earlier call has written is replaced.

    Args:
        run: A run whose network reads gaze maps and was trained with gaze drop-out.
        device: Device of the predictions: "cpu", "cuda" or "auto".

    Raises:
        UserError: The network reads no gaze, or cannot be used without it.
    """
    from radgaze.devices import usable_device
    from radgaze.runs.prediction import predict

    model = run.config.model
    if not model.reads_gaze:
        raise UserError(f"the model of {run.path} reads no gaze: it is evaluated without any as it is")
    if model.needs_gaze:
        advice = "; train one with `model.gaze_dropout` above 0" if model.network.gaze_map else ""
        raise UserError(f"the model of {run.path} was trained on cases with their gaze alone{advice}")
    out, device, store = run.path / FOLDER, usable_device(device), run.store
    config = replace(run.config, model=replace(model, without_gaze=True))
    models.save(run.model(), config.model, run.classes, out / "model", size=config.input.size)
    settings.write(config, out / "config.yaml")
    origin.write(store, out)
    for name in (HISTORY, dates.FILE, resumed.FILE):
        if (run.path / name).is_file():
            write_bytes((run.path / name).read_bytes(), out / name)
    network = models.load(out / "model")[0]
    write_parquet(predict(network, store, config, device=device), out / PREDICTIONS)
    return Run.open(out)
