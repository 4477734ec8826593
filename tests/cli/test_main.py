"""The command line as its users meet it: quick help with an example, one line for a mistake, exit codes."""

from __future__ import annotations

import errno
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest

import radgaze
from radgaze import __version__
from radgaze.cli import VERBS, build_parser, main
from radgaze.cli.parser import Parser
from radgaze.sources.registry import SOURCES

HEAVY = ("torch", "lightning", "segmentation_models_pytorch", "sklearn", "matplotlib", "polars")


def test_help_imports_neither_torch_nor_lightning_nor_anything_heavy() -> None:
    code = (
        "import sys; from radgaze.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "LOADED []"
    for verb in VERBS:
        assert verb in shown


def test_no_help_of_a_verb_or_source_imports_torch() -> None:
    """Options are defined in modules that are quick to import."""
    code = (
        "import sys; from radgaze.cli import VERBS, build_parser\n"
        "from radgaze.sources.registry import SOURCES\n"
        "for command in [[verb] for verb in VERBS] + [['prepare', name] for name in SOURCES]:\n"
        "    build_parser(command)\n"
        "    assert 'torch' not in sys.modules, command\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_help_of_a_named_section_imports_no_torch() -> None:
    code = (
        "import sys; from radgaze.cli import main\n"
        "try: main(['train', '--objective.terms.help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def helps(parser: Parser) -> Iterator[str]:
    """The help of a parser, and that of each of its named sections."""
    yield parser.format_help()
    for field in parser._sections:
        with redirect_stdout(StringIO()) as shown:
            parser._print_fields(field)
        yield shown.getvalue()


@pytest.mark.parametrize("command", [[verb] for verb in VERBS] + [["prepare", name] for name in SOURCES])
def test_no_help_sends_its_reader_to_a_python_module(command: list[str]) -> None:
    """Names are in docs, or a verb lists them."""
    parser: Parser | None = build_parser(command)
    for name in command:
        parser = None if parser is None else parser.parser_of(name)
    assert parser is not None
    packages = {each.name for each in pkgutil.iter_modules(radgaze.__path__)}
    for text in helps(parser):
        quoted = re.findall(r"`([^`]+)`", " ".join(text.split()))
        words = [words.removeprefix("radgaze.").partition(".") for words in quoted]
        assert [name for name, dot, _ in words if dot and name in packages - {"gaze"}] == []


def test_preparing_needs_no_torch() -> None:
    """It would be half a GiB more in memory, and seconds before the first image."""
    code = (
        "import sys; from radgaze.sources.registry import SOURCES, find; import radgaze.store.preparation\n"
        "for name in SOURCES: find(name)\n"
        "print('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "False\n"


def test_python_m_radgaze_is_the_same_program() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "radgaze", "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"radgaze {__version__}\n"


@pytest.mark.parametrize("words", ["experiments", "train --help", "nothing"])
def test_an_output_that_nobody_reads_is_no_error(words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "radgaze", *words.split()]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    if words == "nothing":
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    else:
        assert (done.returncode in (0, 141), done.stderr) == (True, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("words", ["methods", "experiments set3_guided", "train --help"])
def test_signs_that_an_output_cannot_show_are_written_as_escapes(
    words: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding))
    with suppress(SystemExit):  # of help
        assert main(words.split()) == 0
    sys.stdout.flush()
    assert "\\u" in written.getvalue().decode(encoding)


@pytest.mark.parametrize("verb", [[verb] for verb in VERBS] + [["prepare", "egd"]])
def test_every_verb_shows_an_example(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*verb, "--help"])
    assert left.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Example: radgaze {verb[0]}" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fly"], "fly"),
        (["--fly"], "see `radgaze --help`"),
        (["train", "--experiment", "set9", "--out", "RUN"], "self_transfer_gaze, set1_deconvnet, "),
        (["train", "--experiment", "baseline", "--out", "RUN"], "--data STORE"),
        (["train", "--experiment", "baseline", "--data", "nowhere", "--out", "RUN"], "nowhere"),
        (["train", "--experiment", "baseline", "--data", "nowhere"], "--out RUN"),
        (["train", "--experiment", "baseline", "--model.colour", "red"], "--model.colour"),
        (["train", "--experiment", "baseline", "--input.size", "large"], "input.size"),
        (["train", "--resume", "nowhere"], "nowhere"),
        (["evaluate", "nowhere"], "nowhere"),
        (["compare", "nowhere", "neither", "--out", "DIR"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["prepare", "egd", "--egd", "nowhere", "--mimic", "neither", "--out", "STORE"], "nowhere"),
        (["phantom", "OUT", "--patients", "1"], "--patients"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_exit_code_2(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert len(told.splitlines()) == 1
    assert told.startswith("radgaze")


def test_a_disk_that_cannot_be_written_is_told_in_a_line_and_a_defect_is_not_hidden(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import radgaze.cli.verify as verb

    def failing(number: int) -> Callable[[object], None]:
        def run(args: object) -> None:
            raise OSError(number, os.strerror(number), "out/inspect.html")

        return run

    monkeypatch.setattr(verb, "run", failing(errno.EROFS))
    assert main(["verify", "store"]) == 2
    assert capsys.readouterr().err == "radgaze verify: out/inspect.html: Read-only file system\n"
    monkeypatch.setattr(verb, "run", failing(errno.EBADF))
    with pytest.raises(OSError, match="Bad file"):
        main(["verify", "store"])


def test_a_stop_with_ctrl_c_is_told_and_exits_with_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from radgaze.cli import phantom

    def stopped(args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "run", stopped)
    assert main(["phantom", "OUT"]) == 130
    assert capsys.readouterr().err == "radgaze phantom: stopped\n"
