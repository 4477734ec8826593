"""The commands of README and docs: all are parsed, and those of quick start and tutorial run, in small."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from radgaze.cli import build_parser, main

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]

SMALL = (
    *("--model.encoder", "tu-test_efficientnet", "--model.weights", "none", "--input.size", "64"),
    *("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
)
"""Settings of trainings that take seconds, in place of those of a page."""


def commands(page: str) -> list[list[str]]:
    """The words of each command of radgaze that stands in a block of a page."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    indented = re.findall(r"(?:^    .*\n)+", text, re.M)
    found = []
    for block in (*fenced, *(textwrap.dedent(each) for each in indented)):
        for line in block.splitlines():
            if line.startswith("radgaze "):
                found += [shlex.split(part, comments=True)[1:] for part in line.split("&&")]
    return found


@pytest.mark.parametrize("page", PAGES)
def test_each_command_has_the_options_of_its_verb(page: str) -> None:
    for words in commands(page):
        if "--config" in words:  # a file that the page shows
            place = words.index("--config")
            del words[place : place + 2]
        try:
            build_parser(words).parse_args(words)
        except SystemExit as error:
            pytest.fail(f"radgaze {shlex.join(words)}: {error}")


def test_pages_have_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 60


def in_small(words: list[str]) -> list[str]:
    """The command, with settings that take seconds."""
    if words[0] == "train":
        given = [word for word in SMALL if word.startswith("--")]
        kept = [
            word
            for before, word in zip(["", *words], words, strict=False)
            if not {before, word} & {*given, "--seeds"}
        ]
        return [*kept, *SMALL]
    if words[0] == "phantom":
        return [*words[:2], "--patients", "40", "--pixels", "64", "--seed", "1"]
    if words[0] == "prepare":
        return [*words[: words.index("--size")], "--size", "64", "--workers", "1"]
    more = {"evaluate": ("--resamples", "20"), "compare": ("--resamples", "20"), "audit": ("--probed", "2")}
    return [*words, *more.get(words[0], ())]


def run(page: str) -> None:
    for words in commands(page):
        assert main(in_small(words)) == 0, words


def test_the_quick_start_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("README.md")
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "predictions.csv").read_text(encoding="utf-8").count("\n") > 2


def test_the_quick_start_is_that_of_the_sites_first_page() -> None:
    assert commands("README.md") == commands("docs/index.md")


def _cells(line: str) -> list[str]:
    return line.split(",")


@pytest.mark.slow
def test_the_tutorial_from_a_table_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    rows, fixations = ["image,patient,label"], ["image,x,y,onset,duration"]
    (tmp_path / "images").mkdir()
    for i in range(36):
        name = "a.png" if i == 0 else f"{i}.png"
        pixels = draw.integers(0, 120, (80, 70), dtype=np.uint8)
        pixels[20 : 20 + 20 * (1 + i % 2), 20:50] += 100
        Image.fromarray(pixels).save(tmp_path / "images" / name)
        rows.append(f"{name},p{i},{('Normal', 'pneumonia')[i % 2]}")
        fixations += [f"{name},{draw.uniform(20, 50)},{draw.uniform(20, 60)},{k / 4},0.2" for k in range(4)]
    (tmp_path / "cases.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "fixations.csv").write_text("\n".join(fixations) + "\n", encoding="utf-8")
    rows[0], fixations[0] = "file,mrn,diagnosis", "file,px,py,start,length"
    (tmp_path / "export.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    ms = [f"{','.join(words[:3])},{1000 * float(words[3]):g},200" for words in map(_cells, fixations[1:])]
    (tmp_path / "tracker.csv").write_text("\n".join([fixations[0], *ms]) + "\n", encoding="utf-8")
    run("docs/tutorial_table.md")
    read = pl.read_parquet(tmp_path / "store-of-export" / "fixations.parquet")
    assert read["duration"].unique().to_list() == [0.2]
    assert (tmp_path / "runs" / "set3_guided" / "report.html").is_file()
    assert (tmp_path / "predictions.csv").is_file()
    assert list((tmp_path / "maps").glob("*/guided_backprop.png"))
