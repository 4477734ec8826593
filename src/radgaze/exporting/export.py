"""Export a run for other software: a folder with the network, what one needs to use it, and its card."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from radgaze.console import note, progress
from radgaze.errors import UserError
from radgaze.exporting import shipped
from radgaze.exporting.about import about
from radgaze.exporting.card import card
from radgaze.exporting.checking import Check, CheckError, checked
from radgaze.exporting.files import write_onnx, write_pt2, write_torchscript
from radgaze.exporting.folder import check_new, new_folder
from radgaze.exporting.hub import write_hub
from radgaze.exporting.monai_bundle import write_bundle
from radgaze.exporting.network import Exported, check_target, exported, first_cause
from radgaze.exporting.options import AUTO, NONE, CardOptions, ExportOptions
from radgaze.files import write_text
from radgaze.records import as_json
from radgaze.runs.run import Run

ABOUT, CHECK, CARD = "model.json", "check.json", "README.md"
PREPARATION = "preparation.py"


class FormatError(UserError):
    """Error about a graph that torch cannot write in a format."""


@dataclass(frozen=True)
class Export:
    """An export that was written.

    Attributes:
        path: Its folder.
        check: How far its file was compared with the run; None for the format hub, which has the run's own
            weights.
        outputs: Names of the outputs of its graph.
    """

    path: Path
    check: Check | None
    outputs: tuple[str, ...]


def export(run: Run, options: ExportOptions) -> Export:
    """Write a run as a folder for other software.

    The file is compared with the run before the folder appears.

    Raises:
        UserError: The folder holds files, the network or the heatmap cannot be exported, a library is
            missing, or the file computes other values than the run.
    """
    check_new(options.out)
    check_target(run, options)
    changed = run.check_store()
    if changed is not None:
        note(f"{changed}; the export does not depend on it, and its card says nothing of the data")
    text = card(run, CardOptions(options.licence))
    if options.to == "hub":
        with new_folder(options.out) as folder:
            write_hub(run, folder, text)
        return Export(Path(options.out), None, ())
    while True:
        try:
            return _export(run, options, text)
        except (CheckError, FormatError) as error:
            if options.heatmap != AUTO or (isinstance(error, CheckError) and error.name != "heatmap"):
                raise
            note(f"{error}; the heatmap is left out")
            options = replace(options, heatmap=NONE)


def _export(run: Run, options: ExportOptions, text: str) -> Export:
    with progress("Exporting", total=3, of="steps") as bar:
        model = exported(run, options)
        bar.advance()
        with new_folder(options.out) as folder:
            try:
                check = _written(model, options, folder, text)
            except (UserError, OSError):
                raise
            except Exception as error:  # of torch's writers; their classes are many
                raise _refused(model, options, error) from error
            bar.advance(2)
    rule = model.predictor.referral
    if rule is not None and rule.magnitude:
        note(
            "the run's reject rule needs a gradient of the image: it is stated in model.json, not in the "
            "graph"
        )
    return Export(Path(options.out), check, model.outputs)


def _refused(model: Exported, options: ExportOptions, error: Exception) -> FormatError:
    what = "network" if model.method is None else f"network with the heatmap {model.method}"
    return FormatError(f"this {what} cannot be written as {options.to}: {first_cause(error)}")


def _written(model: Exported, options: ExportOptions, folder: Path, text: str) -> Check:
    if options.to == "monai":
        return write_bundle(model, folder, text)
    name, library = {
        "onnx": ("model.onnx", "onnxruntime"),
        "torchscript": ("model.ts", "torch"),
        "pt2": ("model.pt2", "torch"),
    }[options.to]
    described = about(model, name)
    path = folder / name
    if options.to == "onnx":
        runs = write_onnx(model, path, described)
    else:
        runs = (write_torchscript if options.to == "torchscript" else write_pt2)(model, path)
    check = checked(model, runs, library)
    write_text(as_json(described), folder / ABOUT)
    write_text(as_json(check.plain()), folder / CHECK)
    write_text(text, folder / CARD)
    shutil.copyfile(Path(shipped.__file__).with_name(PREPARATION), folder / PREPARATION)
    return check
