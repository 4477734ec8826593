"""Explanation of images with a run: a folder of maps and pictures for each image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from radgaze import models
from radgaze.console import note, progress
from radgaze.errors import UserError
from radgaze.explaining.explainer import Explainer
from radgaze.explaining.explanation import Explanation
from radgaze.explaining.explanations import Explanations
from radgaze.explaining.folders import folders
from radgaze.explaining.methods import chosen, generators, settings
from radgaze.explaining.options import ExplainFilesOptions, ExplainOptions
from radgaze.explaining.record import ExplanationSettings
from radgaze.explaining.writing import ADVICE, DONE, clear, write
from radgaze.predicting.finding import Requested, replaced
from radgaze.predicting.inputs import Subject, Unreadable, batched, read
from radgaze.predicting.options import NamedBy
from radgaze.predicting.predict import Image, subjects_of
from radgaze.predicting.predictor import Predictor
from radgaze.records import plain
from radgaze.records import read as read_record
from radgaze.runs.run import Run
from radgaze.store.digest import file_digest
from radgaze.version import __version__

MOST_CASES = 200
"""Largest number of cases over which the mean radiograph is taken."""


@dataclass(frozen=True)
class Outcome:
    """The result of `explain`.

    Attributes:
        written: Folder of each image, also of images that were explained before.
        failed: For each image that could not be read, the reason.
    """

    written: dict[Requested, Path]
    failed: dict[Requested, str]


def explain(
    run: Run,
    images: Sequence[str],
    out: Path,
    options: ExplainFilesOptions = ExplainFilesOptions(),  # noqa: B008 - frozen
) -> Outcome:
    """Make and write the maps of images.

    Cases whose maps in the folder have the same settings and weights are skipped, so that an interrupted call
    continues.

    Args:
        run: The run.
        images: Files, folders and cases, see `finding.find`.
        out: Folder; each image has a folder in it.
        options: The options.

    Raises:
        UserError: An image, method, class or device does not exist, or a folder holds maps of a file, of
            other weights or with other settings, and `overwrite` is not set.
    """
    _check_target(run, options)
    changed = run.check_store()
    requested = folders(images, run, keep_names=options.keep_names)
    if changed is not None:
        note(f"{changed}; the maps of files do not depend on it")
    predictor = Predictor.of(run, options.device)
    names = _methods(options.methods, predictor.models, run.config.input.size)
    record = _settings(run, names, options)
    todo, written = _not_done(requested, out, record, overwrite=options.overwrite)
    names_of_todo = [each.name for each in todo]
    for name in replaced(names_of_todo, out) if options.overwrite else names_of_todo:
        clear(out / name)  # all of them first: when this is stopped, none is left of other images
    failed = dict[Requested, str]()
    explainer = _explainer(predictor, names, options)
    by_name, steps = {each.name: each for each in todo}, len(names) * len(predictor.models)
    with progress("Explaining", total=len(todo) * steps) as bar:
        for batch in batched(read(todo, run, predictor.models[0]), options.batch_size):
            unreadable = {each.requested: each.reason for each in batch if isinstance(each, Unreadable)}
            bar.advance(steps * len(unreadable))
            failed |= unreadable
            subjects = [each for each in batch if isinstance(each, Subject)]
            for explanation in explainer(subjects, bar.advance):
                written[by_name[explanation.subject.name]] = write(explanation, out, record)
    return Outcome({each: written[each] for each in requested if each in written}, failed)


def explained(
    run: Run,
    images: Image | Iterable[Image],
    options: ExplainOptions = ExplainOptions(),  # noqa: B008 - frozen
) -> Explanations:
    """Make the maps of images, without writing them.

    Args:
        run: The run.
        images: Images, or an iterable of them, see `predicting.predict.predict`.
        options: The options.

    Raises:
        UserError: An image, method, class or device does not exist, an array has no greys, or there is no
            image.
    """
    _check_target(run, options)
    predictor = Predictor.of(run, options.device)
    names = _methods(options.methods, predictor.models, run.config.input.size)
    explainer = _explainer(predictor, names, options)
    named_by: NamedBy = "file" if options.keep_names else "number"
    done = list[Explanation | Unreadable]()
    with progress("Explaining", of="images") as bar:
        for batch in batched(subjects_of(predictor, images, named_by), options.batch_size):
            made = iter(explainer([each for each in batch if isinstance(each, Subject)], _not_told))
            done += [each if isinstance(each, Unreadable) else next(made) for each in batch]
            bar.advance(len(batch))
    if not done:
        raise UserError("`images` must not be empty")
    return Explanations(tuple(done), run.classes, names, _settings(run, names, options))


def _check_target(run: Run, options: ExplainOptions) -> None:
    targets = ("predicted", "all", *run.classes)
    if options.target not in targets:
        raise UserError(f"`target` must be one of {', '.join(targets)}, got {options.target}")


def _explainer(predictor: Predictor, names: Sequence[str], options: ExplainOptions) -> Explainer:
    run = predictor.run
    reference = _mean_of_cases(run) if options.reference == "cases" else options.reference
    made = [
        generators(names, models.scoring(model), seed=options.seed, reference=reference)
        for model in predictor.models
    ]
    return Explainer(predictor, made, options.target)


def _not_told(images: int) -> None:
    """Take no notice of the progress within a batch."""


def _methods(requested: Sequence[str], trained: Sequence[nn.Module], size: int) -> tuple[str, ...]:
    """The methods that apply to every model; a named one that does not apply to one of them is an error."""
    of_each = [chosen(requested, models.scoring(model), size) for model in trained]
    return tuple(name for name in of_each[0] if all(name in names for names in of_each))


def _settings(run: Run, names: Sequence[str], options: ExplainOptions) -> ExplanationSettings:
    return ExplanationSettings(
        version=__version__,
        run=run.path.resolve().name,
        experiment=run.experiment,
        target=options.target,
        methods={name: settings(name, seed=options.seed, reference=options.reference) for name in names},
        weights=tuple(file_digest(voter.weights) for voter in run.voters),
    )


def _not_done(
    requested: Sequence[Requested], out: Path, record: ExplanationSettings, *, overwrite: bool
) -> tuple[list[Requested], dict[Requested, Path]]:
    """The images that are still to be explained, and the folders of those with the same maps."""
    todo, done = [], {}
    for each in requested:
        path = out / each.name / DONE
        if path.is_file() and not overwrite:
            before = read_record(ExplanationSettings, path, ADVICE)
            # A number does not identify a file.
            if each.case_id is not None and plain(before) == plain(record):
                done[each] = out / each.name
                continue
            raise UserError(
                f"{out / each.name} holds maps of another image, of other weights or with other settings: "
                f"{ADVICE}"
            )
        todo.append(each)
    return todo, done


def _mean_of_cases(run: Run) -> Tensor:
    """Mean radiograph of training cases, (1, S, S), over a random sample of at most `MOST_CASES`."""
    cases = run.dataset("train")
    count = min(MOST_CASES, len(cases))
    places = np.random.default_rng(0).permutation(len(cases))[:count]
    return torch.stack([cases[int(i)].image for i in places]).mean(0)
