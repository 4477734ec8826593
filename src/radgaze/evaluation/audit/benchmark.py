"""The audit of a run: measure and summarise the maps of each method, and write the results."""

from __future__ import annotations

from pathlib import Path

from radgaze.evaluation.audit.files import Audit
from radgaze.evaluation.audit.measuring import measure
from radgaze.evaluation.audit.options import AuditOptions
from radgaze.evaluation.audit.summary import summarise
from radgaze.runs.run import Run


def audit(
    run: Run,
    folder: Path,
    options: AuditOptions = AuditOptions(),  # noqa: B008 - frozen
) -> Audit:
    """Measure methods on a run's cases; write audit.json, audit.csv and cases.parquet into a folder.

    The measurements of each method are stored in the folder as soon as they are complete: a later call with
    the same settings, cases and weights measures only the missing methods.

    Args:
        run: The run.
        folder: Folder of the files.
        options: The options.

    Raises:
        UserError: A method or a device is not available, or there are no cases.
        KeyboardInterrupt: The audit was interrupted; the message states what has been stored.
    """
    measurements = measure(run, folder, options)
    results = summarise(run, measurements, options)
    results.write(folder)
    return results
