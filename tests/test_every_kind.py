"""A thing of every kind that CONTRIBUTING names, added to a copy of radgaze, from the store to the report.

The copy is what somebody has who followed CONTRIBUTING: a file for each new thing, and at most a line
elsewhere. Its command line runs in a process of its own: tables built on import have the new things too,
and no other test sees them.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

import radgaze
from radgaze.evaluation.results import read_results
from tests import processes
from tests.reporting.pages import Page, assert_accessible, assert_self_contained
from tests.test_contributing import examples

TOYS = Path(__file__).parent / "toys"

# Runs the commands of a file; writes what each returned and printed, and the words on its figures.
SCRIPT = """
import contextlib, io, json, sys, traceback
from pathlib import Path
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from radgaze import cli
done, drawn, draw = {}, [], FigureCanvasAgg.draw
def recorded(canvas):
    drawn.extend(text.get_text() for text in canvas.figure.findobj(Text))
    return draw(canvas)
FigureCanvasAgg.draw = recorded
for name, arguments in json.loads(Path(sys.argv[1]).read_text()).items():
    out, err = io.StringIO(), io.StringIO()
    drawn.clear()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(arguments)
        except SystemExit as stop:  # of --help
            code = stop.code
        except Exception:
            traceback.print_exc()
            code = 1
    done[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue(), "drawn": list(drawn)}
Path(sys.argv[2]).write_text(json.dumps({"file": cli.__file__, "done": done}))
"""

EXPERIMENT = """
title: "Toy experiment"
family: Toys
order: 57
model: {architecture: two_layers}
objective:
  mask_gaze: {weight: 0.2, distance: mean_absolute}
  heatmap_gaze: {weight: 0.5, distance: mean_absolute}
  heatmap: {generator: squared_gradient}
  terms: {calm: {kind: confidence, weight: 0.1, options: {limit: 0.0}}}
