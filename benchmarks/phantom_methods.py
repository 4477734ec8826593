"""Every comparison method on the demo's confounded phantoms: which frees a classifier from the marker?"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from itertools import product
from pathlib import Path
from statistics import mean, median, stdev
from time import process_time

import yaml

from benchmarks.kept import Figures, kept
from benchmarks.results import Cell, Result
from radgaze import experiments
from radgaze.cli.demo import make_store
from radgaze.cli.demo_sizes import FULL
from radgaze.console import say
from radgaze.evaluation import evaluate
from radgaze.evaluation.options import EvaluationOptions
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.runs.run import Run
from radgaze.runs.without_gaze import without_gaze
from radgaze.training.checkpoint_files import resumable
from radgaze.training.train import train

SEEDS = (7, 1, 2, 3, 4)
"""The first five seeds of the benchmark `confounding`, chosen before any of them was run."""

PLAIN = "no_decoder"
"""The experiment that the others are compared with: the classifier alone."""

LEFT_OUT = ("three_stage", "rrr_another", "conaf")
"""Experiments that train on a store made of an earlier run, or need boxes (the benchmark `conaf`)."""

CONTROLLED = ("set1_guided", "set3_guided")
"""Experiments that are trained with the gaze of another case as well."""

LAMBDAS = (0.1, 1.0, 10.0)
"""Weights of the penalty beside the default, to judge that one."""

MAPS = {"heatmap": "heatmap", "grad_cam": "Grad-CAM", "mask": "mask"}
"""Maps that are compared with gaze, and their words in the table."""


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        experiment: Name of the experiment.
        overrides: Settings that override the experiment's.
        demo_gamma: Whether γ is the demo's, which was chosen for set 3, and not the experiment's own.
        without_gaze: Whether a model that reads a gaze map is tested with empty maps.
    """

    experiment: str
    overrides: Mapping[str, object] = field(default_factory=dict)
    demo_gamma: bool = False
    without_gaze: bool = False


def methods() -> dict[str, Method]:
    """Methods by the name of their row: the demo's, all of the family "Comparison", and variants of these."""
    of_demo = {name: Method(name, demo_gamma=True) for name in ("baseline", "set1_guided", "set3_guided")}
    compared = {
        each.name: Method(each.name)
        for each in experiments.catalogue()
        if each.family == "Comparison" and each.name not in LEFT_OUT
    }
    return {PLAIN: Method(PLAIN), **of_demo, **compared, **variants()}


def variants() -> dict[str, Method]:
    """Rows that a claim of a paper, or a choice of λ, needs beside it."""
    rows = {
        "self_transfer, α = 0.5 throughout": Method(
            "self_transfer", {"objective": {"gamma": 0.5, "gamma_schedule": "constant"}}
        ),
        "gaze_input, without gaze in test": Method("gaze_input", without_gaze=True),
    }
    shuffled = {"gaze": {"control": "shuffled"}}
    for name in CONTROLLED:
        rows[f"{name}, gaze of another case"] = Method(name, shuffled, demo_gamma=True)
    for name in ("rrr", "gradmask"):
        edges: dict[str, dict[str, object]] = {
            f"{name}, λ = {weight:g}": {"weight": weight}
            for weight in LAMBDAS
            if weight != settings.resolve(name).objective.heatmap_gaze.weight
        }
        edges[f"{name}, λ of equal terms at the start"] = {"balance": "start"}
        rows |= {key: Method(name, {"objective": {"heatmap_gaze": edge}}) for key, edge in edges.items()}
    return rows


