"""The study of a search: its trials, in a journal from which an interrupted search is resumed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import yaml
from optuna.distributions import distribution_to_json
from optuna.pruners import SuccessiveHalvingPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from radgaze import experiments, locks
from radgaze.errors import UserError
from radgaze.files import is_leftover, read_yaml, write_bytes, write_text
from radgaze.runs import origin, settings
from radgaze.runs.config import Config
from radgaze.store.store import Store
from radgaze.tuning.space import Space, experiment_values

JOURNAL, SETTINGS, LOCK = "study.journal", "tune.yaml", "study.lock"

CONTENTS = "contents"
"""Key in SETTINGS of the hashes of the store's contents."""

REDUCTION = 3
"""Reduction factor of successive halving: of this number of trials at a rung, one continues."""


@dataclass(frozen=True)
class Search:
    """A search to run.

    Attributes:
        config: Resolved configuration of the experiment; each trial changes some of its fields.
        given: Nested fields that the user has set, which are part of the best settings.
        space: Distribution of each field that varies.
        min_epochs: Number of epochs before a trial can be stopped, at the first rung.
    """

    config: Config
    given: dict[str, object]
    space: Space
    min_epochs: int


@contextlib.contextmanager
def opened(search: Search, out: Path, *, resume: bool) -> Iterator[optuna.Study]:
    """Open the study in a folder, with a lock that prevents a second search there.

    Trials that were running when the search was interrupted are run again with the same values.

    Args:
        search: The search.
        out: Folder of the search.
        resume: Whether to continue the search in the folder, rather than to begin one.

    Raises:
        UserError: The folder holds other files, another search, no search to resume, or one that is running.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    values = _values(search)
    contents = origin.contents(Store.open(search.config.data))
    if resume:
        if not (out / JOURNAL).is_file():
            raise UserError(f"{out} holds no search to go on with; leave out `resume` to begin one")
        _compare(values, contents, out / SETTINGS)
    elif out.exists() and not (out.is_dir() and _is_free(out)):
        raise UserError(
            f"{out} is not empty; choose another `out`, or go on with the search there: `resume=True`"
        )
    out.mkdir(parents=True, exist_ok=True)
    message = f"a search is running in {out}; wait for it, or choose another `out`"
    with locks.exclusive(out / LOCK, message):
        if resume:
            study = _reopened(out, search)
        else:
            write_text(yaml.safe_dump({**values, CONTENTS: contents}, sort_keys=False), out / SETTINGS)
            study = _create(out / JOURNAL, search)
            first = experiment_values(search.space, search.config)
            if first is not None:
                study.enqueue_trial(first)
        yield study


def ask(study: optuna.Study, search: Search) -> optuna.Trial:
    """Start the next trial; its values depend on the seed, its number and the trials that have ended."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    number = waiting[0].number if waiting else len(study.get_trials(deepcopy=False))
    seed = np.random.SeedSequence((search.config.seed, number)).generate_state(1)[0]
    study.sampler = TPESampler(seed=int(seed), multivariate=True)
    return study.ask(search.space)


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that finished, were pruned or failed, sorted by number."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def best(study: optuna.Study, count: int) -> list[FrozenTrial]:
    """Return the finished trials with the highest AUC, highest first; of equal trials the earlier first.

    Args:
        study: The study.
        count: Maximum number of trials.
    """
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(finished, key=lambda trial: (-(trial.value or 0.0), trial.number))[:count]


def _is_free(out: Path) -> bool:
    """Whether a folder is empty, or holds what a search leaves that was stopped before it had a journal."""
    names = {each.name for each in out.iterdir() if not is_leftover(each, SETTINGS)}
    return names in (set(), {LOCK}, {LOCK, SETTINGS})


def _create(path: Path, search: Search) -> optuna.Study:
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))),
        study_name=search.config.experiment,
        direction="maximize",
        pruner=_pruner(search),
    )


def _pruner(search: Search) -> SuccessiveHalvingPruner:
    return SuccessiveHalvingPruner(min_resource=search.min_epochs, reduction_factor=REDUCTION)


def _reopened(out: Path, search: Search) -> optuna.Study:
    """Rewrite the study with the trials that were running moved to the queue, and open it.

    Otherwise the values that these trials have reported would count at the rungs when they are run again.
    """
    path, aside = out / JOURNAL, out / f"{JOURNAL}.new"
    for leftover in (*out.glob(f"{JOURNAL}.lock*"), *out.glob(f"{JOURNAL}.new*")):
        leftover.unlink()  # left by a search that was killed
    journal = path.read_bytes()
    write_bytes(journal[: journal.rfind(b"\n") + 1], path)  # without a line that a crash truncated
    try:
        before = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(path))))
        trials = before.get_trials()
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged; begin another search with another `out`") from error
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


def _values(search: Search) -> dict[str, object]:
    """A search as plain values, for SETTINGS."""
    return {
        "config": settings.to_dict(search.config),
        "given": search.given,
        "min_epochs": search.min_epochs,
        "space": {name: distribution_to_json(values) for name, values in search.space.items()},
    }


def _compare(values: dict[str, object], contents: dict[str, str], path: Path) -> None:
    """Compare a search and the contents of its store with those in SETTINGS.

    Raises:
        UserError: They differ, or the file cannot be read.
    """
    try:
        before = dict(read_yaml(path))
        contents_before = before.pop(CONTENTS, None)  # missing in files of older versions
        was, now = experiments.flat(before), experiments.flat(values)
        changed = "" if contents_before is None else origin.differences(contents_before, contents)
    except (OSError, UserError, AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{path} is missing or damaged; begin another search with another `out`") from error
    for name in dict.fromkeys((*now, *was)):
        if name not in was or name not in now or was[name] != now[name]:
            raise UserError(
                f"{path.parent} holds a search with other settings: {name.removeprefix('config.')} was "
                f"{was.get(name, 'missing')} and is now {now.get(name, 'missing')}; "
                "give the same, or begin another search with another `out`"
            )
    if changed:
        raise UserError(
            f"the store {now['config.data']} is not the one that the search in {path.parent} was begun "
            f"on, {changed}; put that one back, or begin another search with another `out`"
        )
