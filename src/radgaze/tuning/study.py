"""The study of a search: trials in a journal that outlives a kill, drawn from seed and number alone."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml
from optuna.distributions import distribution_to_json
from optuna.pruners import SuccessiveHalvingPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.files import read_yaml, write_bytes, write_text
from radgaze.runs import origin, settings
from radgaze.runs.config import Config
from radgaze.store.store import Store
from radgaze.tuning.space import Space, own_values

JOURNAL, SETTINGS, LOCK = "study.journal", "tune.yaml", "study.lock"

CONTENTS = "contents"
"""In SETTINGS: hashes of what the store holds."""

REDUCTION = 3
"""Of the trials that come to a rung, one in so many goes on."""


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        config: The experiment, resolved, as every trial begins.
        given: What of it the user has set, nested; part of the best settings.
        space: What varies.
        min_epochs: Epochs that every trial gets; the first rung.
    """

    config: Config
    given: dict[str, Any]
    space: Space
    min_epochs: int


@contextlib.contextmanager
def opened(search: Search, out: Path, *, resume: bool) -> Iterator[optuna.Study]:
    """The study in a folder, kept from a second search meanwhile.

    A trial that was running when the search ended is to be run again, under its number.

    Raises:
        UserError: The folder holds something else, another search, or none to go on with, or one is running.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    told = _told(search)
    holds = origin.contents(Store.open(search.config.data))
    if resume:
        if not (out / JOURNAL).is_file():
            raise UserError(f"{out} holds no search to go on with; leave out --resume to begin one")
        _compare(told, holds, out / SETTINGS)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty; name another --out, or go on with the search there: --resume")
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        if resume:
            study = _anew(out, search)
        else:
            write_text(yaml.safe_dump({**told, CONTENTS: holds}, sort_keys=False), out / SETTINGS)
            study = _create(out / JOURNAL, search)
            first = own_values(search.space, search.config)
            if first is not None:
                study.enqueue_trial(first)
        yield study


def ask(study: optuna.Study, search: Search) -> optuna.Trial:
    """The next trial, its values drawn by the seed, its number and the trials that have ended."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    number = waiting[0].number if waiting else len(study.get_trials(deepcopy=False))
    seed = np.random.SeedSequence((search.config.seed, number)).generate_state(1)[0]
    study.sampler = TPESampler(seed=int(seed), multivariate=True)
    return study.ask(search.space)


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that finished, were pruned or failed, by number."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def best(study: optuna.Study, count: int) -> list[FrozenTrial]:
    """The finished trials of highest AUC, the earlier one of two alike first."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(finished, key=lambda trial: (-(trial.value or 0.0), trial.number))[:count]


def _create(path: Path, search: Search) -> optuna.Study:
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))),
        study_name=search.config.experiment,
        direction="maximize",
        pruner=_pruner(search),
    )


def _pruner(search: Search) -> SuccessiveHalvingPruner:
    return SuccessiveHalvingPruner(min_resource=search.min_epochs, reduction_factor=REDUCTION)


def _anew(out: Path, search: Search) -> optuna.Study:
    """The study, written anew with what was running in the queue.

    What had been reported of it would else compete with itself at the rungs.
    """
    path, aside = out / JOURNAL, out / f"{JOURNAL}.new"
    for left in (*out.glob(f"{JOURNAL}.lock*"), *out.glob(f"{JOURNAL}.new*")):
        left.unlink()  # of a search that was killed
    whole = path.read_bytes()
    write_bytes(whole[: whole.rfind(b"\n") + 1], path)  # a line that a crash cut short
    try:
        before = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(path))))
        trials = before.get_trials()
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is broken; begin anew, with another --out") from error
    study = _create(aside, search)
    for trial in trials:
        if trial.state.is_finished():
            study.add_trial(trial)
        else:
            study.enqueue_trial(trial.system_attrs.get("fixed_params") or trial.params)
    aside.replace(path)
    return optuna.load_study(
        study_name=search.config.experiment,
        storage=JournalStorage(JournalFileBackend(str(path))),
        pruner=_pruner(search),
    )


def _told(search: Search) -> dict[str, Any]:
    """A search in plain values."""
    return {
        "config": settings.to_dict(search.config),
        "given": search.given,
        "min_epochs": search.min_epochs,
        "space": {name: distribution_to_json(values) for name, values in search.space.items()},
    }


def _compare(told: dict[str, Any], holds: dict[str, str], path: Path) -> None:
    """Raise UserError where a search, or what its store holds, is not as in a file."""
    try:
        before = dict(read_yaml(path))
        held = before.pop(CONTENTS, None)  # a search of before has none
        was, now = experiments.flat(before), experiments.flat(told)
        changed = "" if held is None else origin.differences(held, holds)
    except (OSError, UserError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{path} is missing or broken; begin anew, with another --out") from error
    for name in dict.fromkeys((*now, *was)):
        if name not in was or name not in now or was[name] != now[name]:
            raise UserError(
                f"{path.parent} holds a search with other settings: {name.removeprefix('config.')} was "
                f"{was.get(name, 'not there')} and is now {now.get(name, 'not there')}; "
                "give the same, or begin another search with another --out"
            )

    if changed:
        raise UserError(
            f"the store {told['config']['data']} is not the one that the search in {path.parent} was begun "
            f"on, {changed}; put that one back, or begin another search with another --out"
        )


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (out / LOCK).open("w") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise UserError(f"a search is running in {out}; wait for it, or name another --out") from error
        yield
