"""Checks of a configuration against registries, the store and the network, before a run is trained."""

from __future__ import annotations

from dataclasses import asdict, replace

import torch
from torch import Tensor, nn

from radgaze import attribution, experiments, models
from radgaze.attribution.readout import READOUTS
from radgaze.errors import UserError, call
from radgaze.gaze.reference import lowest_share
from radgaze.gaze.spec import Geometry
from radgaze.models.config import own_in_words
from radgaze.objectives import distances, heatmaps
from radgaze.objectives.config import PARTS, HeatmapConfig, Map
from radgaze.objectives.step import MissingError
from radgaze.objectives.terms import compares, further
from radgaze.objectives.terms.perturbed import Perturbed
from radgaze.options import FieldError, check_choice
from radgaze.runs.config import Config
from radgaze.runs.data import gaze_maps
from radgaze.runs.requirements import unmet, unsuited
from radgaze.store.batch import Batch, collate
from radgaze.store.boxes import finding_boxes, finding_regions
from radgaze.store.dataset import GazeDataset
from radgaze.store.parts import part_regions
from radgaze.store.store import Store
from radgaze.training import fine_tuning
from radgaze.training.module import GazeGuided

_PARTS = {Map.LUNGS: "masks of both lungs", Map.EXPLAINED: "masks of what an earlier run used"}
_SOURCES = {
    Map.LUNGS: "prepare it with masks that are named after the lungs, such as “left lung” and “right lung”",
    Map.EXPLAINED: f"make a copy with them by {call('pseudo', 'RUN', marking='explained', out='STORE')}",
}

CHANGEABLE = ("data", "trainer.", "input.cache", "model.weights_dir", "model.pretraining_ids")
"""Fields that may have another value when a run is resumed.

Those of `runs.resumed.FIELDS` change what is learned from then on, which is recorded; the others do not.
"""

OBJECT = "model.given"
"""Field of a network that was given as an object; files do not have it."""

WIDEST = 10
"""Maximum of sigma, in long sides of an image."""

FUNCTIONS = ("all", "contrast")
"""Targets of heatmaps that are no class, but a function of the output."""

FEW_CASES, FEW_SHARE = 20, 0.05
"""Number of cases with gaze, and share of the training cases, below which there is a notice."""


def check(config: Config, store: Store) -> None:
    """Check a configuration by itself and against the store.

    Raises:
        UserError: A value is not allowed, or does not fit another one or the store.
    """
    config.check()  # again: its values may have been changed since it was made
    _check_objective(config)
    fine_tuning.check_settings(config)
    if rule := unsuited(config):
        raise FieldError("gaze.control", rule)
    _check_store(config, store)


def check_unchanged(before: Config, config: Config) -> None:
    """Check that a run is resumed with the configuration with which it began, except for `CHANGEABLE`.

    Raises:
        UserError: Another field has another value.
    """
    old, new = (experiments.flat(asdict(each)) for each in (before, config))  # those that files omit, too
    changed = [
        name
        for name in new
        if new[name] != old.get(name) and not name.startswith(CHANGEABLE) and name != OBJECT
    ]
    if changed:
        name = changed[0]
        raise UserError(
            f"the run began with `{name}={_written(old.get(name))}` and cannot go on with "
            f"{_written(new.get(name))}; leave out {', '.join(f'`{each}`' for each in changed)}, or train "
            "another run"
        )


def check_selection(labels: Tensor) -> None:
    """Check that the cases by which the epoch is chosen have an AUC.

    Args:
        labels: Their labels, (N, C) of 0 and 1.

    Raises:
        UserError: Each class is in all of them, or in none.
    """
    if not bool((labels.any(0) & ~labels.all(0)).any()):
        raise UserError(
            f"each class is in all or in none of the {len(labels)} cases by which the epoch is chosen, so "
            "that they have no AUC: split the store's cases again with `split.kind=stratified`, or give more"
        )


