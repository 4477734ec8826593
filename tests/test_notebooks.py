"""The notebooks of examples run from their first cell to their last, and their outputs are those of a run."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"

ABSOLUTE = re.compile(r"(?:^|[\s'\"(=>])/\w+/\w+")
"""A path from the root of a file system."""


FEWER = {'"max_epochs": 12': '"max_epochs": 2', "patients=120": "patients=60"}
"""Settings of the quick start, and those with which it runs here."""


def executed(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    client = NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(folder)}})
    return client.execute()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quickstart.ipynb", "reliance.ipynb"])
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    if name == "quickstart.ipynb":
        for setting, fewer in FEWER.items():
            (cell,) = (cell for cell in notebook.cells if setting in cell.source)
            cell.source = cell.source.replace(setting, fewer)
    done = executed(notebook, tmp_path)
    pictures = [
        output
        for cell in done.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert pictures
    told = "".join(
        output.text
        for cell in done.cells
        for output in cell.get("outputs", ())
        if output.output_type == "stream" and output.name == "stderr"
    )
    assert "Warning" not in told


def test_notebooks_are_kept_with_their_outputs_and_without_paths_of_a_machine() -> None:
    for path in EXAMPLES.glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        notebook = nbformat.reads(text, as_version=4)
        assert any(cell.get("outputs") for cell in notebook.cells), path
        for cell in notebook.cells:
            for output in cell.get("outputs", ()):
                data = output.get("data", {})
                words = [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
                assert not ABSOLUTE.search(" ".join(words)), path
        assert len(text) < 1_500_000, path


STEPS = """
import time
from radgaze.console import progress, silence
with progress("All", total=2) as steps:
    for name in ("first", "second"):
        with progress("Reading", total=30, of="images") as bar:
            for _ in range(30):
                time.sleep(0.05)
                bar.advance()
            bar.describe(f"Read {name}")
        steps.advance()
with silence(), progress("Silent", total=1) as bar:
    bar.advance()
"""


def test_a_saved_notebook_holds_one_line_for_each_step(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(STEPS)])
    (cell,) = executed(notebook, tmp_path).cells
    lines = [output["data"]["text/plain"] for output in cell["outputs"]]
    assert [line.rsplit(" ", 1)[0] for line in lines if "images" not in line] == ["All  2/2"]
    assert [re.sub(r" [\d.]+ images/s 0:00:0\d$", "", line) for line in lines if "images" in line] == [
        "Read first  30/30",
        "Read second  30/30",
    ]
    assert lines[0].startswith("All")  # begun first
