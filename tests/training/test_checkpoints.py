"""A checkpoint is written whole or not at all, moves with its run, and can do no harm."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
import yaml

from radgaze import files
from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.store.batch import Batch
from radgaze.store.store import Store
from radgaze.training import checkpoint_files
from radgaze.training.checkpoint_files import resumable
from radgaze.training.checkpoints import Checkpoints
from radgaze.training.module import GazeGuided
from radgaze.training.train import train
from tests.training.conftest import TINY

Change = Callable[[str, dict[str, object]], None]


def predictions(run: Run) -> bytes:
    return (run.path / "predictions.parquet").read_bytes()


@pytest.fixture(scope="module")
def begun(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of three, as Ctrl-C leaves one: with a last checkpoint and the one before it."""
    out = tmp_path_factory.mktemp("begun") / "run"
    trainer = {**TINY["trainer"], "max_epochs": 2}
    train(settings.resolve("no_decoder", data=str(store.path), **{**TINY, "trainer": trainer}), out)
    return out


@pytest.fixture
def run(begun: Path, tmp_path: Path) -> Path:
    """A copy elsewhere: a run that was moved."""
    shutil.copytree(begun, tmp_path / "moved" / "run")
    return tmp_path / "moved" / "run"


def go_on(run: Path, epochs: int = 3) -> Run:
    config = settings.read(run / "config.yaml")
    config.trainer.max_epochs = epochs
    return train(config, run, resume=True)


def spoilt(run: Path, change: Change) -> None:
    """Change the state of the callbacks in the last checkpoint, as somebody would who means harm."""
    path = run / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)
    for key, value in state["callbacks"].items():
        if "best_model_path" in value:
            change(key, value)
    torch.save(state, path)