"""
PYLON = (
    *("--experiment", "pylon", "--model.encoder", "tu-test_efficientnet", "--model.weights", "none"),
    *("--model.decoder_channels", "[8,4,4,4,4]"),
)
QUICK = ("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.logger", "none")
SMALL = ("--input.size", "32", "--optimisation.batch_size", "8", "--evaluate", "false")
FEW = (
    *("--cases", "4", "--probed", "2", "--steps", "1", "--stages", "1"),
    *("--resamples", "20", "--device", "cpu"),
)
METHODS = "squared_gradient,of_two_layers"
CASES, OF_TEST = 48, 12


def insert(file: Path, before: str, new: str) -> None:
    """Insert text before another that occurs once in the file."""
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1, file
    file.write_text(text.replace(before, new + before), encoding="utf-8")


def add_toys(package: Path) -> None:
    """Add a thing of each kind, as CONTRIBUTING says."""

    def write(path: str, code: str) -> None:
        assert not (package / path).exists(), path
        (package / path).write_text(code, encoding="utf-8")

    def toy(name: str) -> str:
        return (TOYS / f"{name}.py").read_text(encoding="utf-8")

    write("attribution/generators/squared.py", examples("A generator")[0])
    write("attribution/generators/conditional.py", toy("conditional"))
    insert(package / "attribution" / "__init__.py", "gradients, cam, ", "squared, conditional, ")

    write("models/two_layers.py", examples("An architecture")[0])
    write("models/plain.py", toy("plain"))
    for name in ("two_layers", "plain"):
        line = f'    "{name}": "radgaze.models.{name}",\n'
        insert(package / "models" / "registry.py", '    "unet": ', line)

    distances = package / "objectives" / "distances.py"
    imports, distance = examples("A map distance")[0].split("import register\n")
    assert "Tensor" in imports
    insert(distances, "\n\ndef _share(", f"\n\n{distance.strip()}\n")

    write("objectives/terms/confidence.py", examples("A term of the loss")[0])
    insert(package / "objectives" / "terms" / "__init__.py", "edge, outputs", "confidence, ")

    write("experiments/toy.yaml", EXPERIMENT)

    metrics = package / "evaluation" / "metrics" / "agreement.py"
    function, entry = re.split(r'\n(?="peak_distance")', examples("A metric of agreement")[0])
    insert(metrics, "def sim(", f"{function.strip()}\n\n\n")
    insert(metrics, '    "sim": Agreement(', "".join(f"    {line}\n" for line in entry.strip().splitlines()))

    write("evaluation/baselines/middle.py", examples("A baseline map")[0])
    insert(package / "evaluation" / "baselines" / "__init__.py", "    random,\n", "    middle,\n")

    write("evaluation/audit/aspects/brightness.py", toy("brightness"))
    insert(package / "evaluation" / "audit" / "aspects" / "__init__.py", "    cost,\n", "    brightness,\n")

    write("reporting/sections/confidence.py", examples("A section of a run's page")[0])
    insert(package / "reporting" / "sections" / "__init__.py", "    data,\n", "    confidence,\n")

    write("sources/gazed.py", toy("gazed"))
    insert(package / "sources" / "registry.py", '    "merge": "', '    "gazed": "images with fixations",\n')

    write("cli/count.py", examples("A verb")[0])
    insert(package / "cli" / "__init__.py", '    "verify": "', '    "count": "print the number of cases",\n')


def draw_images(folder: Path) -> None:
    """Images of two classes with a light band above or below, where the reader looked."""
    draw = np.random.default_rng(0)
    rows = []
    for k in range(CASES):
        name, top = (("high", 4), ("low", 20))[k % 2]
        pixels = draw.integers(0, 100, (32, 32)).astype(np.uint8)
        pixels[top : top + 8] += 100
        file = folder / "images" / name / f"{k:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
        x, y = draw.uniform(8, 24, 3), draw.uniform(top, top + 8, 3)
        rows.append(pl.DataFrame({"image": [file.name] * 3, "x": x, "y": y, "seconds": [0.2, 0.3, 0.4]}))
    pl.concat(rows).write_csv(folder / "looks.csv")


@dataclass(frozen=True)
class Command:
    """A command that ran.

    Attributes:
        code: Its exit code.
        out: What it printed on standard output.
        err: What it printed on standard error.
        drawn: The words on its figures.
    """

    code: int
    out: str
    err: str
    drawn: list[str]


@dataclass(frozen=True)
class Done:
    """The result of all commands.

    Attributes:
        folder: Folder of their files.
        commands: The commands by name.
    """

    folder: Path
    commands: dict[str, Command]

    def out(self, name: str) -> str:
        """The output of a command that succeeded."""
        command = self.commands[name]
        assert command.code == 0, command.err
        return command.out

    def refusal(self, name: str) -> str:
        """The message of a command that refused."""
        assert self.commands[name].code == 2
        return self.commands[name].err

    def drawn(self, name: str) -> list[str]:
        """The words on the figures of a command."""
        return self.commands[name].drawn

    def text(self, *path: str) -> str:
        """The text of a file."""
        return self.folder.joinpath(*path).read_text(encoding="utf-8")

    def words(self, *path: str) -> str:
        """The words of a page."""
        return Page(self.text(*path)).text


def commands(folder: Path) -> dict[str, Sequence[str]]:
    """The command lines, by name, in order."""
    store, one, two, pylon = (str(folder / name) for name in ("store", "one", "two", "pylon"))
    images = ("--images", str(folder / "images"), "--looks", str(folder / "looks.csv"))
    toy = ("--experiment", "toy", "--data", store, *QUICK, *SMALL)
    generator = ("--generator", "squared_gradient", "--resamples", "20", "--device", "cpu")
    return {
        "help": ("--help",),
        "help of prepare": ("prepare", "--help"),
        "help of the source": ("prepare", "gazed", "--help"),
        "help of train": ("train", "--help"),
        "prepare": ("prepare", "gazed", *images, "--out", store, "--size", "32", "--workers", "1"),
        "count": ("count", store),
        "count of test": ("count", store, "--split", "test"),
        "train": ("train", *toy, "--out", one),
        "evaluate": ("evaluate", one, *generator),
        "train again": ("train", *toy, "--seed", "2", "--out", two),
        "evaluate again": ("evaluate", two, *generator),
        "compare": ("compare", one, two, "--resamples", "20", "--out", str(folder / "compared")),
        "audit": ("audit", one, "--methods", METHODS, *FEW, "--out", str(folder / "audited")),
        "audit refused": ("audit", one, "--methods", "with_class_maps", *FEW, "--out", str(folder / "none")),
        "report": ("report", one, "--each", "1"),
        "train without class maps": (
            *("train", *toy, "--objective.heatmap.generator", "with_class_maps"),
            *("--out", str(folder / "none")),
        ),
        "train without a mask": (
            *("train", "--experiment", "baseline", "--model.architecture", "plain", "--data", store),
            *(*QUICK, *SMALL, "--out", str(folder / "none")),
        ),
        "train pylon": ("train", *PYLON, "--data", store, *QUICK, *SMALL, "--out", pylon),
        "explain": (
            *("explain", pylon, "case-000000", "--methods", "with_class_maps,squared_gradient"),
            *("--device", "cpu", "--out", str(folder / "explained")),
        ),
        "explain refused": (
            *("explain", pylon, "case-000000", "--methods", "of_two_layers"),
            *("--device", "cpu", "--out", str(folder / "none")),
        ),
        "explain by an unknown one": (
            *("explain", pylon, "case-000000", "--methods", "of_three_layers"),
            *("--device", "cpu", "--out", str(folder / "none")),
        ),
    }


QUICK_ONES = (
    "help",
    "help of prepare",
    "help of the source",
    "help of train",
    "prepare",
    "count",
    "count of test",
)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The commands before the first training, which take seconds."""
    folder = tmp_path_factory.mktemp("every_kind")
    return ran(folder, {name: commands(folder)[name] for name in QUICK_ONES})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """All commands, run once."""
    folder = tmp_path_factory.mktemp("every_kind")
    return ran(folder, commands(folder))


