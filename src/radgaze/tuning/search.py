"""Running a search: trials one after another, or side by side in processes, until there are enough."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import optuna
import torch
from optuna.trial import TrialState

from radgaze import experiments
from radgaze.console import Bar, progress, say
from radgaze.errors import Stopped, UserError, in_words
from radgaze.files import stay_within
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.runs.data import dataset, open_store
from radgaze.store.store import Store
from radgaze.training.checks import check, check_gaze
from radgaze.training.module import NonFiniteLossError
from radgaze.training.notices import of_model, of_store
from radgaze.tuning import results
from radgaze.tuning.space import overrides
from radgaze.tuning.study import Search, ask, best, ended, opened
from radgaze.tuning.trial import Failed, Pruned, Report, run_trial
from radgaze.tuning.worker import Worker

Runner = Callable[[Config, Path, Report], float]

REASON = "reason"
"""The attribute of a failed trial that says why."""


def tune(
    search: Search,
    out: Path,
    trials: int,
    *,
    resume: bool = False,
    jobs: int = 1,
    runner: Runner = run_trial,
) -> optuna.Study:
    """Run a search until it has so many trials; leave their runs, table, best settings and figures.

    Args:
        search: What is searched.
        out: Its folder.
        trials: In all, those of before included.
        resume: Go on with the search in the folder.
        jobs: Trials side by side, each in a process with its share of cores and GPUs. With one, the same
            seed gives the same trials, however often they were interrupted.
        runner: Runs one trial, where there is one job.

    Raises:
        UserError: The folder or the settings cannot be used, or no trial finished.
    """
    store = open_store(search.config)
    check(search.config, store)
    for option, value in (("trials", trials), ("jobs", jobs)):
        if value < 1:
            raise UserError(f"--{option} is {value}; it must be 1 up")
    if out.is_dir():
        stay_within(out)  # what is stopped is removed there
    if not resume:
        _tell(search.config, store)  # before there is a folder, for what cannot be trained leaves none
    with opened(search, out, resume=resume) as study:
        if resume:
            _tell(search.config, store)  # after the store was compared with that of before
        already = len(ended(study))
        with progress(f"Tuning {search.config.experiment}", total=max(trials, already)) as bar:
            bar.advance(already)
            running = _Running(study, search, out, trials, bar)
            try:
                if jobs == 1:
                    running.work(runner)
                else:
                    _side_by_side(running, min(jobs, max(1, trials - already)))
            except KeyboardInterrupt as error:
                raise Stopped("go on with the same command and --resume") from error
        results.write(study, search, out)
        if not best(study, 1):
            raise UserError(_why_none(study, out))
        results.draw(study, search, out)
    return study


def _tell(config: Config, store: Store) -> None:
    """Say once what each trial, being silent, does not: all of them train on the same cases."""
    uncached = replace(config, input=replace(config.input, cache=False))
    cases = dataset(store, uncached, "train")
    for notice in (*of_store(config, store), *of_model(config.model, cases), check_gaze(config, cases)):
        if notice:
            say(notice)


class _Running:
    """A search that runs; several threads may work on it."""

    def __init__(self, study: optuna.Study, search: Search, out: Path, trials: int, bar: Bar) -> None:
        self.study, self.search, self.out, self.trials, self.bar = study, search, out, trials, bar
        self.stopped = False
        self._lock = threading.Lock()

    def work(self, runner: Runner) -> None:
        """Run trials until there are enough."""
        while (trial := self._next()) is not None:
            self._run(trial, runner)

    def _next(self) -> optuna.Trial | None:
        with self._lock:
            begun = [t for t in self.study.get_trials(deepcopy=False) if t.state != TrialState.WAITING]
            return None if self.stopped or len(begun) >= self.trials else ask(self.study, self.search)

    def _run(self, trial: optuna.Trial, runner: Runner) -> None:
        def report(epochs: int, auc: float) -> bool:
            with self._lock:
                trial.report(auc, epochs)
                self._describe(f"trial {trial.number} epoch {epochs}  AUC {auc:.3f}")
                return trial.should_prune()

        base = settings.to_dict(self.search.config)
        folder = self.out / "trials" / f"{trial.number:04d}"
        state, value, reason = TrialState.FAIL, None, None
        try:
            wanted = experiments.merge(base, overrides(trial.params, self.search.config))
            state, value = TrialState.COMPLETE, runner(settings.from_dict(wanted), folder, report)
        except Pruned:
            state = TrialState.PRUNED
        except NonFiniteLossError as error:
            state, reason = TrialState.FAIL, str(error)
        except Exception as error:
            if self.stopped:
                return  # its process was ended; it is run again when the search is resumed
            # A mistake of the user would make every trial fail.
            if isinstance(error, UserError) and not ended(self.study):
                raise
            told = isinstance(error, UserError | Failed)
            state, reason = TrialState.FAIL, str(error) if told else in_words(error)
        with self._lock:
            if reason is not None:
                trial.set_user_attr(REASON, " ".join(reason.split())[:300])
            self.study.tell(trial, value, state)
            results.write(self.study, self.search, self.out)
            self.bar.advance()
            self._describe(f"trial {trial.number} {results.STATES[state]}")

    def _describe(self, now: str) -> None:
        found = best(self.study, 1)
        leader = f"  best AUC {found[0].value:.3f} (trial {found[0].number})" if found else ""
        self.bar.describe(f"Tuning {self.search.config.experiment}  {now}{leader}")


def _side_by_side(running: _Running, jobs: int) -> None:
    gpus = torch.cuda.device_count() if running.search.config.trainer.accelerator != "cpu" else 0
    threads = max(1, (os.cpu_count() or 1) // jobs)
    workers = [Worker(threads, _gpu(i, gpus)) for i in range(jobs)]
    with ThreadPoolExecutor(jobs) as pool:
        try:
            left = {pool.submit(running.work, worker) for worker in workers}
            while left:
                # Not without end: Ctrl-C may reach another thread, which does not wake this one.
                done, left = wait(left, timeout=0.5, return_when=FIRST_COMPLETED)
                for one in done:
                    one.result()
        finally:
            running.stopped = True
            for worker in workers:
                worker.stop()


def _gpu(i: int, gpus: int) -> str | None:
    """The name of a GPU among those that this process sees."""
    if not gpus:
        return None
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (seen.split(",") if seen else [str(k) for k in range(gpus)])[i % gpus]


def _why_none(study: optuna.Study, out: Path) -> str:
    failed = [trial for trial in ended(study) if REASON in trial.user_attrs]
    why = f"; trial {failed[0].number} failed: {failed[0].user_attrs[REASON]}" if failed else ""
    return f"no trial finished, of {len(ended(study))} in {out / results.TABLE}{why}"
