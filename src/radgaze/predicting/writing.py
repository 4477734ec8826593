"""Predict files and cases, and write the predictions as a table; a stop keeps those that are made."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from radgaze.console import note, progress
from radgaze.predicting.finding import Requested, find
from radgaze.predicting.inputs import read
from radgaze.predicting.options import PredictFilesOptions
from radgaze.predicting.predict import predict_subjects
from radgaze.predicting.prediction import Prediction, joined
from radgaze.predicting.predictor import Predictor
from radgaze.predicting.table_file import check_file, write
from radgaze.runs.run import Run

EVERY = 60.0
"""Seconds after which the table is written again while images are predicted."""


@dataclass(frozen=True)
class PredictedFiles:
    """Predictions that were written.

    Attributes:
        requested: The images, also those that were not reached before a stop.
        prediction: Predictions of the first of them; all unless it was stopped. None where none was made.
    """

    requested: tuple[Requested, ...]
    prediction: Prediction | None

    @property
    def stopped(self) -> bool:
        """Whether Ctrl-C left images without a prediction."""
        return self.prediction is None or len(self.prediction) < len(self.requested)


def predict_files(
    run: Run,
    images: Sequence[str],
    out: Path,
    options: PredictFilesOptions = PredictFilesOptions(),  # noqa: B008 - frozen
) -> PredictedFiles:
    """Predict files and cases, and write a table with a row for each.

    Few images are in memory at a time. After Ctrl-C, or an error, the file has the rows that were made.

    Args:
        run: The run.
        images: Files, folders and cases, see `finding.find`.
        out: File of the table, with the ending .csv, .parquet or .json; see `Prediction.to_frame`.
        options: The options.

    Raises:
        UserError: An image or device does not exist, or the file exists or cannot be written.
    """
    check_file(out, overwrite=options.overwrite)
    changed = run.check_store()
    requested = find(images, run, named_by=options.named_by)
    if changed is not None:
        note(f"{changed}; the predictions of files do not depend on it")
    predictor = Predictor.of(run, options.device, masks=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    done, before = list[Prediction](), monotonic()
    try:
        with (
            progress("Predicting", total=len(requested), of="images") as bar,
            closing(read(requested, run, predictor.models[0])) as subjects,
        ):
            for part in predict_subjects(predictor, subjects, options.batch_size):
                done.append(part)
                bar.advance(len(part))
                if monotonic() - before > EVERY:
                    done, before = [_written(done, out)], monotonic()
    except KeyboardInterrupt:
        return PredictedFiles(tuple(requested), _written(done, out) if done else None)
    except BaseException:
        if done:
            _written(done, out)
        raise
    return PredictedFiles(tuple(requested), _written(done, out))


def _written(parts: Sequence[Prediction], out: Path) -> Prediction:
    prediction = joined(parts)
    write(prediction.to_frame(), out)
    return prediction