def ran(folder: Path, given: Mapping[str, Sequence[str]]) -> Done:
    """Run commands of a copy of radgaze with the new things."""
    package = folder / "src" / "radgaze"
    shutil.copytree(Path(radgaze.__file__).parent, package)  # with the compiled files of what stays the same
    add_toys(package)
    draw_images(folder)
    (folder / "commands.json").write_text(json.dumps(given))
    process = processes.python(
        *(SCRIPT, str(folder / "commands.json"), str(folder / "done.json")),
        folder=folder,
        path=str(package.parent),
        environment={"COLUMNS": "250"},
    )
    assert process.returncode == 0, process.stderr
    written = json.loads((folder / "done.json").read_text())
    assert written["file"] == str(package / "cli" / "__init__.py")
    return Done(folder, {name: Command(**command) for name, command in written["done"].items()})


def cells(line: str) -> list[str]:
    """The cells of a row of a table that is printed."""
    return [cell.strip() for cell in re.split(r"[|│┃]", line)]


def column(table: str, row: str, heading: str) -> str:
    """The cell of a printed table in the row that starts with a text and under a heading."""
    lines = table.splitlines()
    headings = next(k for k, line in enumerate(lines) if heading in cells(line))
    found = next(
        line for line in lines[headings:] if cells(line)[1 : 1 + row.count("|") + 1] == row.split("|")
    )
    return cells(found)[cells(lines[headings]).index(heading)]


def test_the_source_is_listed_and_explained_and_its_cases_are_those_of_the_store(begun: Done) -> None:
    assert re.search(r"gazed +images with fixations\n", begun.out("help of prepare"))
    shown = " ".join(begun.out("help of the source").split())
    assert "--looks CSV table of fixations with the columns image, x, y and seconds (required)" in shown
    assert f"{CASES} cases, {CASES} readings, {3 * CASES} fixations" in begun.out("prepare")
    assert json.loads(begun.text("store", "manifest.json"))["source"] == "gazed"


def test_the_verb_is_listed_and_counts_the_cases(begun: Done) -> None:
    assert re.search(r"count +print the number of cases\n", begun.out("help"))
    assert begun.out("count") == f"{CASES}\n"
    assert begun.out("count of test") == f"{OF_TEST}\n"


def test_the_experiment_is_listed(begun: Done) -> None:
    assert re.search(r"Experiments: [\w, ]*\btoy\b", " ".join(begun.out("help of train").split()))


