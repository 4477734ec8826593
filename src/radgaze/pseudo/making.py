"""Make masks of a run's maps, and write them into a copy of its store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from radgaze.console import say
from radgaze.errors import UserError
from radgaze.objectives.config import Map
from radgaze.objectives.terms import compares
from radgaze.outputs import check_folder
from radgaze.pseudo import grabcut
from radgaze.pseudo.maps import ClassMap, class_maps, marked_classes
from radgaze.pseudo.options import GAZE, PseudoOptions
from radgaze.runs.run import Run
from radgaze.store.annotating import Annotation, Mark, annotate, annotated_before
from radgaze.store.digest import file_digest
from radgaze.store.placement import Frame
from radgaze.store.store import Store
from radgaze.version import __version__
from radgaze.words import count


def pseudo(run: Run, options: PseudoOptions) -> Store:
    """Write a copy of a run's store in which masks, made of the run's maps, mark the training cases.

    Each true class of a case has its own map, and a mask that is named after the class. With
    `options.explained`, each case has one mask, named `EXPLAINED_BEFORE`, beside those of the run's store.
    With `options.validation`, validation cases are marked as well. A case none of whose maps has a pixel from
    the threshold on is not marked, and stays as it is. The copy has the run's split. A finished copy of the
    same run and options is returned as it is.

    Args:
        run: The run, or vote.
        options: The options.

    Returns:
        The copy.

    Raises:
        UserError: The folder holds something else, there is no case to mark, or its maps cannot be made or
            refined.
    """
    out = Path(os.path.abspath(options.out))  # noqa: PTH100  resolve() would follow a link
    check_folder(out, may_be=("store", "run"))
    options = replace(options, methods=_method(run, options))
    if options.refine == "grabcut":
        grabcut.available()
    store, annotation = run.store, _annotation(run, options)
    before = annotated_before(store, annotation, out)
    if before is not None:
        say(f"{out} was made before, from the same run with the same options: left as it is")
        return before
    seen = Seen()
    marks = _marks(refined(class_maps(run, options), run, options), run, options)
    made = annotate(store, seen.of(marks), annotation, out)
    say(seen.summary(len(annotation.case_ids)))
    return made


def refined(maps: Iterable[ClassMap], run: Run, options: PseudoOptions) -> Iterator[ClassMap]:
    """Refine maps by the method of the options.

    The threshold of the options still has to be applied to the result, except for those of grabcut and of
    explained places, whose values are 0 or 1.
    """
    if options.explained:  # on the gradient's own pixels: a single one that is enlarged would lose its height
        for each in maps:
            yield replace(each, values=(each.values >= options.level).astype("float32"))
        return
    if options.refine == "grabcut":
        for each in maps:
            cut = grabcut.grabcut(each.image, each.values, options.level)
            yield replace(each, values=cut.astype("float32"))
    elif options.refine == "irnet":
        from radgaze.pseudo.irnet.refining import refined as spread_to_boundaries

        yield from spread_to_boundaries(maps, run, options)
    else:
        yield from maps


def _marks(maps: Iterable[ClassMap], run: Run, options: PseudoOptions) -> Iterator[Mark]:
    """The masks of maps, on the squares of the store."""
    store, fit = run.store, run.config.input.fit
    level = 0.5 if options.refine == "grabcut" or options.explained else options.level
    frames = {
        case_id: Frame(rows, columns, store.size)
        for case_id, rows, columns in store.cases.select("case_id", "rows", "columns").iter_rows()
    }
    for each in maps:
        yield Mark(each.case_id, each.label, frames[each.case_id].restored(each.values, fit) >= level)


@dataclass
class Seen:
    """A count of the masks that pass.

    Attributes:
        maps: Number of masks so far, one for each map, with or without a pixel.
        marked: Ids of the cases that have a mask with a pixel.
    """

    maps: int = 0
    marked: set[str] = field(default_factory=set)

    def of(self, marks: Iterable[Mark]) -> Iterator[Mark]:
        """Count masks as they pass."""
        for each in marks:
            self.maps += 1
            if each.inside.any():
                self.marked.add(each.case_id)
            yield each

    def summary(self, cases: int) -> str:
        """Describe how many of the cases that were to be marked have a mask."""
        marked, left = len(self.marked), cases - len(self.marked)
        if not left:
            return f"{count(self.maps, 'map')} of {count(cases, 'case')}: all of them have a mask"
        rest = f"the other {left:,} stay as they are" if left > 1 else "the other one stays as it is"
        verb = "has" if marked == 1 else "have"
        return (
            f"{count(self.maps, 'map')} of {count(cases, 'case')}: {marked:,} of them {verb} a mask, {rest}"
        )


def _method(run: Run, options: PseudoOptions) -> str:
    """The map that masks are made of, by its name also where it is the run's own."""
    if options.methods is not None:
        return options.methods
    if options.explained:
        return "backprop"
    heatmap = run.config.objective.heatmap
    return heatmap.generator if compares(run.config.objective, Map.HEATMAP) else "guided_backprop"


def _annotation(run: Run, options: PseudoOptions) -> Annotation:
    """The cases that are marked, and where their masks come from."""
    classes = [run.classes[k] for k in marked_classes(run, options)]
    cases = run.store.cases.filter(pl.col("split").is_in(options.splits))
    if not options.explained:
        cases = cases.filter(pl.any_horizontal(pl.col(f"label_{name}") > 0 for name in classes))
    if options.methods == GAZE:
        cases = cases.join(run.store.readings, on="case_id", how="semi", maintain_order="left")
    if cases.is_empty():
        raise UserError(
            f"{run.path} has no {' or '.join(options.splits)} case to mark"
            + ("" if options.explained else f": none has one of {', '.join(classes)}")
            + (" and gaze" if options.methods == GAZE else "")
        )
    return Annotation(
        case_ids=frozenset(cases["case_id"]),
        provenance=provenance(run, options),
        keep_gaze=options.keep_gaze or options.explained,
        keep_marks=options.keep_marks or options.explained,
    )


def provenance(run: Run, options: PseudoOptions) -> Mapping[str, object]:
    """Describe the origin of the masks: run, digest of the weights, map and settings, without a path."""
    made: dict[str, object] = {
        "runs": [
            {
                "name": voter.path.resolve().name,
                "experiment": voter.experiment,
                "seed": voter.config.seed,
                "weights_sha256": file_digest(voter.weights),
            }
            for voter in run.voters
        ],
        "rule": "mean" if run.vote is None else run.vote.rule,
        "map": options.methods,
        "threshold": options.level,
        "refine": options.refine,
        "classes": [run.classes[k] for k in marked_classes(run, options)],
        "splits": list(options.splits),
        "keep_gaze": options.keep_gaze,
        "keep_marks": options.keep_marks,
        "software": __version__,
    }
    if options.explained:
        made["marking"] = options.marking
    if options.refine == "irnet":
        made |= {"epochs": options.epochs, "seed": options.seed}
        made |= {"surely_inside": options.surely_inside, "surely_outside": options.surely_outside}
    return made