def check_gaze(config: Config, cases: GazeDataset) -> str | None:
    """Check that training cases have gaze, if the objective or the model uses it.

    Returns:
        A notice if fewer than `FEW_CASES` training cases, or a share below `FEW_SHARE`, have gaze; else None.

    Raises:
        UserError: No training case has gaze that makes a map, nor boxes or masks in its place.
    """
    learning = _learning(config) if compares(config.objective, Map.GAZE) else ""
    if not (learning or config.model.reads_gaze):
        return None
    _check_thresholds(config, cases)
    use = f"{learning} learns" if learning else f"the model {config.model.architecture} reads"
    usable, count = int(cases.attended.sum()), len(cases)
    what, it = ("gaze", "it") if cases.with_gaze or not usable else ("boxes or masks", "them")
    if not usable:
        raise UserError(
            f"none of the {count} training cases has gaze that makes a map, and {use} from it: every "
            "fixation lies off its image or, with `gaze.weight=duration`, lasts 0 seconds; see "
            f"{call('inspect', config.data)}"
        )
    if usable < min(FEW_CASES, count) or usable < FEW_SHARE * count:
        return (
            f"only {usable:,} of {count:,} training cases have {what}, and {use} from {it}; the others train "
            f"the classification alone (`optimisation.gaze_fraction` draws those with {what} more often)"
        )
    return None


def _check_thresholds(config: Config, cases: GazeDataset) -> None:
    """Raise UserError where every pixel of a gaze map is in the region that a term perturbs images by."""
    if cases.gaze is None or cases.gaze.weight != "reference":
        return
    floor = lowest_share()
    for name, term in further(config.objective).items():
        if isinstance(term, Perturbed) and term.by == Map.GAZE and term.has_edge and term.threshold <= floor:
            raise UserError(
                f"maps of `gaze.weight=reference` have no pixel below {floor:.2f} of their maximum, so that "
                f"`objective.terms.{name}.options.threshold={term.threshold:g}` has the whole image as its "
                "region: give a higher one"
            )


def check_parts(config: Config, cases: GazeDataset) -> list[str]:
    """Check that training cases have the parts of the image that the objective uses.

    Returns:
        A notice for each part that fewer than `FEW_CASES` training cases, or a share below `FEW_SHARE`, have.

    Raises:
        UserError: No training case has a part.
    """
    notices = []
    for part in PARTS:
        if not compares(config.objective, part):
            continue
        usable, count = int(cases.with_part(part).sum()), len(cases)
        if not usable:
            raise UserError(
                f"none of the {count} training cases has {_PARTS[part]}, and {_using(config, part)} uses "
                f"them; see {call('inspect', config.data)}"
            )
        if usable < min(FEW_CASES, count) or usable < FEW_SHARE * count:
            notices.append(
                f"only {usable:,} of {count:,} training cases have {_PARTS[part]}, and "
                f"{_using(config, part)} uses them; the others train the rest of the objective alone"
            )
    return notices


def check_network(model: nn.Module, config: Config, cases: GazeDataset) -> None:
    """Run two cases through the network, and make the heatmaps and terms that the objective needs.

    The network is in evaluation mode meanwhile; its modes are restored.

    Raises:
        UserError: The encoder does not work at this size, a generator does not work with this network, the
            network has no output that a term needs, or it has no feature map for Grad-CAM.
    """
    batch = collate([cases[i] for i in range(min(2, len(cases)))])
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.random.fork_rng():
            try:
                with torch.no_grad():
                    models.forward(model, batch)
            except (RuntimeError, ValueError, AssertionError, IndexError, TypeError) as error:
                name = f"`model.encoder={config.model.encoder}`"
                raise UserError(
                    f"{own_in_words(config.model) if config.model.is_own else name} does not work with "
                    f"`input.size={config.input.size}`: {_line(error)}"
                ) from error
            fine_tuning.check_trained(model, config, batch)
            for place, heatmap in _heatmaps(config).items():
                _check_heatmap(place, heatmap, model, batch, config.objective.classification)
            if config.objective.terms:
                try:
                    GazeGuided(model, config, batch.label.shape[1]).terms(batch)
                except MissingError as error:
                    other = "experiment" if config.model.is_own else "`model.architecture`"
                    raise UserError(f"{error}; take another {other}") from None
                except (RuntimeError, ValueError, AssertionError) as error:
                    raise UserError(
                        f"the terms {', '.join(config.objective.terms)} of {config.experiment} "
                        f"cannot be computed with `model.encoder={config.model.encoder}`, which may take "
                        f"no images of other sizes than `input.size={config.input.size}`: {_line(error)}"
                    ) from error
            problem = _problem(model, batch, HeatmapConfig("grad_cam"), config.objective.classification)
            if problem and not config.model.is_own:  # a notice says so of an own network
                raise UserError(
                    f"`model.encoder={config.model.encoder}` has no feature map for Grad-CAM, which every "
                    f"run is evaluated with, at `input.size={config.input.size}`: give a larger size "
                    f"({problem})"
                )
    finally:
        for module in training:
            module.training = True