@pytest.mark.slow
def test_the_experiment_gives_the_settings_of_the_run(done: Done) -> None:
    assert "from a store of 48 cases of “gazed”" in done.words("one", "report.html")
    config = yaml.safe_load(done.text("one", "config.yaml"))
    assert config["experiment"] == "toy"
    assert config["model"]["architecture"] == "two_layers"
    assert config["objective"]["heatmap_gaze"] == {"weight": 0.5, "distance": "mean_absolute"}
    assert config["objective"]["heatmap"]["generator"] == "squared_gradient"
    assert read_results(done.folder / "one").experiment == "toy"


@pytest.mark.slow
def test_the_architecture_is_trained_and_named_on_the_pages(done: Done) -> None:
    assert "two_layers has its own encoder" in done.commands["train"].err
    assert "Starting weights" not in done.words("one", "report.html")  # its encoder has none
    assert column(done.out("evaluate"), "mask", "NSS") != "–"  # it is measured: two_layers provides a mask
    for page in (("one", "report.html"), ("compared", "index.html"), ("audited", "audit.html")):
        assert "A network of two layers trained to distinguish high and low" in done.words(*page)


@pytest.mark.slow
def test_an_edge_is_refused_for_an_architecture_that_does_not_provide_its_map(done: Done) -> None:
    assert "plain has no mask for the edge mask_gaze" in done.refusal("train without a mask")


@pytest.mark.slow
def test_the_generator_and_the_distance_are_trained_with_and_shown(done: Done) -> None:
    for run in ("one", "two"):
        history = pl.read_csv(done.folder / run / "history.csv")
        for edge in ("heatmap_gaze", "mask_gaze"):
            (term,) = history[f"train/{edge}"].to_list()
            assert 0 < term < 1  # a mean of |p − q|
        words = done.words(run, "report.html")
        assert "mask–gaze 0.20 (mean_absolute), heatmap–gaze 0.50 (mean_absolute)" in words
        assert "Heatmap shown squared_gradient, predicted class" in words
        assert "Squared gradient" in words  # above the pictures of cases
    assert "Squared gradient" in done.words("compared", "index.html")


@pytest.mark.slow
def test_the_term_is_trained_with_and_told(done: Done) -> None:
    for run in ("one", "two"):
        (term,) = pl.read_csv(done.folder / run / "history.csv")["train/calm"].to_list()
        assert term > 0
        words = done.words(run, "report.html")
        assert "class scores above a limit were punished" in words
        assert "calm 0.10" in words


@pytest.mark.slow
def test_a_conditional_generator_is_offered_by_the_networks_that_it_applies_to(done: Done) -> None:
    table = done.out("audit")
    for name in METHODS.split(","):
        assert column(table, name, "mean brightness ↑")
    done.out("explain")
    (sheet,) = (done.folder / "explained").glob("*/*.json")
    pictures = json.loads(sheet.read_text(encoding="utf-8"))["pictures"]
    assert {text.rpartition(" of ")[0] for text in pictures.values()} == {
        "Squared gradient",
        "Gradient beside class maps",
    }


@pytest.mark.slow
def test_a_conditional_generator_is_refused_with_its_reason_by_the_others(done: Done) -> None:
    said = done.refusal("audit refused")
    assert said.endswith("the method with_class_maps does not apply: the model gives no class maps\n")
    said = done.refusal("explain refused")
    assert re.search(r"the method of_two_layers does not apply: the model has \d\d convolutions\n$", said)
    said = done.refusal("train without class maps")
    assert re.search(
        r"two_layers gives no class maps.*--model\.architecture pylon, class_maps or stl does", said
    )
    assert not (done.folder / "none").exists()
    known = (
        done.refusal("explain by an unknown one").partition("; there are ")[2].partition(";")[0].split(", ")
    )
    assert {"squared_gradient", "with_class_maps", "of_two_layers"} < set(known)


def heatmap_agreement(run: Path, metric: str) -> float:
    """A metric of the heatmaps in metrics.json."""
    measured = read_results(run).test.agreement["heatmap"]
    assert measured is not None
    value = measured[metric].value
    assert value is not None
    return value


