"""What a run is, in words: the experiment, its data, its configuration, without a path or a person in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from radgaze import __version__
from radgaze.errors import UserError
from radgaze.reporting.wording import count, listed, number
from radgaze.runs.origin import StoreChangedError

if TYPE_CHECKING:
    from radgaze.runs.run import Run


def summary(run: Run, manifest: Mapping[str, Any], *, exclusive: bool = True) -> str:
    """Two sentences: what was trained on what, and what gaze had to do with it."""
    config = run.config
    network = config.model.network.title
    if not config.model.has_own_encoder:
        network = f"{network} ({config.model.encoder})"
    cases = (manifest.get("counts") or {}).get("cases")
    source = manifest.get("source", "unknown")
    data = f", from a store of {count(int(cases), 'case')} of “{source}”" if cases else ""
    edges = [edge.summary for edge in config.objective.edges]
    taught = (
        f"Besides the labels, {listed(edges)}."
        if edges
        else "It learned from the labels alone; gaze had no part in it."
    )
    if config.model.reads_gaze:
        taught = (
            "It learned from the labels, and reads the gaze on a case beside its image, also when tested."
        )
    if not exclusive:
        return f"A {network} trained to find {listed(run.classes)}, each for itself{data}. {taught}"
    return f"A {network} trained to tell {listed(run.classes)} apart{data}. {taught}"


def facts(run: Run, metrics: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of what identifies the run."""
    config, measured = run.config, metrics.get("settings") or {}
    history = run.history()
    edges = [
        f"{edge.label} {number(settings.weight, 2)} ({settings.distance})"
        for edge, settings in config.objective.edges.items()
    ]
    known = [
        ("Data source", manifest.get("source")),
        ("Protocol", config.protocol),
        ("Starting weights", str(config.model.weights).replace("\\", "/").rsplit("/", 1)[-1]),
        ("Edges", ", ".join(edges) or "none"),
        ("Share of classification (γ)", number(config.objective.gamma, 3) if edges else None),
        (
            "Heatmap shown",
            f"{measured.get('generator')}, {measured.get('target')} class" if measured else None,
        ),
        ("Epochs", str(history["epoch"].n_unique()) if not history.is_empty() else None),
        ("Seed", str(config.seed)),
        ("Software", f"radgaze {metrics.get('software', __version__)}"),
    ]
    return [(name, str(value)) for name, value in known if value]


def data(run: Run, predictions: pl.DataFrame, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Cases per split and class: from the store where it is at hand, else from the predictions, which hold no
    training cases."""
    try:
        table = run.store.cases
    except StoreChangedError:
        raise
    except UserError:
        table = predictions
    order = [split for split in ("train", "validate", "test") if split in set(table["split"])]
    rows = []
    for split in order:
        own = table.filter(pl.col("split") == split)
        labels = [int(own[f"label_{name}"].sum()) for name in run.classes]
        rows.append([split, own.height, own["patient"].n_unique(), *labels])
    rejected = (manifest.get("counts") or {}).get("rejections") or {}
    return {
        "data_columns": ["Cases", "Patients", *run.classes],
        "data_rows": rows,
        "rejections": [(reason, n) for reason, n in rejected.items() if n],
    }


def manifest(run: Run) -> dict[str, Any]:
    """The store's manifest, or nothing where the store is gone: the numbers of a report must not need it."""
    try:
        return dict(run.store.manifest)
    except StoreChangedError:
        raise
    except UserError:
        return {}


def configuration(run: Run) -> str:
    """RUN/config.yaml with every path cut to its last part."""
    file = run.path / "config.yaml"
    return without_paths(file.read_text(encoding="utf-8")) if file.is_file() else ""


def without_paths(text: str) -> str:
    """A text with every path in it cut to its last part: a folder's name can say whose data it is."""
    return re.sub(r"(?:~|[A-Za-z]:|\.{1,2})?(?:[/\\][^/\\\n'\"]*)+[/\\](?=[^/\\\n])", "…/", text)