def _check_heatmap(
    place: str, heatmap: HeatmapConfig, model: nn.Module, batch: Batch, classification: str
) -> None:
    """Refuse a heatmap that cannot be made; its layer or target is named if it can be made without it."""
    problem = _problem(model, batch, heatmap, classification)
    if problem is None:
        return
    fault, fits = f"generator={heatmap.generator}", "this network"
    if heatmap.layer and not _problem(model, batch, replace(heatmap, layer=None), classification):
        fault = f"layer={heatmap.layer}"
    elif heatmap.target in FUNCTIONS and not _problem(
        model, batch, replace(heatmap, target="true"), classification
    ):
        fault, fits = f"target={heatmap.target}", f"`generator={heatmap.generator}`"
    raise UserError(f"`{place}.{fault}` does not work with {fits}: {problem}")


def _problem(model: nn.Module, batch: Batch, heatmap: HeatmapConfig, classification: str) -> str | None:
    """Say why a generator makes no map of a heatmap's target of a batch; None if it makes one."""
    try:
        with heatmaps.create(model, heatmap).capture(model) as read:
            output = models.forward(model, batch)
            targets = heatmaps.Targets(output, batch.label, classification, batch.draw)
            read(output, targets.of(heatmap.target), batch.label)
    except (RuntimeError, ValueError, UserError) as error:
        return _line(error)
    return None


def _heatmaps(config: Config) -> dict[str, HeatmapConfig]:
    """The settings of each heatmap that the objective needs, by the name of their section."""
    goal = config.objective
    sections = {"objective.heatmap": goal.heatmap} if compares(goal, Map.HEATMAP) else {}
    further = {
        f"objective.heatmaps.{name}": each for name, each in goal.heatmaps.items() if compares(goal, name)
    }
    return {**sections, **further}


def _learning(config: Config) -> str:
    """The edges and terms that learn from gaze, in words; empty without any."""
    edges = [edge.value for edge in config.objective.edges if Map.GAZE in edge.ends]
    terms = [
        name for name, term in further(config.objective).items() if {Map.GAZE, Map.BOXES} & set(term.maps)
    ]
    words = [f"the edge {', '.join(edges)}"] if edges else []
    return " and ".join([*words, *([f"the term {', '.join(terms)}"] if terms else [])])


def _using(config: Config, name: str) -> str:
    """The terms that use a map that no edge of the triangle has, in words."""
    terms = [term for term, each in further(config.objective).items() if name in each.maps]
    return f"the term {', '.join(terms)}"


def _check_objective(config: Config) -> None:
    goal = config.objective
    for name, edge in goal.edges.items():
        check_choice(f"objective.{name}.distance", edge.distance, distances.REGISTRY)
        try:
            distances.check(edge.distance, edge.options)
        except FieldError as error:
            raise FieldError(f"objective.{name}.options", error.rule) from None
    try:
        terms = further(goal)
    except FieldError as error:
        raise error.inside("objective") from None
    for term_name, term in terms.items():
        if isinstance(term, Perturbed) and term.perturbation == "zoom" and config.model.reads_gaze:
            rule = "it cuts windows out of images, and not out of the gaze that the model reads with them"
            raise FieldError(f"objective.terms.{term_name}.options.perturbation", f"cannot be zoom: {rule}")
    for heatmap_name in goal.heatmaps:
        if not any(heatmap_name in term.options.values() for term in goal.terms.values()):
            rule = "is used by no term; name it in the options of one of `objective.terms`, or leave it out"
            raise FieldError(f"objective.heatmaps.{heatmap_name}", rule)
    for place, heatmap in {"objective.heatmap": goal.heatmap, **_heatmaps(config)}.items():
        _check_generator(place, heatmap)
    for heatmap in _heatmaps(config).values():
        if missing := unmet(heatmap.generator, config.model):
            raise UserError(missing)
    if not config.model.has_mask and compares(goal, Map.MASK):
        users = [edge.value for edge in goal.edges if Map.MASK in edge.ends]
        users += [name for name, term in terms.items() if Map.MASK in term.maps]
        if config.model.is_own:
            raise UserError(
                f"your own network returns no mask, which {', '.join(users)} of the experiment needs: return "
                "(logits, mask logits), or take an experiment without a mask, such as set1_guided"
            )
        raise UserError(f"the model {config.model.architecture} has no mask for the edge {', '.join(users)}")


