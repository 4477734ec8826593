"""`audit`: is a map any good? Every method on the same cases of a run, and maps that know nothing of them."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze import __version__, attribution, models
from radgaze.attribution.registry import PRESETS, REGISTRY
from radgaze.console import progress, say
from radgaze.errors import UserError
from radgaze.evaluation.audit.aspects import (
    ASPECTS,
    BLUR,
    Effort,
    Explain,
    Figures,
    Floats,
    agreement_of,
    explained,
    faithfulness_of,
    localisation_of,
    sanity_figures,
    sanity_of,
    smooth,
    stability_of,
)
from radgaze.evaluation.audit.cache import FOLDER, SCHEMA, Part, keep, kept, rows
from radgaze.evaluation.audit.markdown import audit_markdown
from radgaze.evaluation.audit.results import CEILINGS, FLOORS, Audit, write
from radgaze.evaluation.audit.sampling import Gaze, Lot, Subjects, draw, gather
from radgaze.evaluation.baselines import LungShapes
from radgaze.evaluation.measuring import usable_device
from radgaze.evaluation.statistics.resampling import RESAMPLES
from radgaze.files import write_text
from radgaze.training.run import Run

TIMED = 2
"""Lots on which the plain forward pass is timed, beside each method."""
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
        cases: How many, drawn by the effort's seed; for agreement and localisation.
        probed: How many of those also for faithfulness, sanity and stability.
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
        "metrics": {aspect: sorted(metrics) for aspect, metrics in ASPECTS.items()},
        "device": device,
    }
    lungs = LungShapes(run.store, run.config.input.fit, run.config.input.size)
    wanted: dict[str, dict[str, Any]] = {name: made_with | {"method": None} for name in (*FLOORS, *CEILINGS)}
    wanted |= {name: made_with | {"method": of_method} for name, of_method in recipes.items()}
    found = {name: part for name, w in wanted.items() if (part := kept(name, out / FOLDER, w)) is not None}
    missing = [name for name in wanted if name not in found]
    if found:
        say(f"{len(found)} of {len(wanted)} are in {out / FOLDER} already and left as they are")
    try:
        if missing:
            subjects = gather(run, model, split, drawn, device=device, batch_size=batch_size)
            bench = _Bench(run, model, split, subjects, recipes, effort, lungs)
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
                "blur": BLUR,
                "size": run.config.input.size,
                "target": "predicted",
                "own_lungs": lungs.own(drawn.cases["case_id"].to_list()),
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
    lungs: LungShapes

    def measure(self, name: str) -> Part:
        if name in self.recipes:
            return self._method(name)
        return self._other_reader() if name in CEILINGS else self._floor(name)

    def _method(self, name: str) -> Part:
        def make(model: nn.Module) -> Explain:
            return attribution.create(self.recipes[name]["generator"], model, **self.recipes[name]["options"])

        explain, tables, at = make(self.model), list[pl.DataFrame](), dict[str, Tensor]()
        clock = _Clock(self.model, explain, self.subjects.lots[0])
        probed = {case_id for lot in self.subjects.probed for case_id in lot.case_ids}
        for lot in self.subjects.lots:
            maps = clock.explained(lot)
            at |= {i: m for i, m in zip(lot.case_ids, maps, strict=True) if i in probed}
            smooth_maps = smooth(lot, maps)
            tables.append(_rows(name, "agreement", lot, self._agreement(smooth_maps, lot.gaze)))
            if lot.boxed.any():
                of_truth = smooth(lot, _of_truth(explain, lot, maps))
                tables.append(_rows(name, "localisation", lot, localisation_of(lot, of_truth), lot.boxed))
        few = self.subjects.probed
        theirs = tuple(torch.stack([at[case_id] for case_id in lot.case_ids]) for lot in few)
        for lot, maps in zip(few, theirs, strict=True):
            tables.append(_rows(name, "faithfulness", lot, self._faithfulness(lot, maps)))
            tables.append(_rows(name, "stability", lot, stability_of(lot, maps, explain, self.effort)))
        cascades = sanity_of(few, theirs, self.model, make, self.effort)
        ids = [case_id for lot in few for case_id in lot.case_ids]
        tables.append(rows(name, "sanity", ids, sanity_figures(cascades)))
        return Part(name, pl.concat(tables), clock.cost(), cascades)

    def _floor(self, name: str) -> Part:
        """A map that knows nothing of the case, as if a method had made it."""
        tables = []
        for lot in self.subjects.lots:
            maps = self._of_floor(name, lot)
            if maps is None:
                break
            P = maps[:, 0].double().cpu().numpy() if name == "mean_gaze" else smooth(lot, maps)
            tables.append(_rows(name, "agreement", lot, self._agreement(P, lot.gaze)))
            if lot.boxed.any():
                tables.append(_rows(name, "localisation", lot, localisation_of(lot, P), lot.boxed))
        tables += [
            _rows(name, "faithfulness", lot, self._faithfulness(lot, maps))
            for lot in self.subjects.probed
            if (maps := self._of_floor(name, lot)) is not None
        ]
        return Part(name, pl.concat([pl.DataFrame(schema=SCHEMA), *tables]))

    def _of_floor(self, name: str, lot: Lot) -> Tensor | None:
        """The floor's maps (B, 1, S, S) of a lot; None where nothing is known of it."""
        size = (lot.images.shape[-2], lot.images.shape[-1])
        if name == "random":
            seeds = [[self.effort.seed, zlib.crc32(case_id.encode())] for case_id in lot.case_ids]
            maps = np.stack([np.random.default_rng(seed).random(size) for seed in seeds])
        elif name == "lung_shape":
            maps = self.lungs(lot.case_ids)
        else:
            if self.subjects.mean_gaze is None:
                return None
            maps = np.broadcast_to(self.subjects.mean_gaze, (len(lot), *size))
        return torch.tensor(maps, dtype=torch.float32, device=lot.images.device)[:, None]

    def _other_reader(self) -> Part:
        """One reader's gaze map against the gaze of all the others of the case; the mean over the readers."""
        ids = [case_id for lot in self.subjects.lots for case_id in lot.case_ids]
        tables = [pl.DataFrame(schema=SCHEMA)]
        for one, rest in self.run.readers(self.split, ids):
            own, theirs = Gaze.of(one), Gaze.of(rest)
            figures = self._agreement(own.maps, theirs, besides=own)
            tables.append(rows("other_reader", "agreement", one.case_id, figures))
        keys = [name for name in SCHEMA if name != "value"]
        table = pl.concat(tables).group_by(keys, maintain_order=True).agg(pl.col("value").mean())
        return Part("other_reader", table.select(list(SCHEMA)))

    def _agreement(self, P: Floats, gaze: Gaze, besides: Gaze | None = None) -> Figures:
        """Of smooth maps with the gaze on their cases; `besides` is more gaze on the same cases."""
        seen = [gaze] if besides is None else [gaze, besides]
        others = self.subjects.fixations - sum(g.fixations for g in seen)
        # Two readers' maps, each 1 at its highest, add up to more than the map of both: not below zero.
        other_gaze = np.maximum(self.subjects.gaze - sum(g.maps for g in seen), 0)
        return agreement_of(P, gaze, others, other_gaze, self.subjects.mean_gaze)

    def _faithfulness(self, lot: Lot, maps: Tensor) -> Figures:
        kind = self.run.config.objective.classification
        return faithfulness_of(lot, maps, self.model, kind, self.effort)


