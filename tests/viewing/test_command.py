"""`radgaze view`: mistakes are told in a line, and the server keeps silent."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
import uvicorn

from radgaze.cli import main
from radgaze.runs.run import Run
from radgaze.viewing.connections import Connection
from radgaze.viewing.serving import listening


class Running:
    """In place of uvicorn's server: it remembers its settings."""

    configs: list[uvicorn.Config]

    def __init__(self, config: uvicorn.Config) -> None:
        self.config = config
        Running.configs.append(config)

    def run(self, sockets: list[socket.socket]) -> None:
        self.config.app.state.service.close()  # type: ignore[union-attr]


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list[uvicorn.Config]:
    monkeypatch.setattr(Running, "configs", [], raising=False)
    monkeypatch.setattr(uvicorn, "Server", Running)
    return Running.configs


def words(run: Run, *more: str) -> list[str]:
    return ["view", str(run.path), "--device", "cpu", "--port", "0", *more]


def test_it_listens_here_alone_and_logs_no_request(
    run: Run, configs: list[uvicorn.Config], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(run)) == 0
    (config,) = configs
    assert config.access_log is False
    assert config.server_header is False
    assert config.http is Connection
    said = capsys.readouterr().out
    assert "Open http://127.0.0.1:" in said
    assert "token" not in said


def test_elsewhere_the_address_holds_a_token_and_a_warning_is_given(
    run: Run, configs: list[uvicorn.Config], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(run, "--host", "0.0.0.0")) == 0
    said = capsys.readouterr()
    assert "/?token=" in said.out
    assert "not encrypted" in " ".join(said.err.split())
    assert main(words(run, "--token")) == 0
    assert "/?token=" in capsys.readouterr().out


def test_a_port_in_use_is_told_in_a_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with listening("127.0.0.1", 0) as other:
        port = str(other.getsockname()[1])
        assert main(["view", str(run.path), "--device", "cpu", "--port", port]) == 2
    said = capsys.readouterr().err.strip()
    assert f"--port {port}" in said
    assert "in use" in said
    assert "\n" not in said


def test_without_the_extra_it_is_told_how_to_install_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(words(run)) == 2
    assert 'pip install "radgaze[view]"' in " ".join(capsys.readouterr().err.split())


def test_a_store_that_is_none_is_told(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(run, "--data", str(tmp_path))) == 2
    assert "is not a store" in capsys.readouterr().err
