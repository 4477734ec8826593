"""First step of an audit: every method, baseline map and ceiling measured on the same cases."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path

import polars as pl
import torch
from torch import Tensor, nn

from radgaze import attribution, models
from radgaze.attribution import Generator
from radgaze.attribution.registry import PRESETS, REGISTRY
from radgaze.console import progress, say
from radgaze.devices import usable_device
from radgaze.errors import UserError
from radgaze.evaluation import baselines
from radgaze.evaluation.audit import cache
from radgaze.evaluation.audit.aspects import ASPECTS, AuditedMaps, AuditedMethod
from radgaze.evaluation.audit.aspects.audited_maps import MethodGroup, Once, explained_together
from radgaze.evaluation.audit.cache import FOLDER, SCHEMA, MethodMeasurements
from radgaze.evaluation.audit.ceilings import CEILINGS
from radgaze.evaluation.audit.options import AuditOptions
from radgaze.evaluation.audit.results import Recipe
from radgaze.evaluation.audit.sampling import AuditCases, Sample, draw, load
from radgaze.evaluation.audit.timing import timed
from radgaze.evaluation.baselines import BaselineInputs, BaselineMap
from radgaze.runs.run import Run
from radgaze.version import __version__

PASSES = ("samples", "steps")
"""Options of generators that give the number of forward passes that they average over."""


MOST_BYTES = 2**29
"""Most memory for the maps of methods that are measured together."""


@dataclass(frozen=True)
class AuditMeasurements:
    """Measurements of an audit.

    Attributes:
        sample: The cases.
        methods: Measurements of baseline maps, ceilings and methods.
        recipes: Generator and options of each method, by its name.
        baseline_counts: Numbers of cases that the baseline maps count, see `BaselineMap.counts`.
        device: Device of the model.
    """

    sample: Sample
    methods: tuple[MethodMeasurements, ...]
    recipes: dict[str, Recipe]
    baseline_counts: dict[str, int]
    device: str


def measure(run: Run, folder: Path, options: AuditOptions) -> AuditMeasurements:
    """Measure methods, baseline maps and ceilings that the folder does not hold with the same settings yet.

    Args:
        run: The run.
        folder: Folder of the audit, in which the measurements of each method are stored.
        options: Options of the audit.

    Returns:
        All measurements, those read from the folder included.

    Raises:
        UserError: A method or a device is not available, or there are no cases.
        KeyboardInterrupt: The audit was interrupted; the message states what has been stored.
    """
    device = usable_device(options.device)
    model = models.scoring(run.model(device))
    recipes = {
        name: recipe(name, options.passes, options.seed)
        for name in select_methods(model, options.methods, run.config.input.size)
    }
    sample = draw(run, options)
    made_with = _made_with(run, model, sample, options, device)
    keys = {name: {**made_with, "method": None} for name in (*baselines.REGISTRY, *CEILINGS)}
    keys |= {name: {**made_with, "method": asdict(each)} for name, each in recipes.items()}
    measured = {
        name: loaded
        for name, key in keys.items()
        if (loaded := cache.load(name, folder / FOLDER, key)) is not None
    }
    if measured:
        say(f"{len(measured)} of {len(keys)} are in {folder / FOLDER} already and left as they are")
    inputs = BaselineInputs(run.store, run.config.input.fit, run.config.input.size, seed=options.seed)
    missing = [name for name in keys if name not in measured]
    try:
        if missing:
            cases = load(run, model, sample, options, device)
            maps = baselines.create(replace(inputs, mean_gaze=cases.mean_gaze))
            to_make = {name: each for name, each in recipes.items() if name in missing}
            benchmark = Benchmark(run, model, cases, to_make, maps, options)
            with progress("Auditing", total=len(missing)) as bar:
                for name in benchmark.in_order(missing):
                    bar.describe(f"Auditing {name}")
                    measured[name] = benchmark.measure(name)
                    cache.store(measured[name], folder / FOLDER, keys[name])
                    bar.advance()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{len(measured)} of {len(keys)} are measured and kept in {folder / FOLDER}; the same command "
            "goes on from there"
        ) from None
    counts = [each.counts(sample.case_ids) for each in baselines.create(inputs).values()]
    return AuditMeasurements(
        sample,
        tuple(measured[name] for name in keys),
        recipes,
        {name: number for each in counts for name, number in each.items()},
        device,
    )


def select_methods(model: nn.Module, methods: Sequence[str], size: int) -> tuple[str, ...]:
    """Return the requested presets, in the order of the presets.

    Args:
        model: The model.
        methods: Names of presets, "gradient" or "all", see `AuditOptions`.
        size: Side of its images, in pixels.

    Raises:
        UserError: There is no such preset, or it does not apply to the model.
    """
    try:
        return attribution.choose(methods, model, size)
    except ValueError as error:
        raise UserError(str(error)) from error


def recipe(name: str, passes: int, seed: int = 0) -> Recipe:
    """Return the generator and options of a preset.

    Args:
        name: Name of the preset.
        passes: Maximum number of forward passes for one map; 0 for the number of the preset.
        seed: Random seed of a method that draws random numbers.
    """
    preset = PRESETS[name]
    kind, options = REGISTRY[preset.generator], dict(preset.options)
    if passes and kind.differentiable:
        for each in fields(kind):
            if each.name in PASSES:
                count = options.get(each.name, each.default)
                options[each.name] = min(passes, count) if isinstance(count, int) else count
    # Left out where it is the generator's own, so that measurements made without it stay in use.
    if any(each.name == "seed" and options.get("seed", each.default) != seed for each in fields(kind)):
        options["seed"] = seed
    return Recipe(preset.generator, options)


@dataclass(frozen=True)
class Benchmark:
    """Measurement of methods, baseline maps and ceilings on the same cases.

    Attributes:
        run: The run.
        model: Model of the run, on the device.
        cases: The cases.
        recipes: Generator and options of each method that is measured, by its name.
        baseline_maps: The baseline maps that the run supports, by name.
        options: Options of the audit.
        once: Values that do not depend on the map.
        held: The group of methods that is measured at present, by its names.
    """

    run: Run
    model: nn.Module
    cases: AuditCases
    recipes: Mapping[str, Recipe]
    baseline_maps: Mapping[str, BaselineMap]
    options: AuditOptions
    once: Once = field(default_factory=Once)
    held: dict[tuple[str, ...], Mapping[str, AuditedMethod]] = field(default_factory=dict)

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Names of the methods whose maps are made together, as far as these fit in memory, by each name."""
        side = self.run.config.input.size
        cases = sum(len(batch) for batch in self.cases.batches)
        most = max(1, MOST_BYTES // (4 * side**2 * cases))
        groups = attribution.shared(self._make(self.model))
        parts = (group[k : k + most] for group in groups for k in range(0, len(group), most))
        return {name: part for part in parts for name in part}

    def in_order(self, names: Sequence[str]) -> list[str]:
        """Return baseline maps and ceilings, and then the methods, those of a group one after the other."""
        return [*(name for name in names if name not in self.recipes), *self.groups]

    def measure(self, name: str) -> MethodMeasurements:
        """Measure a method, a baseline map or a ceiling; empty for a map that the run does not support."""
        if name in CEILINGS:
            rows = CEILINGS[name].measure(self.run, self.options.split, self.cases)
            return MethodMeasurements(name, rows)
        if name in self.recipes:
            return _measured(name, self._method(name))
        if name in self.baseline_maps:
            return _measured(name, self._baseline(self.baseline_maps[name]))
        return MethodMeasurements(name, pl.DataFrame(schema=SCHEMA))

    def _make(self, model: nn.Module, names: Sequence[str] | None = None) -> dict[str, Generator]:
        """Create methods for a model."""
        chosen = self.recipes if names is None else {name: self.recipes[name] for name in names}
        return {
            name: attribution.create(each.generator, model, **each.options) for name, each in chosen.items()
        }

    def _method(self, name: str) -> AuditedMaps:
        names = self.groups[name]
        if names not in self.held:
            self.held.clear()  # before the maps of the next group are made
            self.held[names] = self._group(names)
        method = self.held[names][name]
        return self._audited(method.group.maps[name], method)

    def _group(self, names: tuple[str, ...]) -> dict[str, AuditedMethod]:
        """Make the maps of all cases; each method by itself for the first batch, to time it."""
        generators = self._make(self.model, names)
        first, *others = self.cases.batches
        each = {name: timed(self.model, explain, first) for name, explain in generators.items()}
        maps = {name: dict(zip(first.case_ids, each[name].maps, strict=True)) for name in names}
        for batch in others:
            for name, made in explained_together(generators, batch).items():
                maps[name] |= zip(batch.case_ids, made, strict=True)
        group = MethodGroup(partial(self._make, names=names), maps)
        return {
            name: AuditedMethod(
                name, generators[name], group, generators, each[name].map_seconds, each[name].pass_seconds
            )
            for name in names
        }

    def _baseline(self, baseline: BaselineMap) -> AuditedMaps:
        maps = dict[str, Tensor]()
        for batch in self.cases.batches:
            values = torch.tensor(baseline(batch.case_ids), dtype=torch.float32, device=batch.images.device)
            maps |= zip(batch.case_ids, values[:, None], strict=True)
        return replace(self._audited(maps), blurs=baseline.blurred)

    def _audited(self, maps: Mapping[str, Tensor], method: AuditedMethod | None = None) -> AuditedMaps:
        kind = self.run.config.objective.classification
        return AuditedMaps(self.cases, maps, self.model, kind, self.options, method=method, once=self.once)


def _measured(name: str, audited: AuditedMaps) -> MethodMeasurements:
    """Measure every aspect that applies."""
    unsupported = {
        key: why for key, aspect in ASPECTS.items() if (why := aspect.unsupported(audited)) is not None
    }
    measured = {key: aspect.measure(audited) for key, aspect in ASPECTS.items() if key not in unsupported}
    tables = [
        cache.rows(name, aspect, case_ids, figures)
        for aspect, each in measured.items()
        for case_ids, figures in each.figures
    ]
    return MethodMeasurements(
        name,
        pl.concat([pl.DataFrame(schema=SCHEMA), *tables]),
        overall={aspect: each.overall for aspect, each in measured.items() if each.overall},
        details={aspect: each.detail for aspect, each in measured.items() if each.detail is not None},
        unsupported=unsupported,
    )


def _made_with(
    run: Run, model: nn.Module, sample: Sample, options: AuditOptions, device: str
) -> dict[str, object]:
    """Return everything that measurements depend on besides the method."""
    ids = "\n".join([*sample.case_ids, "", *sample.probed])
    return {
        "software": __version__,
        "true_class": "of the labels",  # measurements without this entry may be of a class of no label
        "weights": _fingerprint(model),
        "store": hashlib.sha256(repr(sorted(run.store.manifest["hashes"].items())).encode()).hexdigest(),
        "cases": hashlib.sha256(ids.encode()).hexdigest(),
        "gaze": asdict(run.config.gaze),
        "effort": options.probing(),
        "metrics": {name: sorted(aspect.metrics) for name, aspect in ASPECTS.items()},
        "device": device,
    }


def _fingerprint(model: nn.Module) -> str:
    """Return a hash of all weights."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
