"""Progress and messages in the terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from rich.table import Table

from radgaze import console
from radgaze.console import complain, progress, put, results, say, shown, silence


def test_a_bar_tells_count_rate_and_time_and_leaves_no_control_characters_in_a_file(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with progress("Reading images", total=20, of="images") as bar:
        for _ in range(20):
            time.sleep(0.005)
            bar.advance()
    said = capfd.readouterr().err
    line = said.splitlines()[-1]
    assert re.search(r"Reading images  20/20 \d+\.\d images/s 0:00:0\d$", line)
    rate = re.search(r"(\S+) images/s", line)
    assert rate is not None
    assert float(rate[1]) <= 200
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", said)


def test_without_a_terminal_long_work_has_a_line_now_and_then(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "LINE_EVERY", 0.05)
    with progress("Reading images", total=4) as bar:
        for _ in range(4):
            time.sleep(0.06)
            bar.advance()
    lines = capfd.readouterr().err.splitlines()
    assert [line.split("  ")[1].split()[0] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]


@pytest.mark.parametrize("width", [80, 60])
def test_on_a_narrow_terminal_the_words_are_cut_and_the_numbers_are_not(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    terminal = console._Plain(stderr=True, force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(console, "console", terminal)
    with progress("set3_guided 12/60, loss 0.469, AUC 0.693, " + "and more " * 9, total=744) as bar:
        bar.advance(744)
    line = re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", capfd.readouterr().err).strip().splitlines()[-1]
    assert "744/744" in line
    assert re.search(r"0:00:0\d 0:00:00", line)
    assert line.startswith("set3_guided 12/60, lo")
    assert "…" in line
    assert ("AUC 0.693" in line) == (width == 80)


def test_where_steps_have_no_name_no_rate_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("Auditing", total=2) as bar:
        bar.advance(2)
    assert "/s" not in capfd.readouterr().err


def test_silent_work_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with silence(), progress("Reading images", total=1, of="images") as bar:
        bar.advance()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "words", ["/data/[old]/store: left as it is", "a [/b] c", ":lungs: [bold]x", "/data/" + "long" * 40]
)
def test_a_line_is_printed_as_it_is_and_unbroken(capfd: pytest.CaptureFixture[str], words: str) -> None:
    say(words)
    say(words, bold=True)
    assert capfd.readouterr().err == f"{words}\n{words}\n"


def test_a_bar_shows_its_words_as_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("Reading [x] [/y].csv", total=1) as bar:
        bar.advance()
    assert "Reading [x] [/y].csv" in capfd.readouterr().err


HOSTILE = "bad[/b] \x1b[31mred\x07\nnext\r\x9b2J\u202ecod.exe\udcff :smile: Ünïcode 肺"
SAFE = r"bad[/b] \x1b[31mred\x07\nnext\r\x9b2J\u202ecod.exe\udcff :smile: Ünïcode 肺"


@pytest.mark.parametrize("way", [put, complain, say], ids=["put", "complain", "say"])
def test_whatever_a_name_holds_is_one_line_on_the_terminal(
    capfd: pytest.CaptureFixture[str], way: Callable[[str], None]
) -> None:
    assert shown(HOSTILE) == SAFE
    way(HOSTILE)
    said = capfd.readouterr()
    assert said.out + said.err == SAFE + "\n"


def test_line_breaks_of_a_text_of_several_lines_are_kept_and_nothing_else_is(
    capfd: pytest.CaptureFixture[str],
) -> None:
    put("| a |\n| \x1b[2J |", lines=True)
    assert capfd.readouterr().out == "| a |\n| \\x1b[2J |\n"


def test_titles_heads_and_cells_of_tables_are_text(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    table = Table(title=f"title {HOSTILE}")
    table.add_column(f"head {HOSTILE}")
    table.add_row(f"cell {HOSTILE}")
    results().print(table)
    said = capfd.readouterr().out
    assert all(f"{part} {SAFE}" in said for part in ("title", "head", "cell"))


def test_the_words_of_a_bar_are_text(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    with progress(HOSTILE, total=1) as bar:
        bar.describe(f"now {HOSTILE}")
        bar.advance()
    assert f"now {SAFE}" in capfd.readouterr().err


def test_a_result_is_written_at_once_also_into_a_pipe() -> None:
    code = "import os; from radgaze.console import put; put('stored'); os._exit(9)"  # as by SIGKILL
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env=usual, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("stored\n", 9)
