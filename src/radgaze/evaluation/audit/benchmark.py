"""`audit`: is a map any good? Every method on the same cases of a run, and maps that know nothing of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from radgaze import __version__, attribution, models
from radgaze.attribution.registry import PRESETS, REGISTRY
from radgaze.console import progress, say
from radgaze.devices import usable_device
from radgaze.errors import UserError
from radgaze.evaluation.audit.aspects import ASPECTS, Effort, Method, Subject
from radgaze.evaluation.audit.aspects.subject import Explain
from radgaze.evaluation.audit.cache import FOLDER, SCHEMA, Part, keep, kept, rows
from radgaze.evaluation.audit.ceilings import CEILINGS
from radgaze.evaluation.audit.markdown import audit_markdown
from radgaze.evaluation.audit.results import FLOORS, Audit, write
from radgaze.evaluation.audit.sampling import Subjects, draw, gather
from radgaze.evaluation.audit.timing import Clock
from radgaze.evaluation.baselines import BaselineInputs, BaselineMap, create
from radgaze.evaluation.statistics.resampling import RESAMPLES
from radgaze.files import write_text
from radgaze.runs.run import Run

AVERAGED = ("samples", "steps")
"""Options of generators that say over how many forward passes they average."""


def audit(  # many arguments: options of `radgaze audit`, given by name
    run: Run,
    out: Path,
    *,
    methods: Sequence[str] | str = "gradient",
    split: str = "test",
    cases: int = 100,
    probed: int = 20,
    passes: int | None = 4,
    effort: Effort | None = None,
    resamples: int = RESAMPLES,
    device: str = "auto",
    batch_size: int = 16,
) -> Audit:  # long: steps in one order, each with what those before it found
    """Measure methods on a run's cases; write audit.json, .csv and .md and cases.parquet into a folder.

    Each method is kept in the folder as soon as it is measured: a later call with the same settings, cases
    and weights measures those that are not there.

    Args:
        run: The run.
        out: Folder.
        methods: Names of presets, "gradient" for all that the model can be trained through, or "all".
        split: Where the cases are.
        cases: How many, drawn by the effort's seed.
        probed: How many of those also for the aspects that are `probed`.
        passes: Most forward passes that a gradient method averages over for one map, in place of its
            preset's; None for its preset's.
        effort: How thoroughly the probed cases are looked at.
        resamples: Of the patient bootstrap.
        device: Where the model runs: "cpu", "cuda", or "auto" for what there is.
        batch_size: Cases at a time.

    Raises:
        UserError: An argument makes no sense, or there is nothing to audit.
        KeyboardInterrupt: It was interrupted; the message says what is kept.
    """
    effort = Effort() if effort is None else effort
    counts = {"cases": cases, "probed": probed, "resamples": resamples, "batch-size": batch_size}
    _check(counts | {name: getattr(effort, name) for name in ("steps", "subsets", "stages", "draws")})
    _check({} if passes is None else {"passes": passes})
    device = usable_device(device)
    if not run.config.model.reads_gaze:  # its inputs differ in length: no freed block fits the next one
        attribution.keep_freed_memory()
    model = models.scoring(run.model(device))
    recipes = {name: recipe(name, passes) for name in chosen(model, methods, run.config.input.size)}
    drawn = draw(run, split, cases=cases, probed=probed, seed=effort.seed)
    ids = "\n".join([*drawn.cases["case_id"], "", *drawn.probed])
    made_with = {
        "software": __version__,
        "weights": _fingerprint(model),
        "store": hashlib.sha256(repr(sorted(run.store.manifest["hashes"].items())).encode()).hexdigest(),
        "cases": hashlib.sha256(ids.encode()).hexdigest(),
        "gaze": asdict(run.config.gaze),
        "effort": asdict(effort),
        "metrics": {name: sorted(aspect.metrics) for name, aspect in ASPECTS.items()},
        "device": device,
    }
    inputs = BaselineInputs(run.store, run.config.input.fit, run.config.input.size, seed=effort.seed)
    wanted: dict[str, dict[str, Any]] = {name: made_with | {"method": None} for name in (*FLOORS, *CEILINGS)}
    wanted |= {name: made_with | {"method": of_method} for name, of_method in recipes.items()}
    found = {name: part for name, w in wanted.items() if (part := kept(name, out / FOLDER, w)) is not None}
    missing = [name for name in wanted if name not in found]
    if found:
        say(f"{len(found)} of {len(wanted)} are in {out / FOLDER} already and left as they are")
    try:
        if missing:
            subjects = gather(run, model, split, drawn, device=device, batch_size=batch_size)
            bench = _Bench(
                run,
                model,
                split,
                subjects,
                recipes,
                effort,
                create(replace(inputs, mean_gaze=subjects.mean_gaze)),
            )
            with progress("Auditing", total=len(missing)) as bar:
                for name in missing:
                    bar.describe(f"Auditing {name}")
                    found[name] = bench.measure(name)
                    keep(found[name], out / FOLDER, wanted[name])
                    bar.advance()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"{len(found)} of {len(wanted)} are measured and kept in {out / FOLDER}; the same command "
            "goes on from there"
        ) from None
    audited = write(
        out,
        [found[name] for name in wanted],
        drawn,
        run.classes,
        resamples=resamples,
        seed=effort.seed,
        about={
            "experiment": run.experiment,
            "classes": list(run.classes),
            "software": __version__,
            "selection": run.config.selection,
            "settings": {
                "split": split,
                "resamples": resamples,
                "passes": passes,
                **{key: value for aspect in ASPECTS.values() for key, value in aspect.settings.items()},
                "size": run.config.input.size,
                "target": "predicted",
                **_counts(create(inputs), drawn.cases["case_id"].to_list()),
                "device": device,
                **asdict(effort),
            },
            "recipes": recipes,
        },
    )
    write_text(audit_markdown(audited.summary), out / "audit.md")
    return audited


def chosen(model: nn.Module, methods: Sequence[str] | str, size: int) -> tuple[str, ...]:
    """The presets asked for, in the order of the presets.

    Args:
        model: The network.
        methods: As for `audit`.
        size: Side of its images.

    Raises:
        UserError: There is no such preset, or the model has nothing that it could show.
    """
    try:
        return attribution.choose([methods] if isinstance(methods, str) else methods, model, size)
    except ValueError as error:
        raise UserError(str(error)) from error


def recipe(name: str, passes: int | None) -> dict[str, Any]:
    """The generator and the options of a preset, with no more than so many forward passes for one map."""
    preset = PRESETS[name]
    kind, options = REGISTRY[preset.generator], dict(preset.options)
    if passes is not None and kind.differentiable:
        for option in fields(kind):
            if option.name in AVERAGED:
                options[option.name] = min(passes, options.get(option.name, option.default))
    return {"generator": preset.generator, "options": options}


@dataclass(frozen=True)
class _Bench:
    """Where one method after the other is measured on the same cases."""

    run: Run
    model: nn.Module
    split: str
    subjects: Subjects
    recipes: dict[str, dict[str, Any]]
    effort: Effort
    floors: Mapping[str, BaselineMap]

    def measure(self, name: str) -> Part:
        """Measure a method, a baseline map or a ceiling."""
        if name in CEILINGS:
            return Part(name, CEILINGS[name].measure(self.run, self.split, self.subjects))
        if name in self.recipes:
            return self._part(name, self._method(name))
        if name in self.floors:
            return self._part(name, self._floor(name))
        return Part(name, pl.DataFrame(schema=SCHEMA))

    def _method(self, name: str) -> Subject:
        def make(model: nn.Module) -> Explain:
            return attribution.create(self.recipes[name]["generator"], model, **self.recipes[name]["options"])

        explain, maps = make(self.model), dict[str, Tensor]()
        clock = Clock(self.model, explain, self.subjects.lots[0])
        for lot in self.subjects.lots:
            maps |= zip(lot.case_ids, clock.explained(lot), strict=True)
        return self._subject(maps, Method(make, explain, clock.map_seconds, clock.pass_seconds))

    def _floor(self, name: str) -> Subject:
        """A map that knows nothing of the case, as if a method had made it."""
        floor, maps = self.floors[name], dict[str, Tensor]()
        for lot in self.subjects.lots:
            made = torch.tensor(floor(lot.case_ids), dtype=torch.float32, device=lot.images.device)
            maps |= zip(lot.case_ids, made[:, None], strict=True)
        return replace(self._subject(maps), blurs=floor.blurred)

    def _subject(self, maps: Mapping[str, Tensor], method: Method | None = None) -> Subject:
        kind = self.run.config.objective.classification
        return Subject(self.subjects, maps, self.model, kind, self.effort, method=method)

    def _part(self, name: str, subject: Subject) -> Part:
        """Everything that the aspects find of it."""
        found = {key: a.measure(subject) for key, a in ASPECTS.items() if a.unsupported(subject) is None}
        tables = [
            rows(name, aspect, case_ids, figures)
            for aspect, measured in found.items()
            for case_ids, figures in measured.figures
        ]
        return Part(
            name,
            pl.concat([pl.DataFrame(schema=SCHEMA), *tables]),
            alone={aspect: measured.alone for aspect, measured in found.items() if measured.alone},
            details={a: measured.detail for a, measured in found.items() if measured.detail is not None},
        )


def _counts(floors: Mapping[str, BaselineMap], case_ids: Sequence[str]) -> dict[str, int]:
    return {key: n for floor in floors.values() for key, n in floor.counts(case_ids).items()}


def _fingerprint(model: nn.Module) -> str:
    """A hash of all weights."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _check(counts: dict[str, int]) -> None:
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"--{name} is {value}; it must be at least 1")
