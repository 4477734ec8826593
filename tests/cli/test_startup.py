"""Quick starts: mistakes are told before torch is imported, and imports bring only what they use."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from radgaze.cli import VERBS
from radgaze.runs import settings
from radgaze.runs.config import Config

SLOW = (
    *("torch", "lightning", "torchmetrics", "torchvision", "timm", "sklearn", "scipy", "matplotlib"),
    *("optuna", "pandas", "pandera", "pydicom"),
)
"""Modules that take from half a second to ten seconds of CPU to import."""

MISTAKES = [
    "demo --out demo --seed -1",
    "demo --out file.txt",
    "phantom out --patients 1",
    "phantom file.txt",
    "prepare egd --egd nowhere --mimic neither --out out",
    "prepare reflacx --reflacx nowhere --mimic neither --out out",
    "prepare gazesearch --gazesearch nowhere --images neither --out out",
    "prepare table --table nowhere.csv --images nowhere --out out",
    "prepare table --table nowhere.csv --images nowhere --out out --size 0",
    "prepare nothing",
    "verify nowhere",
    "inspect nowhere",
    "inspect nowhere --each -1",
    "experiments set9",
    "init set9",
    "init baseline --out .",
    "methods grad_cam",
    "encoders resnet vgg",
    "info --all",
    "completion tcsh",
    "train --experiment set9 --data nowhere --out out",
    "train --experiment baseline --data nowhere --out out",
    "train --experiment baseline --data nowhere --out file.txt",
    "train --experiment baseline --data nowhere --out out --model.colour red",
    "train --experiment baseline --data nowhere --out out --input.size large",
    "train --experiment baseline --data nowhere --out out --optimisation.batch_size 0",
    "train --experiment baseline --data nowhere --out out --model.architecture alexnet",
    "train --resume nowhere",
    "train --config nowhere.yaml",
    "tune --experiment set9 --data nowhere --out out",
    "tune --experiment baseline --data nowhere --out out",
    "tune --experiment baseline --data nowhere --out out --trials 0",
    "evaluate nowhere",
    "evaluate nowhere --resamples 0",
    "audit nowhere --out out",
    "audit nowhere --out out --cases 0",
    "audit run --out file.txt",
    "compare nowhere neither --out out",
    "compare run nowhere --out out",
    "reproduce --data nowhere --out out",
    "reproduce --data nowhere --out out --only set9",
    "vote nowhere neither --out out",
    "vote nowhere neither --out out --rule loudest",
    "pseudo nowhere --out out",
    "pseudo nowhere --out out --threshold 2",
    "paste nowhere --overlay a=B --out out",
    "explain nowhere image.png --out out",
    "view nowhere",
    "view run --port 70000",
    "view run --data nowhere",
    "explain run nowhere.png --out out",
    "explain run image.png --out out --methods grad_camm",
    "explain run image.png --out out --device gpu",
    "audit run --out out --methods grad_camm",
    "train --experiment baseline --data nowhere --out out --objective.heatmap.generator gradcam",
    "train --experiment baseline --data nowhere --out out --device gpu",
    "predict nowhere image.png --out out.csv",
    "predict run nowhere.png --out out.csv",
    "predict run image.png --out out.txt",
    "export nowhere --to onnx --out out",
    "export run --to onnix --out out",
    "export run --to onnx --out file.txt",
    "card nowhere",
    "view run --study nowhere",
    "study init design.yaml --run nowhere",
    "study init file.txt --run run",
    "study results nowhere --out out",
    "study results file.txt --out out",
    "study export nowhere --out out",
    "study gaze nowhere nowhere.csv --reader R1 --out out.csv",
    "worker nowhere --dicomweb http://127.0.0.1:9",
    "worker run",
    "worker run --dicomweb http://user:secret@127.0.0.1:9",
    "worker run --folder . --out file.txt",
    "worker run --folder nowhere --out out",
    "report nowhere",
    "report run",
]

TOLD = """
import json, sys
from radgaze.cli import main
code, heavy = {}, set(json.loads(sys.argv[2]))
for mistake in json.loads(sys.argv[1]):
    before = heavy & sys.modules.keys()
    try:
        status = main(mistake.split())
    except SystemExit as left:
        status = left.code
    code[mistake] = status, sorted(heavy & sys.modules.keys() - before)
print(json.dumps(code))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, list[str]]]:
    """The exit code of each mistake, and the slow modules that it imported and none before it.

    One process makes them all: what one of them imports is in the way of finding it in the next, but then
    there is something to mend already.
    """
    place = tmp_path_factory.mktemp("mistakes")
    (place / "file.txt").write_text("")
    (place / "run").mkdir()
    settings.write(Config(data="nowhere"), place / "run" / "config.yaml")
    command = [sys.executable, "-c", TOLD, json.dumps(MISTAKES), json.dumps(SLOW)]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
    assert not (place / "out").exists()
    shown: dict[str, tuple[int, list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return shown


def test_there_is_a_mistake_of_every_verb() -> None:
    assert {mistake.split()[0] for mistake in MISTAKES} == set(VERBS)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_that_needs_no_torch_is_told_before_it_is_imported(
    mistake: str, told: dict[str, tuple[int, list[str]]]
) -> None:
    status, imported = told[mistake]
    assert status == 2
    assert imported == []


def imported_by(modules: Sequence[str], among: tuple[str, ...]) -> dict[str, list[str]]:
    """Those of some modules that are there once each of others is imported, one after the other."""
    code = (
        "import importlib, json, sys; print(json.dumps({each: importlib.import_module(each) and "
        f"[name for name in {among!r} if name in sys.modules] for each in {tuple(modules)!r}}}))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    names: dict[str, list[str]] = json.loads(shown)
    return names


def test_what_opens_a_run_or_begins_a_training_imports_no_torch() -> None:
    modules = ("radgaze", "radgaze.runs.run", "radgaze.training.train", "radgaze.models")
    assert imported_by(modules, SLOW) == {each: [] for each in modules}


def test_what_needs_torch_alone_imports_neither_its_compiler_nor_the_encoders_nor_lightning() -> None:
    """torchvision imports torch's compiler, and with it SymPy; timm and Lightning import torchvision."""
    slow = ("torch._dynamo", "sympy", "torchvision", "timm", "segmentation_models_pytorch", "lightning")
    modules = (
        *("radgaze.attribution", "radgaze.objectives.triangle"),
        *("radgaze.store.dataset", "radgaze.evaluation.maps"),
    )
    assert imported_by(modules, ("torch", *slow)) == {each: ["torch"] for each in modules}