def test_a_run_that_was_moved_goes_on_as_it_would_have(begun: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(begun, tmp_path / "unmoved")
    there = predictions(go_on(tmp_path / "unmoved"))
    assert predictions(go_on(run)) == there
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert str(tmp_path) not in repr(state["callbacks"])  # nothing in it says where it lay


@pytest.mark.parametrize(
    ("keeping", "aucs", "best_epoch"),
    [
        (("all", "best"), [0.6, 0.5, 0.9, 0.55, 0.7], 2),
        (("all", "best"), [0.6, 0.9, 0.7], 1),
        (("best", "all", "best"), [0.6, 0.5, 0.55, 0.58, 0.9, 0.7], 4),
    ],
)
def test_a_run_that_keeps_other_checkpoints_than_before_keeps_the_best(
    keeping: tuple[str, ...],
    aucs: list[float],
    best_epoch: int,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def scored(self: GazeGuided, batch: Batch, step: int) -> None:
        self.log("validate/auc", aucs[self.current_epoch], on_epoch=True)

    monkeypatch.setattr(GazeGuided, "validation_step", scored)
    out = tmp_path / "run"
    for place, kept in enumerate(keeping):
        epochs = 2 * (place + 1) if place + 1 < len(keeping) else len(aucs)
        trainer = {**TINY["trainer"], "max_epochs": epochs, "keep_checkpoints": kept}
        config = settings.resolve("no_decoder", data=str(store.path), **{**TINY, "trainer": trainer})
        train(config, out, resume=place > 0, predictions=False)
    last = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)
    (best,) = (state for state in last["callbacks"].values() if state.get("monitor"))
    assert float(best["best_model_score"]) == pytest.approx(0.9)
    chosen = torch.load(out / "checkpoints" / best["best_model_path"], weights_only=True)
    assert chosen["epoch"] == best_epoch


@pytest.mark.parametrize("how", ["absolute", "local://", "file://", "..", "a link"])
def test_nothing_outside_of_a_run_is_removed_or_written(
    how: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = tmp_path / "thesis"
    victim.mkdir()
    (victim / "best.ckpt").write_text("years of work")
    (victim / "work.txt").write_text("years of work")
    before = sorted(victim.rglob("*"))
    named = {
        "absolute": str(victim),
        "local://": f"local://{victim}",
        "file://": f"file://{victim}/best.ckpt",
        "..": str(run / "checkpoints" / ".." / ".." / ".." / "thesis" / "best.ckpt"),
        "a link": str(run / "checkpoints" / "best.ckpt"),
    }[how]
    if how == "a link":
        (run / "checkpoints" / "best.ckpt").unlink()
        (run / "checkpoints" / "best.ckpt").symlink_to(victim / "best.ckpt")

    def change(key: str, value: dict[str, object]) -> None:
        value.update(
            best_model_path=named, last_model_path=named, kth_best_model_path=named, dirpath=str(victim)
        )
        value["best_k_models"] = {named: torch.tensor(-1.0)}

    spoilt(run, change)
    capsys.readouterr()
    if how == "a link":
        with pytest.raises(UserError, match=r"best\.ckpt is a link that leads out of .*replace it by"):
            go_on(run)
    else:
        go_on(run)
        said = " ".join(capsys.readouterr().err.split())
        assert re.search(
            r"last\.ckpt names (a file that is no checkpoint of the run|best\.ckpt as what it is not).*"
            r"going on from before-last\.ckpt, the one before it, after epoch 1",
            said,
        )
        assert {path.name for path in (run / "checkpoints").iterdir()} == {
            *(checkpoint_files.BEST, checkpoint_files.LAST, checkpoint_files.BEFORE)
        }
    assert sorted(victim.rglob("*")) == before
    assert {path.read_text() for path in before} == {"years of work"}


@pytest.mark.parametrize("name", ["best_model_path", "last_model_path", "kth_best_model_path"])
@pytest.mark.parametrize("of_best", [True, False])
def test_no_checkpoint_is_taken_for_another_one_of_the_run(
    name: str, of_best: bool, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lightning removes what it believes to be its own last one: the best one's weights, or the last."""

    def change(key: str, value: dict[str, object]) -> None:
        if (value["monitor"] is not None) == of_best:
            value[name] = "last.ckpt" if of_best else "best.ckpt"

    spoilt(run, change)
    capsys.readouterr()
    went_on = go_on(run)
    assert "as what it is not; going on from before-last.ckpt" in " ".join(capsys.readouterr().err.split())
    assert (run / "checkpoints" / "best.ckpt").is_file()
    assert went_on.predictions().height > 0


def test_a_best_epoch_that_is_gone_is_not_told_as_a_stop(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checkpoints, "load_best", lambda *_: False)
    with pytest.raises(UserError, match="has no weights of a best epoch"):
        go_on(run)


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-2000]),
        lambda path: path.write_bytes(b""),
        lambda path: torch.save({"weights": torch.zeros(3)}, path),
        lambda path: torch.save([1, 2, 3], path),
        lambda path: path.unlink(),
    ],
)
def test_resume_takes_the_newest_whole_checkpoint_and_says_so(
    make: Callable[[Path], object], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = predictions(go_on(run))
    shutil.copy(run / "checkpoints" / checkpoint_files.BEFORE, run / "checkpoints" / "kept")
    make(run / "checkpoints" / checkpoint_files.LAST)
    (run / "predictions.parquet").unlink()
    capsys.readouterr()
    assert predictions(go_on(run)) == whole  # the last epoch is trained again, to the same bytes
    said = " ".join(capsys.readouterr().err.split())
    assert f"going on from {checkpoint_files.BEFORE}" in said


def test_where_no_checkpoint_is_whole_that_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (checkpoint_files.LAST, checkpoint_files.BEFORE):
        (run / "checkpoints" / name).write_bytes(b"PK")
    assert main(["train", "--resume", str(run)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert "cannot be resumed" in said[-1]


def test_a_write_that_is_cut_leaves_the_checkpoint_that_was_there(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Checkpoints(run)
    path = run / "checkpoints" / checkpoint_files.LAST
    before, there = path.read_bytes(), sorted(path.parent.iterdir())

    def cut(state: object, file: BinaryIO) -> None:
        file.write(b"half a check")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", cut)
    with pytest.raises(OSError, match="No space"):
        kept.save_checkpoint({"callbacks": {}}, path)
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == there


def test_a_file_is_written_beside_its_target_wherever_temporary_files_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    with files.written(tmp_path / "table") as aside:
        assert aside.parent == tmp_path
        aside.write_text("whole")
        assert not (tmp_path / "table").exists()
    assert (tmp_path / "table").read_text() == "whole"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets that fail whoever asks the network for anything."""

    def refused(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


@pytest.mark.parametrize(
    "encoder", ["tu-hf-hub:owner/model", "tu-hf_hub:owner/model", "tu-local-dir:x", "a/b"]
)
def test_no_run_asks_a_hub(
    encoder: str, run: Path, offline: None, capsys: pytest.CaptureFixture[str]
) -> None:
    about = run / "model" / "config.json"
    about.write_text(about.read_text().replace("tu-test_efficientnet", encoder))
    assert main(["evaluate", str(run)]) == 2
    assert "describes no model" in capsys.readouterr().err
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["encoder"] = encoder
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["train", "--resume", str(run)]) == 2


def test_a_trained_run_is_read_and_resumed_without_the_weights_it_began_with(
    run: Path, offline: None
) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["weights"] = "imagenet"  # which would be fetched
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert Run.open(run).model() is not None
    go_on(run)
    assert settings.read(run / "config.yaml").model.weights == "imagenet"  # what it began with is kept


def test_a_run_killed_between_two_checkpoints_can_be_resumed(run: Path) -> None:
    """Where only the checkpoint before the last is there, the run is resumed and not started again."""
    assert resumable(run)
    (run / "checkpoints" / checkpoint_files.LAST).unlink()
    assert resumable(run)
    (run / "checkpoints" / checkpoint_files.BEFORE).unlink()
    assert not resumable(run)
