"""The page and the tables of the matrix of reasons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from radgaze.console import progress
from radgaze.evaluation.options import RESAMPLES
from radgaze.evaluation.results import MACRO
from radgaze.reporting.page import figure_picture, write_page
from radgaze.reporting.paper.controls import ControlTable, control_table, write_controls
from radgaze.reporting.paper.limitations import limits
from radgaze.reporting.paper.page import SeedTable, seed_tables
from radgaze.reporting.paper.power import PowerTable, power_table, write_power
from radgaze.reporting.paper.reliance import reliance_tables
from radgaze.reporting.paper.stacked import StackedTable, write_stacked
from radgaze.reporting.paper.table_set import heading
from radgaze.reporting.reasons.gap_table import gap_table
from radgaze.reporting.reasons.overview import overview
from radgaze.reporting.reasons.worlds import ReasonsResults, World, estimate_world, names_of
from radgaze.reporting.style import save
from radgaze.words import count, listed


@dataclass(frozen=True)
class ShownWorld:
    """A store on the page.

    Attributes:
        name: Name of the store.
        missing: Reason why there are no figures; empty where there are some.
        table: AUC and gap closed of each experiment; None where a reason is given, like what follows.
        relied: Reliance on each confounder.
        controls: The controls of gaze.
        power: What differences could have been found.
        seeds: The seeds of each experiment.
        limits: Limits of these figures.
    """

    name: str
    missing: str = ""
    table: StackedTable | None = None
    relied: tuple[StackedTable, ...] = ()
    controls: ControlTable | None = None
    power: PowerTable | None = None
    seeds: tuple[SeedTable, ...] = ()
    limits: tuple[str, ...] = ()


def write(results: ReasonsResults, out: Path, *, resamples: int = RESAMPLES, seed: int = 0) -> Path:
    """Write the folders `tables` and `figures`, and `index.html`; return the page's path.

    The same runs result in the same bytes.

    Args:
        results: The runs.
        out: Folder of the page.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        UserError: No run is finished, or two have different classes.
    """
    classes, shown, worlds = results.classes, list[ShownWorld](), list[World]()
    with progress("Writing tables and the figure", total=len(results.confounded) + 1) as bar:
        for name, here in results.confounded.items():
            if here.experiments:
                worlds.append(estimate_world(name, results, resamples=resamples, seed=seed))
                shown.append(_shown(worlds[-1], out / "tables" / name))
            else:
                failed = listed([here.reason(each) for each in here.attempted])
                shown.append(ShownWorld(name, f"No run on {name} is finished. {failed}".strip()))
            bar.advance()
        tables = [each.table for each in shown if each.table is not None]
        picture = None
        if worlds:
            write_stacked(tables, out / "tables" / "reasons", results.stamp)
            path = save(overview(worlds), out / "figures" / "reasons.png")
            picture = figure_picture(
                path, "Gap closed and reliance of every experiment and its controls; numbers in the tables"
            )
        page = write_page(
            "reasons.html",
            out / "index.html",
            title="What each experiment relies on – radgaze",
            stamp=results.stamp,
            lead=_lead(results),
            facts=_facts(results),
            picture_of_all=picture,
            worlds=shown,
            headings=[heading(MACRO), *classes],
            columns=1,
        )
        bar.advance()
    return page


def _shown(world: World, folder: Path) -> ShownWorld:
    """Write the tables of a store, and return what the page shows of it."""
    results, estimates = world.results, world.estimates
    folder.mkdir(parents=True, exist_ok=True)
    controls = control_table(results, estimates)
    write_controls(controls, folder, results.stamp)
    write_power(estimates, folder, results.stamp)
    relied = reliance_tables(results, estimates)
    if relied:
        write_stacked(relied, folder / "reliance", results.stamp)
    return ShownWorld(
        name=world.name,
        table=gap_table(world),
        relied=tuple(relied),
        controls=controls,
        power=power_table(estimates),
        seeds=tuple(seed_tables(results, estimates)),
        limits=tuple(limits(results, estimates)),
    )


def _lead(results: ReasonsResults) -> str:
    runs = sum(len(by_seed) for here in results.stores.values() for by_seed in here.runs.values())
    failed = sum(len(here.failed) for here in results.stores.values())
    methods = {name for here in results.confounded.values() for name in here.experiments}
    controls = {name for here in results.confounded.values() for name in here.controls}
    words = (
        f"{count(len(methods - controls), 'experiment')} and {count(len(methods & controls), 'control')} of "
        f"gaze on {names_of(results)}, {count(runs, 'finished run')}."
    )
    return f"{words} {count(failed, 'run')} failed; the tables say why." if failed else words


def _facts(results: ReasonsResults) -> list[tuple[str, str]]:
    seeds = sorted({s for here in results.stores.values() for runs in here.runs.values() for s in runs})
    return [
        ("Checkpoint chosen by", "test AUC (see above)" if results.stamp else "validation AUC"),
        ("Seeds", ", ".join(map(str, seeds)) if len(seeds) <= 6 else f"{len(seeds)}, from {seeds[0]}"),
        ("Classes", ", ".join(results.classes)),
    ]
