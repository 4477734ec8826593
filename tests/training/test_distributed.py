"""Two processes train as one does with batches twice as large, from the command line to the report."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import lightning as L
import polars as pl
import pytest

from radgaze import models
from radgaze.errors import UserError
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.store.dataset import GazeDataset
from radgaze.store.store import Store
from radgaze.training.loading import StoreData
from radgaze.training.sampling import SeededShuffle
from radgaze.training.train import train
from tests.store.cohorts import make_cohort
from tests.stores import prepare
from tests.training.conftest import TINY, Configure

TOLERANCE = 2e-4
"""Of losses and probabilities after a few steps in float32: sums are taken in another order, and each step
carries that on."""

SPLIT = ("--split.kind", "folds", "--split.folds", "2", "--split.seed", "0")
"""36 cases to train with, and 9 to validate: two batches of 4 for the first process, one for the other."""


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """91 cases, of which every fourth has no gaze."""
    folder = tmp_path_factory.mktemp("uneven")
    cohort = make_cohort(folder / "images", cases=91, shape=(64, 64))
    return prepare(cohort, folder / "store", size=64, workers=1)


class Cases(GazeDataset):
    """As many cases as asked for, for a shuffle."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        pass


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("count", [7, 12, 40, 41])
def test_batches_of_all_processes_together_are_those_of_one(count: int, processes: int) -> None:
    one = SeededShuffle(Cases(count), 3, 4 * processes)
    own = [SeededShuffle(Cases(count), 3, 4, rank, processes) for rank in range(processes)]
    for epoch in (0, 1):
        for shuffle in (one, *own):
            shuffle.set_epoch(epoch)
        together = min(4 * processes, count)
        whole = [list(one)[start : start + together] for start in range(0, len(one), together)]
        parts = [list(shuffle) for shuffle in own]
        sizes = [len(part) // len(whole) for part in parts]
        found = [
            [
                case
                for part, size in zip(parts, sizes, strict=True)
                for case in part[k * size : (k + 1) * size]
            ]
            for k in range(len(whole))
        ]
        assert found == whole
        assert [len(shuffle) for shuffle in own] == [len(part) for part in parts]
        assert max(sizes) <= 4


@pytest.fixture
def free_ports() -> Callable[[int], list[int]]:
    """Ports of this machine that nobody listens on."""

    def find(count: int) -> list[int]:
        with ExitStack() as opened:
            sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
            for own in sockets:
                own.bind(("127.0.0.1", 0))
            return [own.getsockname()[1] for own in sockets]

    return find


def command(store: Store, out: Path, *more: str, experiment: str = "set3_guided") -> list[str]:
    options = {**TINY["model"], "dropout": 0.0}
    given = [
        f"--model.{key}={json.dumps(value) if key == 'decoder_channels' else value}"
        for key, value in options.items()
    ]
    given += [f"--trainer.{key}={value}" for key, value in TINY["trainer"].items()]
    return [
        *(sys.executable, "-m", "radgaze", "train", "--experiment", experiment),
        *("--data", str(store.path), "--out", str(out), "--input.size", "32", *given, *more),
    ]


def environment() -> dict[str, str]:
    own = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    return {key: value for key, value in os.environ.items() if key not in ("PL_GLOBAL_SEED",)} | own


def finished(store: Store, out: Path, *more: str, experiment: str) -> tuple[Run, str]:
    done = subprocess.run(
        command(store, out, *more, experiment=experiment),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Run.open(out), done.stderr


SLURM = {
    "JOB_ID": "1",
    "JOB_NAME": "train",
    "NNODES": "1",
    "NODEID": "0",
    "NODELIST": "127.0.0.1",
    "NTASKS": "2",
    "NTASKS_PER_NODE": "2",
}
"""What `srun` of two tasks on one node sets for each of them, without its rank."""

TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("experiment", "last"), [("set3_guided", "drop"), ("set1_guided", "keep"), ("gain_ext", "drop")]
)
def test_two_processes_give_the_metrics_of_one_with_the_same_global_batch(
    experiment: str, last: str, uneven: Store, tmp_path: Path
) -> None:
    """In set 1 no edge has a mask, and the decoder has no gradient; the last batch has four cases there.

    GAIN runs the network twice in a step, here with a balance of its terms.
    """
    shared: tuple[str, ...] = (*SPLIT, "--optimisation.last_batch", last)
    if experiment == "gain_ext":
        shared += ("--objective.terms.attention_mining.balance", "start")
    one, _ = finished(
        uneven,
        tmp_path / "one",
        *shared,
        "--optimisation.batch_size",
        "8",
        "--evaluate",
        "false",
        experiment=experiment,
    )
    two, said = finished(
        uneven, tmp_path / "two", *shared, "--optimisation.batch_size", "4", *TWO, experiment=experiment
    )
    histories = [run.history().drop("seconds") for run in (one, two)]
    assert histories[0].columns == histories[1].columns
    for name in histories[0].columns:
        wanted, got = (history[name].to_list() for history in histories)
        assert got == pytest.approx(wanted, abs=TOLERANCE), name
    columns = [f"probability_{name}" for name in one.classes]
    expected, found = (run.predictions() for run in (one, two))
    assert found["case_id"].equals(expected["case_id"])
    assert found.select(columns).to_numpy() == pytest.approx(
        expected.select(columns).to_numpy(), abs=TOLERANCE
    )
    assert expected.filter(pl.col("split") == "validate").height == 9
    # Once, by the first process:
    assert said.count("training cases") == said.count("predictions of") == 1
    assert (two.path / "metrics.json").is_file()


def launched(processes: list[tuple[list[str], dict[str, str]]]) -> None:
    """Run commands side by side to their end, each with variables of its own."""
    running = [
        subprocess.Popen(words, env=environment() | own, stderr=subprocess.PIPE, text=True)
        for words, own in processes
    ]
    said = [process.communicate(timeout=400)[1] for process in running]
    assert [process.returncode for process in running] == [0] * len(running), said


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_torchrun_slurm_and_several_nodes_train_what_two_devices_train(
    uneven: Store, tmp_path: Path, free_ports: Callable[[int], list[int]]
) -> None:
    shared: tuple[str, ...] = (*SPLIT, "--optimisation.batch_size", "4", "--evaluate", "false")
    here, torchrun, slurm, nodes = (tmp_path / name for name in ("here", "torchrun", "slurm", "nodes"))
    ports = [str(port) for port in free_ports(3)]

    launched([(command(uneven, here, *shared, *TWO), {})])
    elastic = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    launched([([*elastic, "--master_port", ports[0], *command(uneven, torchrun, *shared, *TWO)[1:]], {})])
    launched(
        [
            (
                command(uneven, slurm, *shared, *TWO),
                {f"SLURM_{name}": value for name, value in SLURM.items()}
                | {f"SLURM_{name}": rank for name in ("PROCID", "LOCALID")}
                | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": ports[1]},
            )
            for rank in "01"
        ]
    )
    one_each = ("--trainer.devices", "1", "--trainer.num_nodes", "2", "--trainer.strategy", "ddp")
    launched(
        [
            (
                command(uneven, nodes, *shared, *one_each),
                {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": ports[2], "NODE_RANK": rank}
                | {"WORLD_SIZE": "2", "LOCAL_RANK": "0"},
            )
            for rank in "01"
        ]
    )

    expected = Run.open(here).history().drop("seconds")
    for out in (torchrun, slurm, nodes):
        assert Run.open(out).history().drop("seconds").equals(expected), out.name


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ctrl_c_stops_all_processes_and_keeps_what_there_is(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(store, out, *TWO, "--trainer.max_epochs", "500", "--optimisation.batch_size", "4"),
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 300
        while not (out / "history.csv").is_file():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.2)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        said = process.communicate(timeout=60)[1]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, said
    assert said.count("go on with") == 1
    assert models.load(out / "model")[1] == store.classes
    with pytest.raises(ProcessLookupError):  # no other is left
        os.killpg(process.pid, 0)


def test_more_processes_than_cases_are_refused(store: Store, config: Configure) -> None:
    data = StoreData(store, config())
    data.trainer = cast(L.Trainer, SimpleNamespace(world_size=99, global_rank=98))  # all that it asks of one
    with pytest.raises(UserError, match="too few for 99 processes"):
        data.train_dataloader()


def test_a_model_of_frames_is_refused_on_several_devices(store: Store, tmp_path: Path) -> None:
    trainer = {**TINY["trainer"], "devices": 2, "strategy": "ddp"}
    wanted = settings.resolve("temporal", data=str(store.path), input={"size": 32}, trainer=trainer)
    with pytest.raises(UserError, match="one device"):
        train(wanted, tmp_path / "run")
    assert not (tmp_path / "run").exists()