def run(
    *, seeds: Sequence[int] = SEEDS, names: Sequence[str] | None = None, keep: str = "phantom-methods"
) -> Result:
    """Train and evaluate each method on the phantom of each seed.

    Several processes may share a folder: each takes what no other has begun.

    Args:
        seeds: Seeds of the phantoms, of the order of the cases and of the first weights.
        names: Rows; None for all.
        keep: Folder for phantoms, runs and figures: a stopped benchmark goes on from there.
    """
    chosen = methods() if names is None else {name: methods()[name] for name in names}
    found: dict[str, list[Figures]] = {name: [] for name in chosen}
    for seed, (name, method) in product(seeds, chosen.items()):
        folder = Path(keep) / f"seed-{seed}"
        figures = kept(folder / "figures" / f"{name}.json", partial(_figures, method, name, folder, seed))
        if figures is not None:
            found[name].append(figures)
    plain = found.get(PLAIN, [])
    return Result(
        "Every comparison method on confounded phantoms",
        f"The settings and data of `radgaze demo` (`python -m benchmarks confounding`): in training and "
        f"validation patients a burnt-in marker follows the class with strength {FULL.confounding:g}; in the "
        "test patients, who are scored here, it tells nothing. AUC is the macro mean over the classes, one "
        "against the rest; NSS is that of smoothed heatmaps with the test readers' fixations, of guided "
        "back-propagation (heatmap) and of Grad-CAM, for all methods alike, and of the model's own masks or "
        "class maps where it has any. Mean ± standard deviation over seeds; difference is AUC minus that of "
        f"`{PLAIN}` of the same seeds. Time is the processor time of a training relative to that of the "
        f"same seed's `{PLAIN}`. A method's weights are its experiment's own; "
        "baseline, set 1 and set 3 have the demo's γ. “Gaze of another case” is `gaze.control=shuffled`: "
        "training cases have the gaze of other patients.",
        [row(name, figures, plain) for name, figures in found.items() if figures],
        {
            "patients": FULL.patients,
            "pixels": FULL.pixels,
            "confounding": FULL.confounding,
            "seeds": ", ".join(map(str, seeds)),
        },
    )


def _figures(method: Method, name: str, folder: Path, seed: int) -> Figures:
    say(f"Seed {seed}: {name}", bold=True)
    figures = {"seed": float(seed)}
    with redirect_stdout(io.StringIO()):
        store = make_store(folder, seed=seed)
        config = configured(method, str(store.path.resolve()), seed)
        out = folder / (method.experiment if method.without_gaze else name).replace(" ", "_")
        trained, seconds = trained_run(config, out)
        if seconds is not None:
            figures["seconds"] = seconds
        if method.without_gaze:
            trained = without_gaze(trained, "cpu")
        results = evaluate(trained, EvaluationOptions(resamples=1)).test
    figures["AUC"] = value_of(results.auc, "macro")
    return figures | {
        f"{kind} NSS": value_of(each, "nss") for kind, each in results.agreement.items() if each
    }


def trained_run(config: Config, out: Path) -> tuple[Run, float | None]:
    """Train a run, or open it where it is trained already.

    Returns:
        The run, and the processor time of its training in seconds; None where not all of it was now.
    """
    same = (out / "config.yaml").is_file() and settings.read(out / "config.yaml") == config
    if same and (out / "predictions.parquet").is_file():
        return Run.open(out), None
    again = same and resumable(out)
    start = process_time()
    trained = train(config, out, resume=again, overwrite=True)
    return trained, None if again else process_time() - start


def value_of(entries: Mapping[str, object], name: str) -> float:
    """The value of a named estimate of an evaluation."""
    return float(entries[name].value)  # type: ignore[attr-defined]


def configured(method: Method, data: str, seed: int) -> Config:
    """The configuration of a method's run on a store: the demo's settings over the experiment's."""
    fields = yaml.safe_load((files("radgaze.cli") / "demo.yaml").read_text(encoding="utf-8"))
    if not method.demo_gamma:
        fields.pop("objective")
    overrides = experiments.merge(fields, method.overrides)
    return settings.resolve(method.experiment, protocol="honest", data=data, seed=seed, **overrides)


def row(name: str, figures: Sequence[Figures], plain: Sequence[Figures]) -> dict[str, Cell]:
    """The row of a method in the table, given its figures and those of `PLAIN`."""
    of_plain = {each["seed"]: each for each in plain}
    both = [each for each in figures if each["seed"] in of_plain]
    gain = [each["AUC"] - of_plain[each["seed"]]["AUC"] for each in both]
    timed = [each for each in both if "seconds" in each and "seconds" in of_plain[each["seed"]]]
    ratio = [each["seconds"] / of_plain[each["seed"]]["seconds"] for each in timed]
    return {
        "method": name,
        "seeds": len(figures),
        "AUC": _spread([each["AUC"] for each in figures]),
        "difference": _spread(gain, "+"),
        **{
            f"{word} NSS": _spread(each[f"{kind} NSS"] for each in figures if f"{kind} NSS" in each)
            for kind, word in MAPS.items()
        },
        "time": round(median(ratio), 2) if ratio else "–",
    }


def _where_any(figures: Iterable[Figures], name: str) -> list[float]:
    return [each[name] for each in figures if name in each]


def _spread(values: Iterable[float], sign: str = "") -> str:
    values = list(values)
    if not values:
        return "–"
    return f"{mean(values):{sign}.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")
