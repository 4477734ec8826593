"""Images read by a Ray cluster; every machine must see them under the same paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from radgaze.dicom.error import DicomError
from radgaze.dicom.isolate import isolated
from radgaze.execution.cluster import Ref, connected
from radgaze.store.pixels import Files, Fitted

AT_ONCE = 32
"""Number of images of one task."""
AHEAD = 2
"""Number of waiting tasks for each processor; few, so that results take little memory here."""
LOST = 5
"""Maximum number of times that Ray restarts a task whose machine was lost."""


def read_by_cluster(
    read: Callable[[Files], Fitted], files: Sequence[Files], address: str | None
) -> Iterator[tuple[int, Fitted | DicomError]]:
    """Read images as tasks of a Ray cluster, each in a worker process of its own there, as `isolated` does
    here.

    A machine that is lost costs time only: its tasks are run again elsewhere. Closing the iterator stops what
    is running.

    Args:
        read: Reads the files of one case; it must be possible to pickle it.
        files: Files of the cases.
        address: Address of the cluster; None makes one on this machine.

    Yields:
        The place of a case, and what was read, or why it could not be; in any order.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    with connected(address) as ray:
        task = ray.remote(num_cpus=1, max_retries=LOST)(_read)
        starts = iter(range(0, len(files), AT_ONCE))
        most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        running: dict[Ref[list[Fitted | DicomError]], int] = {}
        try:
            while True:
                while len(running) < most and (start := next(starts, None)) is not None:
                    running[task.remote(read, list(files[start : start + AT_ONCE]))] = start
                if not running:
                    return
                (done,), _ = ray.wait(list(running), num_returns=1)
                start = running.pop(done)
                try:
                    images = ray.get(done)
                except ray.exceptions.RayError as error:
                    lost = DicomError("lost", f"the cluster lost its task: {type(error).__name__}")
                    images = [lost for _ in files[start : start + AT_ONCE]]
                yield from enumerate(images, start)
        finally:
            for left in running:
                ray.cancel(left, force=True)


def _read(read: Callable[[Files], Fitted], files: list[Files]) -> list[Fitted | DicomError]:
    """Read the images of one task, on a machine of the cluster."""
    images: list[Fitted | DicomError] = [DicomError("lost")] * len(files)
    for k, image in isolated(read, files, workers=1):
        images[k] = image
    return images
