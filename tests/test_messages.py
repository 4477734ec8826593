"""Library code logs; the command line prints what it logs, once."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from radgaze.console import LOG, messages, note, say

PROGRAM = """
from radgaze.console import messages, note, say
say("working"); note("left out")
"""


def printed(program: str) -> tuple[str, str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_without_any_handler_warnings_alone_are_shown() -> None:
    assert printed(PROGRAM) == ("", "left out\n")


def test_the_users_own_configuration_of_logging_decides() -> None:
    program = "import logging; logging.basicConfig(level='INFO', format='%(levelname)s %(name)s %(message)s')"
    assert printed(program + PROGRAM)[1] == "INFO radgaze working\nWARNING radgaze left out\n"
    program = "import logging; logging.getLogger('radgaze').setLevel('ERROR')"
    assert printed(program + PROGRAM) == ("", "")


def test_the_command_line_prints_all_of_it_once(capfd: pytest.CaptureFixture[str]) -> None:
    with messages(), messages():
        say("[working]")
        note("left\nout")
    assert capfd.readouterr().err.endswith("[working]\nleft\\nout\n")
    assert len([each for each in LOG.handlers if type(each).__name__ == "_OnConsole"]) == 1


def test_messages_leave_the_logger_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOG, "handlers", [])
    monkeypatch.setattr(LOG, "propagate", True)
    before = LOG.level
    LOG.setLevel(logging.ERROR)
    try:
        with messages():
            assert LOG.isEnabledFor(logging.INFO)
            assert not LOG.propagate
        assert (LOG.handlers, LOG.level, LOG.propagate) == ([], logging.ERROR, True)
    finally:
        LOG.setLevel(before)