@pytest.mark.slow
def test_the_metric_is_in_every_table_and_figure_under_its_own_heading(done: Done) -> None:
    scores = pl.read_parquet(done.folder / "one" / "agreement.parquet").filter(map="heatmap")
    for heading, name in (
        ("peak distance ↓", "peak_distance"),
        ("SIM", "sim"),
        ("shuffled AUC", "shuffled_auc"),
    ):
        mean = scores[name].to_numpy().mean()
        assert heatmap_agreement(done.folder / "one", name) == pytest.approx(mean)
        assert column(done.out("evaluate"), "heatmap", heading).startswith(f"{mean:.2f}")
        assert column(done.out("compare"), "one|heatmap", heading).startswith(f"{mean:.3f}")
        table = done.text("audited", "audit.md")
        assert column(table, "squared_gradient", heading if "↓" in heading else f"{heading} ↑")
    values = [heatmap_agreement(done.folder / run, "peak_distance") for run in ("one", "two")]
    paired = pl.read_csv(done.folder / "compared" / "paired.csv")
    difference = paired.filter(metric="peak_distance", map="heatmap")["difference"].to_list()
    assert difference == pytest.approx([values[1] - values[0]])
    assert "peak distance, heatmap" in done.words("compared", "index.html")
    for page in (("one", "report.html"), ("compared", "index.html"), ("audited", "audit.html")):
        assert "KL ↓ peak distance ↓ SIM ↑" in done.words(*page).replace("lower is better", "").replace(
            "higher is better", ""
        )
    assert "Distance between the brightest pixels of both maps." in done.words("one", "report.html")
    for command in ("report", "compare"):
        assert any("peak distance" in text for text in done.drawn(command)), command


@pytest.mark.slow
def test_the_baseline_map_has_its_row_in_every_table_and_figure(done: Done) -> None:
    scores = pl.read_parquet(done.folder / "one" / "agreement.parquet").filter(map="middle")
    assert len(scores) == OF_TEST
    nss = scores["nss"].to_numpy().mean()
    assert column(done.out("evaluate"), "middle", "NSS").startswith(f"{nss:.2f}")
    assert column(done.out("compare"), "–|middle of the image (floor)", "NSS").startswith(f"{nss:.3f}")
    assert column(done.text("audited", "audit.md"), "middle of the image (floor)", "NSS ↑")
    for page in (("one", "report.html"), ("compared", "index.html")):
        assert f"Middle of the image (floor) {nss:.2f}" in done.words(*page)
    assert "a middle of the image" in done.words("audited", "audit.html")
    for command in ("report", "compare"):
        assert "Middle of the image (floor)" in done.drawn(command)
    assert "middle of the image" in done.drawn("audit")


@pytest.mark.slow
def test_the_aspect_has_its_section_figure_verdict_and_values(done: Done) -> None:
    page = done.text("audited", "audit.html")
    section = re.search(r'<h2 id="brightness">Is it bright\?</h2>.*?(?=<h2)', page, re.S)
    assert section
    assert 'alt="Mean brightness, the same at both ends"' in section[0]
    assert "The line has no slope." in section[0]
    assert "mean brightness" in section[0]
    assert "left end" in section[0]
    assert (done.folder / "audited" / "brightness.png").is_file()
    drawn = done.drawn("audit")
    assert {"Brightness: mean brightness", "mean brightness", "end"} <= set(drawn)
    values = pl.read_parquet(done.folder / "audited" / "cases.parquet").filter(aspect="brightness")
    floors = {"mean_gaze", "lung_shape", "middle", "random"}
    assert set(values["method"]) == {*METHODS.split(","), *floors}
    table = done.text("audited", "audit.md")
    for method in METHODS.split(","):
        mean = values.filter(method=method)["value"].to_numpy().mean()
        assert column(table, method, "mean brightness ↑") == f"{mean:.2f}"
        assert column(table, method, "brightness").startswith("too few patients")


@pytest.mark.slow
def test_the_section_stands_at_its_place_with_its_content(done: Done) -> None:
    page = done.text("one", "report.html")
    assert_self_contained(page)
    assert_accessible(page)
    headings = re.findall(r'<h2 id="(\w+)">', page)
    assert headings == [
        *("results", "discrimination", "decisions", "confidence", "agreement", "cases", "data", "limits")
    ]
    predictions = pl.read_parquet(done.folder / "one" / "predictions.parquet").filter(split="test")
    highest = predictions.select("probability_high", "probability_low").to_numpy().max(1).mean()
    words = Page(page).text
    assert f"How confident it is The mean of the highest probability is {highest:.3f}." in words
