"""The objects of a run's predictions, for the worker."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from radgaze.clinic.objects.making import Maker as ObjectMaker
from radgaze.clinic.objects.options import ObjectOptions
from radgaze.clinic.worker.making import Made, Maker
from radgaze.clinic.worker.options import WorkerOptions
from radgaze.dicom.error import DicomError
from radgaze.runs.run import Run


def maker_of(run: Run, options: WorkerOptions) -> Maker:
    """Load a run.

    Raises:
        UserError: The extra clinic is missing, or the run cannot be used for files.
    """
    maker = ObjectMaker.of(run, ObjectOptions(kinds=options.objects, device=options.device))

    def stream(paths: Iterator[Path]) -> Generator[Sequence[Made] | DicomError, None, None]:
        with closing(maker.stream(paths)) as results:
            for made in results:
                if isinstance(made, DicomError):
                    yield made
                else:
                    yield [Made(each.kind, each.dataset) for each in made]

    def expected(image: str) -> list[str]:
        uids = maker.uids(image)
        return [uids("instance", kind) for kind in options.objects]

    name = json.dumps([maker.settings(), sorted(options.objects)], sort_keys=True)
    return Maker(name, stream, expected)
