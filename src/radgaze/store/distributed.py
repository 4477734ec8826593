"""Reading of images by a Ray cluster, all machines of which have the images under the same paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from radgaze.dicom.error import DicomError
from radgaze.dicom.isolate import isolated
from radgaze.execution.cluster import Ref, connected
from radgaze.store.pixels import Files, Fitted

AT_ONCE = 32
"""Number of images in one task."""
AHEAD = 2
"""Number of submitted tasks for each processor; few, so that results take little memory on this machine."""
LOST = 5
"""Maximum number of times that Ray restarts a task whose machine was lost."""


def read_by_cluster(
    read: Callable[[Files], Fitted], files: Sequence[Files], address: str | None
) -> Iterator[tuple[int, Fitted | DicomError]]:
    """Read images as tasks of a Ray cluster, whose worker processes isolate damaged files like `isolated`.

    The tasks of a machine that is lost are run again elsewhere. Closing the iterator stops running tasks.

    Args:
        read: Function that reads the files of one case; it must be picklable.
        files: Files of the cases.
        address: Address of the cluster; None starts one on this machine.

    Yields:
        The index of a case, and its image or the reason why it cannot be read; in any order.

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
