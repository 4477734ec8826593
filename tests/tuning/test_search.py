"""A search: pruned, reproducible, resumable, and clear about what it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import optuna
import polars as pl
import pytest
import yaml
from optuna.trial import TrialState

from radgaze import experiments
from radgaze.errors import Stopped, UserError
from radgaze.execution.shares import Share
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.runs.run_store import open_store
from radgaze.store.store import Store
from radgaze.training.module import NonFiniteLossError
from radgaze.tuning import search as search_module
from radgaze.tuning.options import TuneOptions
from radgaze.tuning.planning import plan
from radgaze.tuning.search import tune
from radgaze.tuning.study import ended
from radgaze.tuning.trial import Failed, Report
from tests.tuning.conftest import Formula, MakeSearch


def drawn(study: optuna.Study) -> list[tuple[object, ...]]:
    """All that a search decided, by trial."""
    return [(t.number, t.state, t.params, t.value, t.intermediate_values) for t in study.get_trials()]


def asha(curves: list[list[float]], rungs: tuple[int, ...], factor: int) -> list[int]:
    """Epochs that each learning curve gets, one after another: the rule of Li et al. 2020, written out."""
    seen: dict[int, list[float]] = {rung: [] for rung in rungs}
    epochs = []
    for curve in curves:
        length = len(curve)
        for rung in (rung for rung in rungs if rung < len(curve)):
            seen[rung].append(curve[rung - 1])
            best = sorted(seen[rung], reverse=True)[: max(1, len(seen[rung]) // factor)]
            if curve[rung - 1] < best[-1]:
                length = rung
                break
        epochs.append(length)
    return epochs


def test_trials_are_pruned_as_asha_prunes_them(search: MakeSearch, formula: Formula, tmp_path: Path) -> None:
    tune(
        search(trainer={"max_epochs": 18}, min_epochs=2),
        tmp_path / "out",
        TuneOptions(trials=25),
        runner=formula,
    )
    curves = [
        [(0.9 - abs(gamma - 0.4)) * (0.5 + 0.5 * epoch / 18) for epoch in range(1, 19)]
        for _, gamma, _ in formula.ran
    ]
    epochs = [epochs for _, _, epochs in formula.ran]
    assert epochs == asha(curves, (2, 6), 3)
    assert {2, 6, 18} == set(epochs)


def test_what_trials_keep_to_themselves_is_told_once_before_them(
    search: MakeSearch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = search(trainer={"max_epochs": 1}, split={"kind": "folds", "folds": 18})
    tune(wanted, tmp_path / "out", TuneOptions(trials=2))
    told = capsys.readouterr().err
    lacking = open_store(wanted.config).classes_without_cases()
    assert "test" in lacking  # two cases of three classes
    for split, names in lacking.items():
        assert told.count(f"Note: no {split} case has the class {', '.join(names)}:") == 1
    assert told.count("Note: no ") == len(lacking)


def test_a_network_of_gaze_is_told_once_of_frames_that_it_will_not_see(
    search: MakeSearch, formula: Formula, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tune(
        search("temporal", model={"encoder": "xraynet", "most_frames": 1}),
        tmp_path / "out",
        TuneOptions(trials=3),
        runner=formula,
    )
    assert capsys.readouterr().err.count("training cases have more than 1 frames of gaze") == 1


def test_every_trial_gets_a_ninth_of_the_epochs_and_more_than_the_warm_up(search: MakeSearch) -> None:
    assert search(trainer={"max_epochs": 35}).min_epochs == 4
    assert search(trainer={"max_epochs": 35}, optimisation={"warmup_epochs": 5.5}).min_epochs == 7
    assert search(protocol="faithful", trainer={"max_epochs": 20}).min_epochs == 2  # has no warm-up


def test_a_trial_is_the_run_that_its_best_settings_make(
    store: Store, formula: Formula, tmp_path: Path
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("model.encoder: [resnet18]\n")
    given = {"trainer": {"accelerator": "cpu", "max_epochs": 1}}
    wanted = plan("set3_guided", str(store.path), TuneOptions(trials=1, space=space), given=given)
    trained: list[Config] = []

    def kept(config: Config, out: Path, report: Report) -> float:
        trained.append(config)
        return formula(config, out, report)

    tune(wanted, tmp_path / "out", TuneOptions(trials=1), runner=kept)
    best = yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())
    final = settings.resolve("set3_guided", data=wanted.config.data, seed=wanted.config.seed, **best)
    final.trainer.devices = 1
    assert trained == [final]


def test_min_epochs_of_all_epochs_prunes_nothing(
    search: MakeSearch, formula: Formula, tmp_path: Path
) -> None:
    wanted = search(trainer={"max_epochs": 4}, min_epochs=4)
    study = tune(wanted, tmp_path / "out", TuneOptions(trials=8), runner=formula)
    assert {trial.state for trial in study.get_trials()} == {TrialState.COMPLETE}


def test_the_search_finds_what_is_best_and_begins_with_the_experiment_itself(
    search: MakeSearch, formula: Formula, tmp_path: Path
) -> None:
    study = tune(search(), tmp_path / "out", TuneOptions(trials=40), runner=formula)
    assert study.trials[0].params["objective.gamma"] == 0.41731
    assert study.trials[0].params["lambda"] == 0.5
    assert abs(study.best_params["objective.gamma"] - 0.4) < abs(0.41731 - 0.4)
    late = [gamma for _, gamma, _ in formula.ran[25:]]
    assert sum(abs(gamma - 0.4) < 0.2 for gamma in late) > len(late) / 2  # by chance 44%


def test_one_seed_gives_one_search(search: MakeSearch, tmp_path: Path) -> None:
    found = [
        drawn(tune(search(seed=seed), tmp_path / str(i), TuneOptions(trials=15), runner=Formula()))
        for i, seed in enumerate((1, 1, 2))
    ]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_an_interrupted_search_goes_on_to_the_same_trials(search: MakeSearch, tmp_path: Path) -> None:
    wanted = search(trainer={"max_epochs": 9}, min_epochs=1)
    whole = tune(wanted, tmp_path / "whole", TuneOptions(trials=20), runner=Formula())

    formula = Formula()

    def interrupted(config: Config, out: Path, report: Report) -> float:
        if len(formula.ran) == 13:
            report(1, 0.9)  # what it had reported does not count when it is run again
            report(3, 0.9)
            raise KeyboardInterrupt
        return formula(config, out, report)

    out = tmp_path / "stopped"
    with pytest.raises(Stopped, match="`resume=True`"):
        tune(wanted, out, TuneOptions(trials=20), runner=interrupted)
    assert pl.read_csv(out / "trials.csv").height == 13
    with pytest.raises(UserError, match="`resume=True`"):
        tune(wanted, out, TuneOptions(trials=20), runner=formula)
    with (out / "study.journal").open("a") as journal:
        journal.write('{"op_code": 4, "wor')  # the machine went down in the midst of a line
    resumed = tune(wanted, out, TuneOptions(trials=20, resume=True), runner=formula)
    assert drawn(resumed) == drawn(whole)
    assert [name for name, _, _ in formula.ran] == [f"{i:04d}" for i in range(20)]

    assert len(ended(tune(wanted, out, TuneOptions(trials=22, resume=True), runner=formula))) == 22
    assert len(ended(tune(wanted, out, TuneOptions(trials=5, resume=True), runner=formula))) == 22


def test_a_search_is_resumed_with_its_own_settings_only(
    search: MakeSearch, formula: Formula, tmp_path: Path
) -> None:
    tune(search(), tmp_path / "out", TuneOptions(trials=2), runner=formula)
    for other, said in (
        (search(seed=7), "seed was 42 and is now 7"),
        (search(min_epochs=2), "min_epochs was 3 and is now 2"),
        (search(objective={"gamma": 0.3}), "objective.gamma"),
        (search("baseline"), "experiment was set3_guided and is now baseline"),
    ):
        with pytest.raises(UserError, match=said):
            tune(other, tmp_path / "out", TuneOptions(trials=3, resume=True), runner=formula)
    with pytest.raises(UserError, match="no search to go on with"):
        tune(search(), tmp_path / "none", TuneOptions(trials=3, resume=True), runner=formula)


def test_two_searches_do_not_share_a_folder(search: MakeSearch, formula: Formula, tmp_path: Path) -> None:
    wanted, out = search(), tmp_path / "out"
    tune(wanted, out, TuneOptions(trials=1), runner=formula)
    held = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from pathlib import Path; from radgaze import locks\n"
         "with locks.exclusive(Path(sys.argv[1]), ''): print('held', flush=True); time.sleep(60)",
         str(out / "study.lock")],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert held.stdout is not None
        held.stdout.readline()
        with pytest.raises(UserError, match="a search is running"):
            tune(wanted, out, TuneOptions(trials=2, resume=True), runner=formula)
    finally:
        held.kill()
        held.wait()
    assert len(ended(tune(wanted, out, TuneOptions(trials=2, resume=True), runner=formula))) == 2


def test_a_search_that_was_stopped_before_its_journal_is_begun_again(
    search: MakeSearch, formula: Formula, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "tune.yaml").write_text("a: 1")  # of the user, where there is no lock
    with pytest.raises(UserError, match="is not empty"):
        tune(search(), out, TuneOptions(trials=1), runner=formula)
    (out / "study.lock").touch()
    (out / ".tune.yaml.0a1b2c3d.part").touch()
    assert len(ended(tune(search(), out, TuneOptions(trials=1), runner=formula))) == 1


def test_a_trial_that_fails_costs_itself_alone(search: MakeSearch, formula: Formula, tmp_path: Path) -> None:
    def failing(config: Config, out: Path, report: Report) -> float:
        if out.name == "0002":
            raise NonFiniteLossError("the loss is not finite at step 7: heatmap_gaze")
        if out.name == "0003":
            raise MemoryError
        return formula(config, out, report)

    study = tune(search(), tmp_path / "out", TuneOptions(trials=6), runner=failing)
    assert len(ended(study)) == 6
    trials = pl.read_csv(tmp_path / "out" / "trials.csv")
    assert trials["state"][2] == trials["state"][3] == "failed"
    assert "at step 7" in trials["reason"][2]
    assert "MemoryError" in trials["reason"][3]


def test_a_search_without_a_finished_trial_says_why(
    search: MakeSearch, formula: Formula, tmp_path: Path
) -> None:
    def broken(config: Config, out: Path, report: Report) -> float:
        raise NonFiniteLossError("the loss is not finite")

    with pytest.raises(UserError, match=r"no trial finished, of 3 .*not finite"):
        tune(search(), tmp_path / "out", TuneOptions(trials=3), runner=broken)
    assert pl.read_csv(tmp_path / "out" / "trials.csv").height == 3

    def mistaken(config: Config, out: Path, report: Report) -> float:
        raise UserError("no such encoder")

    with pytest.raises(UserError, match=r"^no such encoder"):
        tune(search(), tmp_path / "other", TuneOptions(trials=3), runner=mistaken)


def test_what_cannot_be_searched_is_told_before(search: MakeSearch, formula: Formula, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="`trials` must be at least 1, got 0"):
        TuneOptions(trials=0)
    with pytest.raises(UserError, match="`jobs` must be at least 1, got 0"):
        TuneOptions(trials=1, jobs=0)
    with pytest.raises(UserError, match="`min_epochs` must be at least 1, got 0"):
        search(min_epochs=0)
    with pytest.raises(UserError, match="`selection` must be validate"):
        search(selection="test")
    with pytest.raises(UserError, match="one device"):
        search(trainer={"devices": 2})
    with pytest.raises(UserError, match="set9"):
        search("set9")
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not empty"):
        tune(search(), tmp_path, TuneOptions(trials=1), runner=formula)
    assert not (tmp_path / "out").exists()


def test_best_yaml_holds_what_was_given_and_what_was_best(
    search: MakeSearch, formula: Formula, tmp_path: Path
) -> None:
    study = tune(search(), tmp_path / "out", TuneOptions(trials=6), runner=formula)
    best = yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())
    assert best["model"]["encoder"] == "tu-test_efficientnet"  # given
    assert best["objective"]["gamma"] == study.best_params["objective.gamma"]
    share = study.best_params["lambda"]
    assert best["objective"]["mask_gaze"]["weight"] == share
    assert best["objective"]["heatmap_gaze"]["weight"] == pytest.approx(1 - share)
    assert not {"experiment", "data", "seed"} & set(best)
    settings.from_dict(experiments.merge(experiments.load("set3_guided"), best))


def test_side_by_side_every_trial_is_run_once(
    search: MakeSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Thread(Formula):
        def __init__(self, share: Share) -> None:
            super().__init__()
            self.stopped = False
            made.append(self)

        def stop(self) -> None:
            self.stopped = True

    monkeypatch.setattr(search_module, "Worker", Thread)
    study = tune(search(trainer={"max_epochs": 9}), tmp_path / "out", TuneOptions(trials=12, jobs=3))
    assert sorted(name for worker in made for name, _, _ in worker.ran) == [f"{i:04d}" for i in range(12)]
    assert [trial.number for trial in ended(study)] == list(range(12))
    assert len(made) == 3
    assert all(worker.stopped for worker in made)


def test_side_by_side_ctrl_c_ends_what_runs_and_the_search_goes_on(
    search: MakeSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Thread(Formula):
        def __init__(self, share: Share) -> None:
            super().__init__()
            self.stopped = threading.Event()

        def __call__(self, config: Config, out: Path, report: Report) -> float:
            if interrupting and out.name == "0004":
                os.kill(os.getpid(), signal.SIGINT)
            if interrupting and out.name > "0003":
                report(1, 0.5)
                assert self.stopped.wait(30)
                raise Failed("its process was killed")
            return super().__call__(config, out, report)

        def stop(self) -> None:
            self.stopped.set()

    monkeypatch.setattr(search_module, "Worker", Thread)
    wanted, out, interrupting = search(min_epochs=9), tmp_path / "out", True
    with pytest.raises(Stopped, match="`resume=True`"):
        tune(wanted, out, TuneOptions(trials=9, jobs=2))
    assert pl.read_csv(out / "trials.csv")["trial"].to_list() == [0, 1, 2, 3]
    interrupting = False
    study = tune(wanted, out, TuneOptions(trials=9, jobs=2, resume=True))
    assert [trial.state for trial in study.get_trials()] == [TrialState.COMPLETE] * 9


KILLED = """
import os, signal, sys
from pathlib import Path
from radgaze.tuning.options import TuneOptions
from radgaze.tuning.planning import plan
from radgaze.tuning.search import tune
from tests.training.conftest import TINY
from tests.tuning.conftest import Formula
formula = Formula()
def killed(config, out, report):
    if out.name == "0004":
        report(1, 0.8)
        os.kill(os.getpid(), signal.SIGKILL)
    return formula(config, out, report)
options = TuneOptions(trials=9)
tune(plan("set3_guided", sys.argv[1], options, given=TINY), Path(sys.argv[2]), options, runner=killed)
"""


@pytest.mark.slow
def test_a_killed_search_goes_on_to_the_same_trials(search: MakeSearch, store: Store, tmp_path: Path) -> None:
    whole = tune(search(), tmp_path / "whole", TuneOptions(trials=9), runner=Formula())
    out, paths = tmp_path / "killed", [str(Path(__file__).parents[2]), *sys.path]
    code = subprocess.run(
        [sys.executable, "-c", KILLED, str(store.path), str(out)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
    )
    assert code.returncode == -signal.SIGKILL, code.stderr.decode()
    resumed = tune(search(), out, TuneOptions(trials=9, resume=True), runner=Formula())
    assert drawn(resumed) == drawn(whole)
