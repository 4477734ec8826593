"""Time and memory of the worker between two folders, for numbers of images, beside a plain loop of torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from benchmarks.results import Cell, Result

WAYS = {
    "plain loop": "read, resize and predict in one process, one image at a time; nothing is written",
    "radgaze predict": "the table of predictions, 16 images in a batch",
    "worker, sr": "reports with the heatmap of each class",
    "worker": "reports, segmentations and pictures",
}
MIB = 2**20


def run(
    *,
    images: tuple[int, ...] = (100, 500),
    side: int = 512,
    ways: tuple[str, ...] = tuple(WAYS),
    trained: str | None = None,
) -> Result:
    """Predict folders of made radiographs, each in a process of its own.

    Args:
        images: Number of images of each folder.
        side: Side of the images in pixels.
        ways: Ways to predict them.
        trained: Folder of a run; default: one of the demo's network, trained for one epoch on a phantom.
    """
    rows: list[dict[str, Cell]] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        model = Path(trained) if trained else train(folder)
        for count in images:
            write_images(folder / "images", count, side)
            rows += [measured(way, model, folder) for way in ways]
            shutil.rmtree(folder / "images")
    about = "; ".join(f"“{way}”: {WAYS[way]}" for way in ways)
    return Result(
        "Predicting folders of DICOM files",
        f"{about}. Without the start of the program and the loading of the model. Memory is the most that "
        "the process which predicts had in memory (VmHWM); the worker reads files in processes of their own.",
        rows,
        {"side": side},
        ["Processor time is that of the process that predicts, without those that read files."],
    )


def many(*, images: tuple[int, ...] = (1000, 10_000), side: int = 256) -> Result:
    """Predict many small files, by the command and by the plain loop.

    Args:
        images: Number of images of each folder.
        side: Side of the images in pixels.
    """
    return run(images=images, side=side, ways=("radgaze predict", "plain loop"))


def train(folder: Path) -> Path:
    """Train a run of the demo's network for one epoch on a phantom."""
    import radgaze as rg

    raw = rg.phantom(folder / "raw", patients=40, pixels=128)
    store = rg.prepare("egd", egd=raw / "egd", mimic=raw / "mimic", out=folder / "store", size=256)
    settings: dict[str, Any] = {
        "model": {"encoder": "tu-test_efficientnet", "weights": "none"},
        "input": {"size": 96},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }
    rg.train(rg.config("set3_guided", data=store, **settings), out=folder / "run")
    return folder / "run"


def write_images(folder: Path, count: int, side: int) -> None:
    """Write DX images of 12 bits, each of another content and study."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for k in range(count):
        coarse = Image.fromarray(draw.random((24, 24), dtype=np.float32))
        greys = np.clip(np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)), 0, 1)
        made = Dataset()
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = DigitalXRayImageStorageForPresentation
        uids = [generate_uid(entropy_srcs=[level, str(k)]) for level in ("study", "series", "image")]
        made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = uids
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.Modality, made.BodyPartExamined, made.ViewPosition = "DX", "CHEST", "PA"
        made.PatientName = made.PatientID = made.StudyDate = made.StudyTime = ""
        made.Rows = made.Columns = side
        made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
        made.WindowCenter, made.WindowWidth = 2047.5, 4095
        made.PixelData = np.rint(greys * 4095).astype("<u2").tobytes()
        made.save_as(folder / f"{k:06d}.dcm", enforce_file_format=True)


def measured(way: str, model: Path, folder: Path) -> dict[str, Cell]:
    """Predict a folder in a process of its own, and return what it took."""
    command = [sys.executable, "-m", "benchmarks.clinic", way, str(model), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, Cell] = json.loads(done.stdout.splitlines()[-1])
    return row


def predicted(way: str, model: Path, folder: Path) -> dict[str, Cell]:
    """Predict a folder in this process."""
    images = folder / "images"
    work = prepared(way, model, images, folder / "out")
    before, began, used = _highest(), perf_counter(), process_time()
    work()
    seconds, used = perf_counter() - began, process_time() - used
    shutil.rmtree(folder / "out", ignore_errors=True)
    count = sum(1 for _ in images.iterdir())
    return {
        "way": way,
        "images": count,
        "ms an image": 1000 * seconds / count,
        "images/s": count / seconds,
        "processor ms an image": 1000 * used / count,
        "memory before (MiB)": round(before / MIB),
        "highest memory (MiB)": round(_highest() / MIB),
    }


def prepared(way: str, model: Path, images: Path, out: Path) -> Callable[[], object]:
    """Load a run, and return the work on a folder as a function."""
    from radgaze.runs.run import Run

    run = Run.open(model)
    if way == "plain loop":
        return lambda: plain_loop(run, sorted(images.iterdir()))
    if way == "radgaze predict":
        from radgaze.predicting.options import PredictFilesOptions
        from radgaze.predicting.writing import predict_files

        options = PredictFilesOptions(device="cpu")
        return lambda: predict_files(run, [str(images)], out / "predictions.csv", options)
    from radgaze.clinic.objects.options import Kind
    from radgaze.clinic.worker.objects import maker_of
    from radgaze.clinic.worker.options import WorkerOptions
    from radgaze.clinic.worker.running import run_worker

    kinds: tuple[Kind, ...] = ("sr",) if way == "worker, sr" else ("sr", "seg", "sc")
    chosen = WorkerOptions(folder=images, out=out, objects=kinds, device="cpu")
    maker = maker_of(run, chosen)
    return lambda: run_worker(lambda: maker, chosen, tell_study=_silent, tell_file=_silent)


def plain_loop(run: object, files: list[Path]) -> list[list[float]]:
    """Predict images as a script of a few lines would."""
    import torch

    from radgaze.dicom.read import read_image
    from radgaze.predicting.inputs import Preparation
    from radgaze.runs.run import Run

    assert isinstance(run, Run)
    model, preparation = run.model("cpu").eval(), Preparation.of(run)
    with torch.inference_mode():
        return [
            model(preparation.subject_of("image", read_image(path)).image[None]).logits.softmax(1)[0].tolist()
            for path in files
        ]


def _silent(*told: object) -> None:
    """Take no notice of what is done."""


def _highest() -> int:
    """The most bytes of this process that were in memory."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    print(json.dumps(predicted(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
