"""Running of a search: trials one after another, or in parallel processes, up to the requested number."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import optuna
from optuna.trial import TrialState

from radgaze import experiments
from radgaze.console import Bar, note, progress, say
from radgaze.errors import Stopped, UserError, in_words
from radgaze.execution.shares import divide
from radgaze.files import stay_within
from radgaze.runs.config import Config
from radgaze.runs.data import dataset
from radgaze.runs.run_store import open_store
from radgaze.store.store import Store
from radgaze.training.checks import check, check_gaze
from radgaze.training.module import NonFiniteLossError
from radgaze.training.notices import of_model, of_store
from radgaze.training.own_network import with_found_parts
from radgaze.tuning import page, results
from radgaze.tuning.contest import contest
from radgaze.tuning.options import TuneOptions
from radgaze.tuning.space import drawn_config
from radgaze.tuning.study import Search, ask, best, ended, opened
from radgaze.tuning.trial import Failed, Pruned, Report, run_trial
from radgaze.tuning.worker import Worker

Runner = Callable[[Config, Path, Report], float]

REASON = "reason"
"""Attribute of a failed trial with the reason."""


def tune(search: Search, out: Path, options: TuneOptions, *, runner: Runner = run_trial) -> optuna.Study:
    """Run a search up to the requested number of trials; write their runs, table, best settings and figures.

    With one job, the same seed results in the same trials, however often the search was interrupted. With
    several, each trial runs in a process with its share of cores and GPUs.

    Args:
        search: The search.
        out: Folder of the search.
        options: Number of trials and jobs, and whether to resume.
        runner: Function that runs one trial, used with one job.

    Returns:
        The study, with all trials.

    Raises:
        UserError: The folder or the settings cannot be used, or no trial finished.
        Stopped: The search was interrupted by Ctrl-C.
    """
    store = open_store(search.config)
    config = with_found_parts(search.config, store)
    check(config, store)
    if out.is_dir():
        stay_within(out)  # folders of stopped trials are removed there
    if not options.resume:
        _say_notices(config, store)  # before the folder is made, so that a refused search leaves none
    with opened(search, out, resume=options.resume) as study:
        if options.resume:
            _say_notices(config, store)  # after the store was compared with that of the search
        already = len(ended(study))
        with progress(f"Tuning {search.config.experiment}", total=max(options.trials, already)) as bar:
            bar.advance(already)
            running = _Running(study, search, out, options.trials, bar)
            try:
                if options.jobs == 1:
                    running.work(runner)
                else:
                    _side_by_side(running, min(options.jobs, max(1, options.trials - already)))
            except KeyboardInterrupt as error:
                raise Stopped("go on with the same command and `resume=True`") from error
        decided = contest(study, out)
        results.write(study, search, out, "" if decided is None else decided.words)
        if decided is not None:
            say(decided.words)
        if not best(study, 1):
            raise UserError(_why_none(study, out))
        results.draw(study, search, out)
        page.write(study, search, out, "" if decided is None else decided.words)
    return study


def _say_notices(config: Config, store: Store) -> None:
    """Print the notices of training once, since all trials train on the same cases and print none."""
    uncached = replace(config, input=replace(config.input, cache=False))
    cases = dataset(store, uncached, "train", controlled=True)
    for notice in (*of_store(config, store), *of_model(config.model, cases), check_gaze(config, cases)):
        if notice:
            note(notice)


class _Running:
    """A running search; several threads may work on it."""

    def __init__(self, study: optuna.Study, search: Search, out: Path, trials: int, bar: Bar) -> None:
        self.study, self.search, self.out, self.trials, self.bar = study, search, out, trials, bar
        self.stopped = False
        self._lock = threading.Lock()

    def work(self, runner: Runner) -> None:
        """Run trials up to the requested number."""
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

        folder = self.out / "trials" / f"{trial.number:04d}"
        auc, reason = None, None
        try:
            auc = runner(self._config(trial), folder, report)
            state = TrialState.COMPLETE
        except Pruned:
            state = TrialState.PRUNED
        except NonFiniteLossError as error:
            state, reason = TrialState.FAIL, str(error)
        except Exception as error:
            if self.stopped:
                return  # its process was killed; the trial is run again when the search is resumed
            # In the first trial, a mistake of the user ends the search, since it would make every trial fail.
            if isinstance(error, UserError) and not ended(self.study):
                raise
            state = TrialState.FAIL
            reason = str(error) if isinstance(error, UserError | Failed) else in_words(error)
        with self._lock:
            if reason is not None:
                trial.set_user_attr(REASON, " ".join(reason.split())[:300])
            self.study.tell(trial, auc, state)
            results.write(self.study, self.search, self.out)
            self.bar.advance()
            self._describe(f"trial {trial.number} {results.STATES[state]}")

    def _config(self, trial: optuna.Trial) -> Config:
        return drawn_config(trial.params, self.search.config, experiments.flat(self.search.given))

    def _describe(self, now: str) -> None:
        leaders = best(self.study, 1)
        leader = f"  best AUC {leaders[0].value:.3f} (trial {leaders[0].number})" if leaders else ""
        self.bar.describe(f"Tuning {self.search.config.experiment}  {now}{leader}")


def _side_by_side(running: _Running, jobs: int) -> None:
    gpus = 0 if running.search.config.trainer.accelerator == "cpu" else 1
    workers = [Worker(share) for share in divide(jobs, gpus=gpus)]
    with ThreadPoolExecutor(jobs) as pool:
        try:
            left = {pool.submit(running.work, worker) for worker in workers}
            while left:
                # With a timeout, since Ctrl-C may be delivered to another thread and not wake this one.
                done, left = wait(left, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        finally:
            running.stopped = True
            for worker in workers:
                worker.stop()


def _why_none(study: optuna.Study, out: Path) -> str:
    failed = [trial for trial in ended(study) if REASON in trial.user_attrs]
    why = f"; trial {failed[0].number} failed: {failed[0].user_attrs[REASON]}" if failed else ""
    return f"no trial finished, of {len(ended(study))} in {out / results.TABLE}{why}"
