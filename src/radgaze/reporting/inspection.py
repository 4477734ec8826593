"""DIR/inspect.html: numbers and figures of a store, and some of its cases with the gaze overlaid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from radgaze.console import progress
from radgaze.files import write_text
from radgaze.inspecting.inspection import GAZE, Average, Inspection, images_to_read, inspect
from radgaze.inspecting.options import InspectOptions
from radgaze.reporting.alignment import alignment_figure
from radgaze.reporting.attention import attention_of
from radgaze.reporting.case_panels import Case, Panel, attention, gaze_of, radiograph
from radgaze.reporting.layers import overlay
from radgaze.reporting.page import Picture, figure_picture, write_page
from radgaze.reporting.scans import scans
from radgaze.reporting.shown_panels import Pictures, ShownPanel
from radgaze.reporting.style import MUTED, canvas, colour, save, styled
from radgaze.reporting.wording import AGREEMENT
from radgaze.store.boxes import with_area
from radgaze.store.dataset import GazeDataset, collate
from radgaze.store.mentions import gaze_of_classes
from radgaze.store.store import Store

SIZE = 320
"""Side in pixels of the drawn maps, before they are resized to the original shape."""


def inspection_page(
    store: Store, out: Path, options: InspectOptions | None = None
) -> tuple[Inspection, Path]:
    """Inspect a store; write DIR/inspect.html, inspect.json, readings.png and, with gaze of each class,
    gaze_of_classes.png.

    Args:
        store: The store.
        out: Folder of the files.
        options: The options.

    Returns:
        The inspection, and the path of the page.
    """
    options = options or InspectOptions()
    chosen = {name: _drawn(store, name, options.each, options.seed) for name in store.classes}
    pictures, kind = Pictures(), attention_of(store)
    total = images_to_read(store, options.seed) + sum(map(len, chosen.values()))
    with progress("Inspecting", total=total) as bar:
        inspection = inspect(store, options, advance=bar.advance)
        groups = []
        for name, ids in chosen.items():
            groups.append({"name": name, "cases": [_shown(case, pictures) for case in _cases(store, ids)]})
            bar.advance(len(ids))
    path = write_page(
        "inspection.html",
        out / "inspect.html",
        title=f"{store.path.resolve().name} – radgaze inspect",
        name=store.path.resolve().name,
        source=store.manifest["source"],
        size=store.size,
        exclusive=store.exclusive,
        inspection=inspection,
        counts=inspection.counts.to_dicts(),
        quantiles=inspection.quantiles(),
        between=[(*AGREEMENT[metric], entry) for metric, entry in inspection.between_readers().items()],
        distributions=_distributions(inspection, out),
        gaze_of_classes=gaze_of_classes(store).to_dicts() if store.mentions.height else [],
        alignment=_alignment(store, out, options.seed),
        averages=[_averaged(name, each, kind) for name, each in inspection.averages.items()],
        groups=groups,
        columns=4,
        attention=kind,
    )
    write_text(json.dumps(inspection.as_json(), indent=2) + "\n", out / "inspect.json")
    return inspection, path


def distributions(inspection: Inspection) -> Figure | None:
    """Draw histograms of fixations per reading, durations and coverage; None where there is no gaze."""
    panels = (
        ("Fixations per reading", "fixations on the image", inspection.readings["on_image"]),
        ("Length of a reading", "seconds", inspection.readings["duration"]),
        ("Length of a fixation", "seconds, the longest 1% left out", _without_tail(inspection)),
        ("Coverage", "share of the radiograph", inspection.readings["coverage"]),
    )
    if not inspection.readings.height:
        return None
    with styled():
        figure = canvas(10.8, 2.7)
        for place, (axis, (title, label, values)) in enumerate(
            zip(figure.subplots(1, len(panels)), panels, strict=True)
        ):
            numbers = np.asarray(values, dtype=np.float64)
            axis.hist(numbers, bins=min(30, max(5, int(np.sqrt(len(numbers))))), color=colour(0))
            axis.axvline(float(np.median(numbers)) if len(numbers) else 0.0, color=colour(1), linewidth=1.6)
            axis.set(title=title, xlabel=label, ylabel="readings" if place != 2 else "fixations")
            axis.xaxis.set_major_locator(MaxNLocator(5))
            axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            axis.tick_params(colors=MUTED, labelsize=8)
    return figure


def _without_tail(inspection: Inspection) -> NDArray[np.float64]:
    durations = inspection.fixations["duration"].to_numpy().astype(np.float64)
    return durations[durations <= np.quantile(durations, 0.99)] if len(durations) else durations


def _distributions(inspection: Inspection, out: Path) -> Picture | None:
    figure = distributions(inspection)
    if figure is None:
        return None
    path = save(figure, out / "readings.png")
    return figure_picture(
        path, "Histograms of fixations per reading, lengths and coverage; their quartiles are in the table"
    )


def _alignment(store: Store, out: Path, seed: int) -> Picture | None:
    """The picture of the gaze of each class; None where no case has any."""
    figure = alignment_figure(store, seed=seed) if store.mentions.height else None
    if figure is None:
        return None
    path = save(figure, out / "gaze_of_classes.png")
    return figure_picture(
        path, "Fixations of some cases, and the gaze map of each class that reports mention"
    )


def _averaged(name: str, average: Average, kind: str) -> ShownPanel:
    """Draw the mean radiograph of a class with its mean gaze over it, for the macro `case_row`."""
    plain = np.repeat(np.round(255 * average.image).astype(np.uint8)[..., None], 3, axis=2)
    top = 0.0 if average.gaze is None else float(average.gaze.max())
    pixels = overlay(plain, average.gaze / top, None) if average.gaze is not None and top > 0 else plain
    note = f"mean of {average.cases}" if average.cases else f"no {kind}"
    if average.of_boxes and kind == "gaze":
        note += f", {average.of_boxes} by their boxes or masks"
    large = np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1)
    return Pictures().row([Panel(name, large, note)], f"mean of {name}")[0]


def _drawn(store: Store, name: str, each: int, seed: int) -> list[str]:
    """Ids of cases of a class, at random, those with gaze first, then those with boxes or masks."""
    members = store.cases.filter(store.cases[f"label_{name}"] == 1)["case_id"].to_list()
    gazed = set(store.readings.join(store.fixations, on="reading_id")["case_id"])
    boxed = {*store.boxes["case_id"], *store.regions.table["case_id"]}
    order = np.random.default_rng(seed).permutation(len(members))
    rank = {members[i]: place for place, i in enumerate(order)}
    return sorted(members, key=lambda case: (case not in gazed, case not in boxed, rank[case]))[:each]


def _cases(store: Store, case_ids: list[str]) -> list[Case]:
    cases = GazeDataset(store, None, size=SIZE, gaze=GAZE)
    place = {case_id: i for i, case_id in enumerate(cases.case_ids)}
    shapes = dict(store.cases.select("case_id", store.cases["columns"] / store.cases["rows"]).iter_rows())
    stored, kind, drawn = scans(store, case_ids, "stretch"), attention_of(store), []
    for case_id in case_ids:
        batch = collate([cases[place[case_id]]])
        has_fixations = bool((batch.weights > 0).any())
        has_map = bool(batch.has_gaze[0])
        truth = [name for name, has in zip(store.classes, batch.label[0].tolist(), strict=True) if has]
        drawn.append(
            Case(
                case_id=case_id,
                image=batch.image[0, 0].numpy(),
                heatmap=None,
                grad_cam=None,
                gaze=batch.gaze_maps()[0, 0].numpy() if has_map else None,
                mask=None,
                truth=", ".join(truth),
                predicted="",
                probability=0.0,
                aspect=float(shapes[case_id]),
                attention=attention(
                    looked=has_fixations or (kind == "gaze" and not has_map),
                    boxes=bool(with_area(batch.own_boxes()).any()) or (kind == "boxes" and not has_map),
                ),
                scan=stored[case_id],
            )
        )
    return drawn


def _shown(case: Case, pictures: Pictures) -> dict[str, object]:
    return {
        "case_id": case.case_id,
        "truth": case.truth,
        "panels": pictures.row([radiograph(case), gaze_of(case)], case.case_id),
    }
