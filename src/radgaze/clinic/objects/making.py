"""Make DICOM objects of images with a run's model, which is loaded once for all of them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Generator as Yielding
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from radgaze.attribution.generator import Generator
from radgaze.clinic.objects.capture import capture
from radgaze.clinic.objects.library import check_installed, quiet
from radgaze.clinic.objects.options import Kind, ObjectOptions
from radgaze.clinic.objects.reading import Model, Reading, UidsOf
from radgaze.clinic.objects.report import report
from radgaze.clinic.objects.result import Result
from radgaze.clinic.objects.segments import maps_as_segments, regions_as_segments
from radgaze.clinic.objects.source import Source, read_source
from radgaze.clinic.objects.threshold import thresholds_of
from radgaze.dicom.error import DicomError
from radgaze.dicom.isolate import isolated
from radgaze.evaluation.referral.selective import FILE as RULE
from radgaze.explaining.smoothing import smooth
from radgaze.files import write_bytes
from radgaze.predicting.inputs import Preparation, Subject, check_without_gaze
from radgaze.predicting.predict import predicted_classes
from radgaze.predicting.predictor import Predictor
from radgaze.runs import vote
from radgaze.runs.run import Run
from radgaze.store.digest import file_digest
from radgaze.version import __version__

MAKERS: Mapping[Kind, Callable[[Reading], Result]] = {
    "sr": report,
    "seg": regions_as_segments,
    "seg_fractional": maps_as_segments,
    "sc": capture,
}


def make(
    run: Run | Predictor | Maker,
    image: str | os.PathLike[str] | bytes,
    options: ObjectOptions = ObjectOptions(),  # noqa: B008 - frozen
) -> list[Result]:
    """Make the DICOM objects of one image; for several, make a `Maker` first, which loads the model once.

    Args:
        run: The run, its predictor, or a `Maker`, whose options are then used.
        image: Path of a DICOM file, or its content.
        options: The options.

    Raises:
        DicomError: The image cannot be read, or is none that results can be made of; its `reason` says why.
        UserError: highdicom is missing, or the run cannot be used.
    """
    maker = run if isinstance(run, Maker) else Maker.of(run, options)
    return maker(image)


@dataclass(frozen=True)
class Maker:
    """A run with its models and generators of heatmaps in memory.

    Attributes:
        predictor: The run with its models.
        generators: The generator of each model.
        model: What objects state about the model.
        options: The options.
        rule: SHA-256 of the rule by which predictions are accepted; empty where there is none.
        one_class: Whether each case has exactly one class.
    """

    predictor: Predictor
    generators: tuple[Generator, ...]
    model: Model
    options: ObjectOptions
    rule: str
    one_class: bool

    @classmethod
    def of(
        cls,
        run: Run | Predictor,
        options: ObjectOptions = ObjectOptions(),  # noqa: B008 - frozen
    ) -> Maker:
        """Load a run, and choose its thresholds if that was not done yet.

        Raises:
            UserError: highdicom or a model is missing, the method does not apply to the model, or the model
                needs gaze.
        """
        check_installed()
        predictor = run if isinstance(run, Predictor) else Predictor.of(run, options.device)
        run = predictor.run
        check_without_gaze(run, "files")
        networks = list(zip(run.voters, predictor.models, strict=True))
        method = options.method or _trained_with(run)
        generators = tuple(voter.generator(network, method) for voter, network in networks)
        weights, rule = _weights(run), run.path / RULE
        device = str(next(predictor.models[0].parameters()).device)
        referral = predictor.referral
        model = Model(
            version=__version__,
            weights=weights,
            experiment=run.experiment,
            method=f"{method}, smoothed",
            thresholds=thresholds_of(run, method, weights, device),
            temperature=None if referral is None else referral.calibration,
        )
        digest = file_digest(rule) if referral is not None else ""
        return cls(predictor, generators, model, options, digest, run.exclusive)

    def __call__(self, image: str | os.PathLike[str] | bytes) -> list[Result]:
        """Make the objects of one image, see `make`."""
        with _on_disk(image) as path:
            made = next(self.stream([path]))
        if isinstance(made, DicomError):
            raise made
        return made

    def stream(
        self, paths: Iterable[str | os.PathLike[str]]
    ) -> Yielding[list[Result] | DicomError, None, None]:
        """Make the objects of many files, which few processes read, few at a time.

        Args:
            paths: The files; the iterable may be long and lazy.

        Yields:
            The objects of each file, or why there are none, in the given order.
        """
        preparation = Preparation.of(self.predictor.run)
        read = partial(
            read_source, side=preparation.side, voi=preparation.voi, no_patient=self.options.no_patient
        )
        waiting: dict[int, Source | DicomError] = {}
        at = 0
        with closing(isolated(read, (os.fspath(path) for path in paths))) as ready:
            for place, source in ready:
                waiting[place] = source
                while at in waiting:
                    yield self._of(waiting.pop(at), preparation)
                    at += 1

    def _of(self, source: Source | DicomError, preparation: Preparation) -> list[Result] | DicomError:
        if isinstance(source, DicomError):
            return source
        try:
            reading = self.read(source, preparation)
        except DicomError as error:
            return error
        with quiet():
            return [MAKERS[kind](reading) for kind in self.options.kinds]

    def read(self, source: Source, preparation: Preparation) -> Reading:
        """Predict and explain an image.

        Raises:
            DicomError: `not_finite`, where the model's output is no finite number.
        """
        subject = preparation.subject("image", source.square, source.rows, source.columns)
        predicted = self.predictor([subject])
        row = predicted.probabilities
        if not np.isfinite(row).all():
            raise DicomError("not_finite", "the model's probabilities are no finite numbers")
        run, referral = self.predictor.run, self.predictor.referral
        masks = self.predictor.masks(predicted.outputs, torch.from_numpy(row.argmax(1)))
        calibrated = None if referral is None else referral.calibrated(row)[0].tolist()
        return Reading(
            source=source,
            geometry=subject.frame.geometry(subject.fit, preparation.size),
            model=self.model,
            probabilities=dict(zip(run.classes, row[0].tolist(), strict=True)),
            calibrated=None if calibrated is None else dict(zip(run.classes, calibrated, strict=True)),
            predicted=predicted_classes(run.classes, row[0], one_class=self.one_class),
            decision=None if predicted.decisions is None else predicted.decisions[0],
            heatmaps=dict(zip(run.classes, self._heatmaps(subject), strict=True)),
            mask=None if masks is None else masks[0],
            uids=self.uids(str(source.header.SOPInstanceUID)),
        )

    def _heatmaps(self, subject: Subject) -> NDArray[np.float32]:
        """Smoothed heatmaps of all classes, (C, S, S), each over its maximum."""
        images, _ = self.predictor.inputs([subject])
        count = len(self.predictor.run.classes)
        images = images.expand(count, -1, -1, -1).contiguous()
        targets = torch.arange(count, device=images.device)
        of_each = [generator(images, targets).float().cpu().numpy()[:, 0] for generator in self.generators]
        raw = of_each[0] if len(of_each) == 1 else vote.mean(np.stack(of_each)).astype(np.float32)
        return smooth(raw, subject, self.predictor.run.config)

    def uids(self, image: str) -> UidsOf:
        """Return the UIDs of the objects of an image, by its own, without making them."""
        return UidsOf(image, self.settings())

    def settings(self) -> dict[str, str | float | bool | None]:
        """Return what the objects depend on beside the image."""
        chosen = self.model.thresholds
        return {
            "weights": self.model.weights,
            "rule": self.rule,
            "method": self.model.method,
            "heatmap threshold": chosen.heatmap.value,
            "mask threshold": chosen.mask.value,
            "no_patient": self.options.no_patient,
        }


def _weights(run: Run) -> str:
    """SHA-256 of the weights; of a vote, of its runs' and of how it combines them."""
    digests = [file_digest(voter.weights) for voter in run.voters]
    if run.vote is None:
        return digests[0]
    words = [run.vote.rule, run.vote.threshold, *sorted(digests)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _trained_with(run: Run) -> str:
    """Name of the method that `Run.generator` chooses."""
    config = run.voters[0].config
    from radgaze.objectives.config import Map
    from radgaze.objectives.terms import compares

    if compares(config.objective, Map.HEATMAP):
        return config.objective.heatmap.generator
    return "backprop" if "guided_backprop" in config.model.lacks else "guided_backprop"


@contextmanager
def _on_disk(image: str | os.PathLike[str] | bytes) -> Iterator[Path]:
    """The path of an image; content goes to a file that only this user can read, while it is needed."""
    if not isinstance(image, bytes):
        yield Path(image)
        return
    with tempfile.TemporaryDirectory(prefix="radgaze-") as folder:
        path = Path(folder) / "image.dcm"
        write_bytes(image, path)
        yield path