def _check_generator(name: str, heatmap: HeatmapConfig) -> None:
    differentiable = attribution.names(differentiable=True)
    if heatmap.generator in attribution.names(differentiable=False):
        raise UserError(
            f"`{name}.generator={heatmap.generator}` makes maps to look at, and cannot be "
            f"trained through; it must be one of {', '.join(differentiable)}"
        )
    check_choice(f"{name}.generator", heatmap.generator, differentiable)
    if heatmap.readout is not None:
        check_choice(f"{name}.readout", heatmap.readout, READOUTS)
    if heatmap.channel_weights != "exact" and "channel_weights" not in attribution.options(heatmap.generator):
        raise FieldError(
            f"{name}.channel_weights", f"cannot be held: {heatmap.generator} has no such weights"
        )


def _check_store(config: Config, store: Store) -> None:
    if config.model.reads_gaze and not store.readings.height:
        raise UserError(f"{store.path} holds no gaze, which the model {config.model.architecture} reads")
    if config.objective.classification == "softmax" and not store.exclusive:
        raise UserError(
            "`objective.classification=softmax` is for classes that exclude each other, and those of "
            f"{store.path} do not: give sigmoid, or leave it out"
        )
    for name, heatmap in _heatmaps(config).items():
        if heatmap.target in ("runner_up", "contrast") and len(store.classes) < 2:
            raise UserError(
                f"`{name}.target={heatmap.target}` tells a class from another one, and {store.path} has only "
                "one"
            )
    marked = bool(store.boxes.height or len(store.regions))
    boxes = config.gaze.boxes == "attention" and marked
    if compares(config.objective, Map.GAZE) and not store.readings.height and not boxes:
        hint = "; it holds boxes or masks, which take its place with `gaze.boxes=attention`"
        raise UserError(
            f"{store.path} holds no gaze, and {_learning(config)} learns from it" + (hint if marked else "")
        )
    if compares(config.objective, Map.BOXES):
        marks = (finding_boxes(store, store.cases)[0], finding_regions(store, store.cases)[0])
        if not any(len(each) for each in marks):
            raise UserError(
                f"{store.path} holds no boxes or masks of findings, and {_learning(config)} learns from them"
            )
    for part in PARTS:
        if compares(config.objective, part) and not len(part_regions(store, store.cases, part)[0]):
            raise UserError(
                f"{store.path} holds no {_PARTS[part]}, and {_using(config, part)} uses them: "
                f"{_SOURCES[part]}"
            )
    _check_sigma(config, store)


def _check_sigma(config: Config, store: Store) -> None:
    """Refuse a Gaussian much wider than every image: its maps are flat, and take time without bound."""
    gaze, maps = config.gaze, gaze_maps(config.gaze)
    shapes = store.cases.select("rows", "columns").unique().iter_rows()
    for rows, columns in shapes:
        if maps.image_sigma(Geometry(rows, columns, 1.0, 1.0)) <= WIDEST * max(rows, columns):
            return
    if store.cases.height:
        raise UserError(
            f"`gaze.sigma={gaze.sigma:g}` with `gaze.unit={gaze.unit}` is more than {WIDEST} times as wide "
            f"as every image of {store.path}"
        )


def _written(value: object) -> str:
    return "null" if value is None else str(value)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
