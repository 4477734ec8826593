"""Plugins: the page's examples as a module from outside, and what imports a plugin and what does not."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from radgaze.store.store import Store
from tests import processes
from tests.training.conftest import TINY

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")

SHORT = [
    f"--{section}.{name}={json.dumps(value) if isinstance(value, bool) else value}".replace(" ", "")
    for section, values in {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}.items()
    for name, value in values.items()
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


def radgaze(place: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own: a plugin stays imported."""
    code = "import sys, radgaze.cli as c; sys.exit(c.main(sys.argv[1:]))"
    return processes.python(code, *arguments, folder=place, path=path, environment={"COLUMNS": "200"})


def python(place: Path, code: str, path: str = "") -> subprocess.CompletedProcess[str]:
    return processes.python(code, folder=place, path=path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's plugin and its experiment."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "my_plugin.py").write_text("\n\n".join(blocks("python")), encoding="utf-8")
    (folder / "experiments").mkdir()
    (yaml_of_page,) = blocks("yaml")
    (folder / "experiments" / "squared_absolute.yaml").write_text(yaml_of_page, encoding="utf-8")
    for k in range(12):
        path = folder / "images" / ("healthy", "ill")[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 30), 20 * k, np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def trained(place: Path, store: Store) -> Path:
    given = ["--experiment", "squared_absolute", "--data", str(store.path), "--out", "run", *SHORT]
    told = radgaze(place, "train", *given, "--plugin", "my_plugin")
    assert told.returncode == 0, told.stderr
    return place / "run"


def test_a_run_uses_all_that_the_plugin_has_and_names_it(trained: Path) -> None:
    config = yaml.safe_load((trained / "config.yaml").read_text())
    assert config["plugins"] == ["my_plugin"]
    assert config["objective"]["heatmap"]["generator"] == "squared_gradient"
    assert config["objective"]["heatmap_gaze"]["distance"] == "mean_absolute"
    of_heatmap = json.loads((trained / "metrics.json").read_text())["test"]["agreement"]["heatmap"]
    assert of_heatmap["peak_distance"]["value"] >= 0
    assert "peak distance" in (trained / "report.html").read_text()


def test_a_run_that_names_a_plugin_imports_it_only_if_the_user_says_so(trained: Path, place: Path) -> None:
    given = ["explain", "run", str(next((place / "images").rglob("*.png"))), "--methods", "squared_gradient"]
    refused = radgaze(place, *given, "--out", "maps", path=str(place))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "needs the plugin my_plugin" in refused.stderr
    assert "give --plugin my_plugin" in refused.stderr
    for name, plugin in (("a", "my_plugin"), ("b", str(place / "my_plugin.py"))):
        told = radgaze(place, "--plugin", plugin, *given, "--out", name)
        assert told.returncode == 0, told.stderr
        with np.load(place / name / "image-001" / "maps.npz") as maps:
            assert any(key.startswith("squared_gradient/") for key in maps)
    code = "import {}radgaze as rg; {}; print(rg.Run.open('run').config.plugins)"
    for imports, call in (("my_plugin, ", "0"), ("", "rg.plugin('my_plugin')")):
        shown = python(place, code.format(imports, call))
        assert shown.stdout == "['my_plugin']\n", shown.stderr


def test_a_configuration_imports_nothing_by_naming_it(place: Path, store: Store, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("open('imported', 'w').close()")
    (tmp_path / "config.yaml").write_text("plugins: [evil]\n")
    given = ["--config", "config.yaml", "--data", str(store.path), "--out", "out"]
    told = radgaze(tmp_path, "train", *given, path=str(tmp_path))
    assert told.returncode == 2
    assert "needs the plugin evil" in told.stderr
    assert not (tmp_path / "imported").exists()


def test_a_source_of_a_plugin_is_prepared_and_offered(place: Path) -> None:
    given = ["--images", "images", "--out", "store", "--size", "32", "--workers", "1"]
    told = radgaze(place, "prepare", "folders", *given, "--plugin=my_plugin")
    assert told.returncode == 0, told.stderr
    assert "12 cases" in told.stdout
    assert "folders" in radgaze(place, "prepare", "--help", "--plugin=my_plugin").stdout
    assert Store.open(place / "store").cases.height == 12
    assert (
        "no source 'folders'"
        in python(place, "from radgaze.sources.registry import find; find('folders')").stderr
    )


def test_a_plugin_that_cannot_be_imported_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import not_there_at_all")
    for plugin, reason in (
        ("broken", "not_there_at_all"),
        ("nowhere", "nowhere"),
        ("a/b.py", "no such file"),
    ):
        told = radgaze(tmp_path, "experiments", "--plugin", plugin)
        assert told.returncode == 2
        assert told.stderr.count("\n") == 1
        assert f"the plugin {plugin} cannot be imported" in told.stderr
        assert reason in told.stderr
    assert "--plugin needs" in radgaze(tmp_path, "experiments", "--plugin").stderr


def installed(folder: Path, name: str, code: str) -> None:
    """A package with an entry point, as a package manager lays it out."""
    (folder / f"{name}.py").write_text(code)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[radgaze.plugins]\n{name} = {name}\n")


def test_entry_points_are_imported_when_radgaze_is_used_and_a_broken_one_is_left_out(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    experiment = "title: Mine\nsummary: Mine.\nfamily: Ours\n"
    (site / "mine.yaml").write_text(experiment)
    code = "from pathlib import Path\nfrom radgaze import experiments\n"
    installed(site, "good", f"{code}experiments.register(Path(__file__).with_name('mine.yaml'))\n")
    installed(site, "broken", "raise ValueError('not today')\n")
    told = radgaze(tmp_path, "experiments", path=str(site))
    assert told.returncode == 0
    assert "mine" in told.stdout
    assert told.stderr.count("broken") == 2
    assert "left out" in told.stderr
    assert "not today" in told.stderr
    quick = "import sys, radgaze; print('good' in sys.modules); radgaze.config; print('good' in sys.modules)"
    assert python(tmp_path, quick, str(site)).stdout.split() == ["False", "True"]


def test_a_started_process_has_the_plugins_that_the_user_named(place: Path) -> None:
    code = (
        "import subprocess, sys, radgaze.plugins as p; p.load('my_plugin');"
        "child = 'from radgaze import experiments; print(\"squared_absolute\" in experiments.names())';"
        "print(subprocess.run([sys.executable, '-c', child], cwd='/', capture_output=True, text=True))"
    )
    assert "True" in python(place, code, str(place)).stdout


def test_a_name_that_radgaze_has_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "baseline.yaml").write_text("title: Mine\n")
    (tmp_path / "taken.py").write_text(
        "from pathlib import Path\nfrom radgaze import experiments\n"
        "experiments.register(Path(__file__).with_name('baseline.yaml'))\n"
    )
    told = radgaze(tmp_path, "experiments", "--plugin", "taken")
    assert told.returncode == 2
    assert "an experiment 'baseline' already" in told.stderr
