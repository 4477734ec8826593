"""A run, some images and some methods to a folder of maps and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze import __version__, models
from radgaze.attribution.generator import Generator
from radgaze.attribution.memory import keep_freed_memory
from radgaze.console import Bar, progress, say
from radgaze.devices import usable_device
from radgaze.errors import UserError
from radgaze.evaluation.referral.perturbation import given
from radgaze.evaluation.referral.selective import FILE, Decision, Referral
from radgaze.explaining.inputs import Asked, Subject, find, read
from radgaze.explaining.methods import chosen, generators, settings
from radgaze.explaining.writing import DONE, write
from radgaze.files import read_json
from radgaze.objectives.triangle import probabilities
from radgaze.runs.run import Run

REFERENCES = ("black", "mean", "blurred", "cases")
MOST_CASES = 200  # that the mean radiograph is of


@dataclass(frozen=True)
class Explained:
    """What is known of one image.

    Attributes:
        subject: The image.
        probabilities: Of each class.
        targets: The classes whose maps were made.
        maps: (S, S) in [0, 1] by (method, class).
        mask: (S, S) the decoder's mask, or None.
        decision: Whether the prediction is accepted, where the run has a rule for it (`selective.Referral`).
    """

    subject: Subject
    probabilities: dict[str, float]
    targets: tuple[str, ...]
    maps: dict[tuple[str, str], NDArray[np.float32]]
    mask: NDArray[np.float32] | None
    decision: Decision | None

    @property
    def predicted(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])


@dataclass(frozen=True)
class Outcome:
    """What became of the images.

    Attributes:
        written: Folders, by what was asked for, those included that were there before.
        failed: Why the others could not be read.
    """

    written: dict[Asked, Path]
    failed: dict[Asked, str]


def explain(  # many arguments: options of `radgaze explain`, given by name
    run: Run,
    images: Sequence[str],
    out: Path,
    *,
    methods: Sequence[str] = ("all",),
    target: str = "predicted",
    reference: str | None = None,
    device: str = "auto",
    batch_size: int = 4,
    seed: int = 0,
    keep_names: bool = False,
    overwrite: bool = False,
) -> Outcome:
    """Make and write the maps of images.

    What is in OUT with the same settings is left as it is, so that an interrupted call goes on.

    Args:
        run: The run.
        images: See `subjects.find`.
        out: Folder; each image has one in it.
        methods: Names of methods, see `attribution.choose`.
        target: "predicted", a class, or "all".
        reference: The image that shows nothing, for methods that compare with one: one of `REFERENCES`,
            "cases" for the mean of training cases; None for each method's own.
        device: Where the model runs.
        batch_size: Images at a time.
        seed: Of whatever is drawn.
        keep_names: Call folders by the files' names.
        overwrite: Make anew what is there with other settings.

    Raises:
        UserError: An image, method, class or device that there is not, or a folder with other settings.
    """
    if target not in ("predicted", "all", *run.classes):
        raise UserError(f"--target {target}: there are predicted, all, {', '.join(run.classes)}")
    if reference is not None and reference not in REFERENCES:
        raise UserError(f"--reference {reference}: there are {', '.join(REFERENCES)}")
    if batch_size < 1:
        raise UserError(f"--batch-size {batch_size}: it must be 1 or more")
    changed = run.check_store()
    asked = find(images, run, keep_names=keep_names)
    if changed is not None:
        say(f"{changed}; the maps of files do not depend on it")
    device = usable_device(device)
    if not run.config.model.reads_gaze:  # its inputs differ in length: no freed block fits the next one
        keep_freed_memory()
    model = run.model(device)
    scores = models.scoring(model)
    referral = Referral.read(run.path)
    if referral is not None and referral.classes != run.classes:
        raise UserError(
            f"{run.path / FILE} is of other classes; choose anew: radgaze evaluate {run.path} --reject"
        )
    names = chosen(methods, scores, run.config.input.size)
    record = {
        "version": __version__,
        "run": run.path.resolve().name,
        "experiment": run.experiment,
        "target": target,
        "methods": {name: dict(settings(name, seed=seed, reference=reference)) for name in names},
    }
    todo, written = _not_done(asked, out, record, overwrite=overwrite)
    failed = dict[Asked, str]()
    compared = _mean_of_cases(run) if reference == "cases" else reference
    makers = generators(names, scores, seed=seed, reference=compared)
    by_name = {a.name: a for a in todo}
    with progress("Explaining", total=len(todo) * len(names)) as bar:
        for subjects in _lots(read(todo, run, model), batch_size, failed, len(names), bar):
            for one in _explained(run, model, makers, target, referral, subjects, bar):
                written[by_name[one.subject.name]] = write(one, out, record)
    return Outcome({a: written[a] for a in asked if a in written}, failed)


def _not_done(
    asked: Sequence[Asked], out: Path, record: dict[str, Any], *, overwrite: bool
) -> tuple[list[Asked], dict[Asked, Path]]:
    """What is still to do, and the folders of what was done before with the same settings."""
    todo, done = [], {}
    for one in asked:
        path = out / one.name / DONE
        if path.is_file() and not overwrite:
            again = "name another --out, or --overwrite"
            before = read_json(path, lambda found: isinstance(found, dict), again)
            # A number says nothing of which file it was.
            if one.case_id is not None and {key: before.get(key) for key in record} == record:
                done[one] = out / one.name
                continue
            raise UserError(f"{out / one.name} holds maps of another image or with other settings: {again}")
        todo.append(one)
    return todo, done


def _lots(
    found: Iterator[Subject | tuple[Asked, str]], size: int, failed: dict[Asked, str], steps: int, bar: Bar
) -> Iterator[list[Subject]]:
    """A few subjects at a time; those that read gaze one by one, for their readings differ in length."""
    lot: list[Subject] = []
    for one in found:
        if isinstance(one, tuple):
            failed[one[0]] = one[1]
            bar.advance(steps)
            continue
        lot.append(one)
        if len(lot) == size or one.also:
            yield lot
            lot = []
    if lot:
        yield lot


def _explained(
    run: Run,
    model: nn.Module,
    makers: dict[str, Generator],
    target: str,
    referral: Referral | None,
    subjects: list[Subject],
    bar: Bar,
) -> list[Explained]:
    device = next(model.parameters()).device
    images = torch.stack([s.image for s in subjects]).to(device)
    also = tuple(torch.cat(parts).to(device) for parts in zip(*(s.also for s in subjects), strict=True))
    with torch.inference_mode():
        output = model(images, *also)
        found = probabilities(output.logits, run.config.objective.classification).double().cpu().numpy()
    decisions: list[Decision | None] = [None] * len(subjects)
    if referral is not None:
        decisions = [*referral.decide(given(referral, model, images, found, also))]
    top = torch.from_numpy(found.argmax(1))
    wanted = _targets(run, target, top)
    mask = None
    if len(wanted) == 1:
        with torch.inference_mode():
            mask = output.mask_of(wanted[0].to(device))
    maps: list[dict[tuple[str, str], NDArray[np.float32]]] = [{} for _ in subjects]
    for name, maker in makers.items():
        for index in wanted:
            heat = maker(images, index.to(device), also=also).float().cpu().numpy()[:, 0]
            for own, k, of in zip(maps, index.tolist(), heat, strict=True):
                own[name, run.classes[k]] = of
        bar.advance(len(subjects))
    return [
        Explained(
            subject,
            dict(zip(run.classes, found[i].tolist(), strict=True)),
            tuple(run.classes[int(index[i])] for index in wanted),
            maps[i],
            None if mask is None else mask[i, 0].float().sigmoid().cpu().numpy(),
            decisions[i],
        )
        for i, subject in enumerate(subjects)
    ]


def _targets(run: Run, target: str, predicted: Tensor) -> list[Tensor]:
    """The class of each image (B,), once for each class that is asked about."""
    if target == "predicted":
        return [predicted]
    classes = run.classes if target == "all" else (target,)
    return [torch.full_like(predicted, run.classes.index(name)) for name in classes]


def _mean_of_cases(run: Run) -> Tensor:
    """The mean radiograph of training cases, (1, S, S)."""
    cases = run.dataset("train")
    count = min(MOST_CASES, len(cases))
    places = np.random.default_rng(0).permutation(len(cases))[:count]
    return torch.stack([cases[int(i)].image for i in places]).mean(0)
