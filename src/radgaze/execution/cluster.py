"""Execution of tasks on a Ray cluster. Ray is imported only when it is needed, and shut down afterwards."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Generic, ParamSpec, Protocol, TypeVar

from radgaze.errors import UserError
from radgaze.execution.process import GRACE, PAUSE, Outcome, Task, Watch, start, stop
from radgaze.execution.shares import Share

Ended = tuple[str | None, float]
"""Reason why a task failed, None where it succeeded, and its duration in seconds."""

LOST = 2
"""Maximum number of times that Ray restarts a task whose machine was lost."""

HANDED_ON = ("RADGAZE_PLUGINS", "RADGAZE_TRUSTED")
"""Variables of the environment with what the user allowed to be imported, which a running cluster lacks."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Ref(Generic[Result]):
    """Type of `ray.ObjectRef`, a reference to the future result of a remote call."""


class Remote(Protocol[Arguments, Result]):
    """A function that runs on the cluster."""

    def remote(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Ref[Result]:
        """Submit a call."""
        ...


class Exceptions(Protocol):
    """The part of `ray.exceptions` that is used."""

    RayError: type[Exception]


class Ray(Protocol):
    """The part of the module `ray` that is used; it is not installed everywhere, and has few types."""

    exceptions: Exceptions

    def init(self, address: str, **options: object) -> object:
        """Connect to a cluster."""
        ...

    def shutdown(self) -> None:
        """Disconnect from the cluster."""
        ...

    def remote(self, **options: float) -> Callable[[Callable[Arguments, Result]], Remote[Arguments, Result]]:
        """Make a function remote."""
        ...

    def wait(
        self, refs: list[Ref[Result]], *, num_returns: int, timeout: float | None = None
    ) -> tuple[list[Ref[Result]], list[Ref[Result]]]:
        """Wait for results."""
        ...

    def get(self, ref: Ref[Result]) -> Result:
        """Return the result of a call."""
        ...

    def cancel(self, ref: Ref[Result], *, force: bool = False) -> None:
        """Cancel a call."""
        ...

    def nodes(self) -> list[Mapping[str, object]]:
        """Return the machines of the cluster."""
        ...

    def cluster_resources(self) -> Mapping[str, float]:
        """Return the total numbers of cores and GPUs and the memory of all machines."""
        ...


def load() -> Ray:
    """Import Ray.

    Raises:
        UserError: Ray is not installed.
    """
    try:
        ray: Ray = import_module("ray")
    except ImportError as error:
        raise UserError(
            "`engine='ray'` needs Ray: pip install 'radgaze[cluster]'; or leave `engine` out to run here"
        ) from error
    return ray


@contextmanager
def connected(address: str | None) -> Iterator[Ray]:
    """Connect to a cluster, or start one on this machine where no address is given.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    ray = load()
    allowed = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    try:
        ray.init(
            address or "local",
            log_to_driver=False,
            include_dashboard=False,
            logging_level="error",
            runtime_env={"env_vars": allowed},
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"`ray_address` {address} cannot be used: {reason}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def run(
    tasks: Sequence[Task],
    watch: Watch,
    *,
    visible: Path,
    address: str | None = None,
    side_by_side: int | None = None,
) -> Generator[Outcome, None, None]:
    """Run tasks on a cluster; each requests its share of cores and GPUs.

    Closing the generator stops the running tasks.

    Args:
        tasks: Tasks in the order in which they are submitted. All machines of the cluster must have their
            files under the same paths.
        watch: Function that is called with the names of the running tasks.
        visible: A file that must exist on each machine.
        address: Address of the cluster; None starts one on this machine.
        side_by_side: Number of parallel tasks; by default as many as there are GPUs for, or one for each
            machine without GPUs. A larger number shares GPUs.

    Yields:
        The outcome of each task, in the order in which they end.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    refs: dict[Ref[Ended], Task] = {}
    with connected(address) as ray:
        try:
            request = requested(ray.nodes(), tasks, side_by_side)
            threads = max(1, int(request["num_cpus"]) // max(task.processes for task in tasks))
            remote = ray.remote(max_retries=LOST, **request)(run_on_machine)
            before = {task.name: _size(task.log) for task in tasks}
            refs = {remote.remote(task, str(visible), threads): task for task in tasks}
            while refs:
                ended, _ = ray.wait(list(refs), num_returns=1, timeout=PAUSE)
                for ref in ended:
                    yield _outcome(ray, ref, refs.pop(ref))
                # A task that has begun has written to its log, on whatever machine it runs.
                watch([task.name for task in refs.values() if _size(task.log) != before[task.name]])
        finally:
            for ref in refs:
                ray.cancel(ref)
            if refs:
                ray.wait(list(refs), num_returns=len(refs), timeout=GRACE)


def requested(
    nodes: Sequence[Mapping[str, object]], tasks: Sequence[Task], side_by_side: int | None
) -> dict[str, float]:
    """Compute the resources that each task requests: whole GPUs if possible, and an equal share of cores.

    The machines have room for all parallel tasks at once, if they have enough cores and GPUs.

    Args:
        nodes: The machines, as `ray.nodes()` returns them.
        tasks: The tasks.
        side_by_side: Number of parallel tasks; see `run`.

    Returns:
        The options `num_cpus` and `num_gpus` of Ray.
    """
    machines = [_resources(node) for node in nodes if node["Alive"]]
    gpus, cpus = (sum(machine.get(kind, 0.0) for machine in machines) for kind in ("GPU", "CPU"))
    each = max((task.gpus for task in tasks), default=0) if gpus else 0
    places = side_by_side or (max(1, int(gpus // each)) if each else max(1, len(machines)))
    smallest = min((machine["CPU"] for machine in machines if machine.get("CPU")), default=1.0)
    share = float(each)
    if each == 1 and places > gpus:  # Ray divides one GPU, but not several, and no task among two
        share = max(0.01, int(100 / math.ceil(places / gpus)) / 100)

    def room(cores: int) -> int:
        return sum(_room(machine, cores, share) for machine in machines)

    cores, at_once = max(1, int(min(smallest, cpus // places))), min(places, room(1))
    while room(cores) < at_once:
        cores -= 1
    return {"num_cpus": float(cores), "num_gpus": share}


def _room(machine: Mapping[str, float], cores: int, gpus: float) -> int:
    """Number of tasks for which a machine has room at once."""
    tasks, visible = machine.get("CPU", 0.0) // cores, machine.get("GPU", 0.0)
    if gpus:
        tasks = min(tasks, visible // gpus if gpus >= 1 else visible * int(1 / gpus))
    return int(tasks)


def _resources(node: Mapping[str, object]) -> dict[str, float]:
    resources = node["Resources"]
    assert isinstance(resources, Mapping)
    return {str(kind): float(amount) for kind, amount in resources.items()}


def run_on_machine(task: Task, visible: str, threads: int) -> Ended:
    """Run a task on a machine of the cluster.

    Args:
        task: The task.
        visible: A file that must exist on the machine.
        threads: Number of computing threads.

    Returns:
        Reason of a failure, None where the task succeeded, and its duration in seconds.
    """
    if not Path(visible).is_file():
        folder = Path(visible).parent
        return f"a machine of the cluster does not see {folder}: put it on a shared file system", 0.0
    started = start(task, Share(threads))  # Ray has chosen the GPUs that this process sees
    try:
        while (outcome := started.outcome()) is None:
            time.sleep(PAUSE)
    finally:
        stop([started])
    return outcome.reason, outcome.seconds


def _outcome(ray: Ray, ref: Ref[Ended], task: Task) -> Outcome:
    try:
        reason, seconds = ray.get(ref)
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        return Outcome(task.name, f"lost by the cluster: {type(error).__name__}: {first}"[:300], 0.0)
    return Outcome(task.name, reason, seconds)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