class _Clock:
    """Times a method, and beside it the plain forward pass, on the first lots: the machine is as busy."""

    def __init__(self, model: nn.Module, explain: Explain, lot: Lot) -> None:
        self._model, self._explain = model, explain
        self._maps = self._passes = 0.0
        self._mapped = self._passed = 0
        explained(explain, lot)  # memory and kernels: what comes first would seem slow
        self._forward(lot)

    def explained(self, lot: Lot) -> Tensor:
        """The lot's maps."""
        if self._passed < TIMED:
            self._passes += self._timed(partial(self._forward, lot), lot)[1]
            self._passed += len(lot)
        maps, seconds = self._timed(partial(explained, self._explain, lot), lot)
        self._maps, self._mapped = self._maps + seconds, self._mapped + len(lot)
        return maps

    def cost(self) -> dict[str, float]:
        """Images per second, and how many plain forward passes one image's map takes the time of."""
        map_, pass_ = self._maps / self._mapped, self._passes / self._passed
        return {"images_per_second": 1 / map_, "forward_passes": map_ / pass_}

    def _forward(self, lot: Lot) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = self._model(lot.images, *lot.also).logits
        return logits

    def _timed(self, work: Callable[[], Tensor], lot: Lot) -> tuple[Tensor, float]:
        _finish(lot.images)
        start = time.perf_counter()
        done = work()
        _finish(done)
        return done, time.perf_counter() - start


def _finish(tensor: Tensor) -> None:
    """Wait until the device has made it."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


def _of_truth(explain: Explain, lot: Lot, maps: Tensor) -> Tensor:
    """Maps of the true class: those of the predicted one, and others for cases with boxes that are not it."""
    other = torch.from_numpy(lot.boxed).to(lot.truth.device) & (lot.truth != lot.predicted)
    if not other.any():
        return maps
    own = maps.clone()
    own[other] = explain(lot.images[other], lot.truth[other], also=tuple(a[other] for a in lot.also))
    return own


def _rows(
    method: str, aspect: str, lot: Lot, figures: Figures, there: NDArray[np.bool_] | None = None
) -> pl.DataFrame:
    """Rows of a lot's cases, or of those that are there."""
    found = rows(method, aspect, lot.case_ids, figures)
    if there is None:
        return found
    return found.filter(pl.col("case_id").is_in(list(np.array(lot.case_ids)[there])))


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
