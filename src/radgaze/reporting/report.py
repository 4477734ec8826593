"""RUN/report.html: what was trained on what, how well it tells the classes apart, and whether it looks where people do."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from radgaze import __version__
from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.reporting import curves, intervals, sections
from radgaze.reporting.cases import SELECTION, choose
from radgaze.reporting.page import Picture, case_pictures, figure_picture, write_page
from radgaze.reporting.panels import Case, case_figure
from radgaze.reporting.style import save
from radgaze.reporting.wording import count, listed

if TYPE_CHECKING:
    from radgaze.training.run import Run

Draw = Callable[["Run", Sequence[str]], list[Case]]

OUTLINE = "Each map of the model carries the outline of the radiologist's gaze, so that the two can be compared at a glance."


def report(
    run: Run, metrics: Mapping[str, Any] | None = None, *, draw: Draw | None = None, each: int = 3
) -> Path:
    """Write RUN/report.html and RUN/figures/*.png from what is in the run folder; return the report's path.

    Args:
        run: The run. Its store is needed for the case pictures only; without it the report says so.
        metrics: What `evaluate` returned; read from RUN/metrics.json if not given.
        draw: Makes the cases' maps; by default the run's own model and store do.
        each: How many correct and how many wrong cases of each class are shown.

    Raises:
        UserError: The run was not evaluated yet.
    """
    metrics = metrics if metrics is not None else read_metrics(run.path)
    predictions = run.predictions()
    test = predictions.filter(pl.col("split") == "test")
    numbers, classes = metrics.get("test") or {}, run.classes
    manifest = _manifest(run)
    with progress("Writing the report", total=3) as bar:
        images = _curves(run, test, numbers)
        agreement = sections.agreement(numbers.get("agreement"))
        picture = _agreement_figure(run, numbers) if agreement["rows_agreement"] else None
        bar.advance()
        groups, note = _cases(run, test, draw or _draw, each)
        bar.advance()
        path = write_page(
            "report.html",
            run.path / "report.html",
            title=f"{run.experiment} – radgaze report",
            experiment=run.experiment,
            summary=_summary(run, predictions, manifest),
            facts=_facts(run, metrics, predictions, manifest),
            tiles=sections.tiles(numbers, test),
            findings=sections.findings(numbers, classes),
            **sections.discrimination(numbers, classes, test),
            curves=images,
            has_history=len(images) == 4,
            **agreement,
            agreement_figure=picture,
            classes_cases=groups,
            no_cases=note,
            selection=SELECTION,
            outline=OUTLINE,
            **_data(predictions, classes, manifest),
            limits=sections.limits(numbers, classes, test),
            config=_config_text(run),
        )
        bar.advance()
    return path


def read_metrics(path: Path) -> dict[str, Any]:
    """RUN/metrics.json; a UserError where there is none."""
    file = path / "metrics.json"
    if not file.is_file():
        raise UserError(f"{path} has no metrics.json. Run `radgaze evaluate {path}` first.")
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def _curves(run: Run, test: pl.DataFrame, numbers: Mapping[str, Any]) -> list[Picture]:
    """The curves as PNG files in RUN/figures, and as pictures of the page."""
    folder, classes = run.path / "figures", run.classes
    names = listed(classes)
    images = [
        figure_picture(
            save(curves.roc(test, classes, numbers.get("auc") or {}), folder / "roc.png"),
            f"ROC curves of {names}, one against the rest; the AUC of each is in the table above",
            "The marks are the operating points at 90% specificity.",
        ),
        figure_picture(
            save(
                curves.precision_recall(test, classes, numbers.get("average_precision") or {}),
                folder / "precision_recall.png",
            ),
            f"Precision–recall curves of {names}; the average precision of each is in the table above",
            "Precision depends on how common a class is in the test set; elsewhere it differs.",
        ),
        figure_picture(
            save(
                curves.calibration(test, classes, numbers.get("calibration_error")),
                folder / "calibration.png",
            ),
            f"Reliability diagram of {names}: observed share against predicted probability",
            "On the dotted line, a probability means what it says. Bins hold equal numbers of cases; bars are 95% "
            "Wilson intervals.",
        ),
    ]
    history = _history(run)
    if history is not None:
        images.append(
            figure_picture(
                save(curves.training(history), folder / "training.png"),
                "Loss and AUC over the epochs of the training",
                "The kept weights are those of the epoch with the best validation AUC; the test cases had no part in it.",
            )
        )
    return images


def _agreement_figure(run: Run, numbers: Mapping[str, Any]) -> Picture:
    path = save(
        intervals.agreement({run.experiment: numbers["agreement"]}), run.path / "figures" / "agreement.png"
    )
    return figure_picture(
        path, "Agreement of heatmap, mask and the floors with gaze; the numbers are in the table above"
    )


def _cases(run: Run, test: pl.DataFrame, draw: Draw, each: int) -> tuple[list[dict[str, Any]], str]:
    """Per class the pictures of some cases, or none and the reason."""
    choices = choose(test, run.classes, each)
    ids = [case_id for choice in choices.values() for case_id in (*choice.correct, *choice.wrong)]
    try:
        drawn = {case.case_id: case for case in draw(run, ids)} if ids else {}
    except UserError as error:
        return [], f"No case pictures: {error}"
    generator = _generator_title(run)
    mask = any(case.mask is not None for case in drawn.values())
    groups = []
    for name, choice in choices.items():
        cases = [drawn[i] for i in (*choice.correct, *choice.wrong) if i in drawn]
        if cases:
            save(
                case_figure(cases, generator, mask=mask),
                run.path / "figures" / f"cases_{_slug(name)}.png",
                dpi=130,
            )
        total = choice.all_correct + choice.all_wrong
        groups.append(
            {
                "name": f"{name}: {choice.all_correct} of {total} correct",
                "cases": [case_pictures(case, generator, mask=mask) for case in cases],
                "missing": ""
                if choice.wrong or not total
                else "No case of this class was classified wrongly.",
            }
        )
    return groups, "There are no test cases." if not ids else ""


def _draw(run: Run, case_ids: Sequence[str]) -> list[Case]:
    raise UserError("the maps of single cases are not available")


def _summary(run: Run, predictions: pl.DataFrame, manifest: Mapping[str, Any]) -> str:
    """One sentence: what was trained, on what, to do what."""
    config = _tree(run)
    network = _find(config, "encoder")
    cases = manifest.get("counts", {}).get("cases")
    trained = "A classifier" if network is None else f"A {network} classifier"
    data = f" on {count(int(cases), 'case')} of “{manifest.get('source')}”" if cases else ""
    return f"{trained} of {listed(run.classes)}, trained and tested{data}. {_edges(config)}"


def _edges(config: Mapping[str, Any]) -> str:
    """What the training pulled towards what, from the weights on the triangle's edges."""
    return ""


def _facts(
    run: Run, metrics: Mapping[str, Any], predictions: pl.DataFrame, manifest: Mapping[str, Any]
) -> list[tuple[str, str]]:
    config = _tree(run)
    facts = [("Experiment", run.experiment)]
    if manifest.get("source"):
        facts.append(("Data source", str(manifest["source"])))
    for name, key in (
        ("Protocol", "protocol"),
        ("Encoder", "encoder"),
        ("Generator", "generator"),
        ("Seed", "seed"),
    ):
        if (value := _find(config, key)) is not None:
            facts.append((name, str(value)))
    history = _history(run)
    if history is not None:
        facts.append(("Epochs trained", str(history["epoch"].n_unique())))
    facts.append(("Software", f"radgaze {metrics.get('software', __version__)}"))
    return facts


def _data(predictions: pl.DataFrame, classes: Sequence[str], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Cases per split and class, from the store where it is at hand and from the predictions otherwise."""
    rows = []
    for split in predictions["split"].unique(maintain_order=True).sort(descending=True):
        own = predictions.filter(pl.col("split") == split)
        rows.append(
            [
                split,
                own.height,
                own["patient"].n_unique(),
                *(int(own[f"label_{name}"].sum()) for name in classes),
            ]
        )
    rejected = manifest.get("counts", {}).get("rejections", {})
    return {
        "data_columns": ["cases", "patients", *classes],
        "data_rows": rows,
        "rejections": [(reason, n) for reason, n in rejected.items() if n],
    }


def _manifest(run: Run) -> dict[str, Any]:
    """The store's manifest, or nothing where the store is no longer there: a run's report must not need it."""
    try:
        return dict(run.store.manifest)
    except UserError:
        return {}


def _history(run: Run) -> pl.DataFrame | None:
    try:
        history = run.history()
    except (UserError, FileNotFoundError):
        return None
    return None if history.is_empty() or not any("/" in c for c in history.columns) else history


def _generator_title(run: Run) -> str:
    return str(_find(_tree(run), "generator") or "guided_backprop").replace("_", " ").capitalize()


def _config_text(run: Run) -> str:
    """RUN/config.yaml, every path in it cut to its last part: folder names can say whose data it is."""
    file = run.path / "config.yaml"
    if not file.is_file():
        return ""
    return re.sub(r"(?<![\w.])[~.]?/\S*/(?=[^/\s]+)", "…/", file.read_text(encoding="utf-8"))


def _tree(run: Run) -> dict[str, Any]:
    return dataclasses.asdict(run.config) if dataclasses.is_dataclass(run.config) else {}


def _find(tree: Mapping[str, Any], key: str) -> Any:
    """The first value of `key` anywhere in a tree of mappings, the upper levels first."""
    if tree.get(key) is not None:
        return tree[key]
    for value in tree.values():
        if isinstance(value, Mapping) and (found := _find(value, key)) is not None:
            return found
    return None


def _slug(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name)
