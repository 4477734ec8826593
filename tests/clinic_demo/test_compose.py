"""`compose.yaml` of the demo agrees with the repository; containers are not started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.clinic import ohif, site

from radgaze.cli import build_parser

FOLDER = Path(site.__file__).parent


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    return services


def test_only_the_page_has_a_port_and_it_is_on_the_loopback(services: dict[str, dict[str, Any]]) -> None:
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "web": ["127.0.0.1:8000:80"]
    }
    outside = [name for name, service in services.items() if "outside" in service["networks"]]
    assert outside == ["web"]


def test_files_that_are_mounted_are_there_or_made_by_the_demo(services: dict[str, dict[str, Any]]) -> None:
    made = {f"ohif-{ohif.VERSION}", "mimic", "run"}
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (FOLDER / source).is_file() or Path(source).name in made, source


def test_the_worker_is_called_with_options_that_it_has(services: dict[str, dict[str, Any]]) -> None:
    words = [*services["worker"]["command"]]
    options = build_parser(words).parse_args(words)[words[0]]
    assert options.dicomweb == "http://orthanc:8042/dicom-web"
    assert options.watch


def test_an_image_of_the_worker_holds_nothing_but_what_its_installation_needs() -> None:
    """A checkout may hold stores, runs and DICOM files."""
    lines = (FOLDER / "Dockerfile").read_text().splitlines()
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]}
    ignored, *others = [
        line for line in (FOLDER.parents[1] / ".dockerignore").read_text().splitlines() if line[:1] != "#"
    ]
    assert ignored == "*"
    assert {line.removeprefix("!") for line in others if line.startswith("!")} == copied
    assert copied == {"pyproject.toml", "README.md", "LICENSE", "src"}


def test_nginx_serves_what_the_demo_serves_and_answers_to_names_of_this_machine_alone() -> None:
    config = (FOLDER / "nginx.conf").read_text()
    first, second = config.split("server {")[1:]
    assert {"listen 80 default_server;", "return 421;"} <= {line.strip() for line in first.splitlines()}
    assert "server_name 127.0.0.1 localhost;" in second
    assert site.POLICY in config
    assert "proxy_pass http://orthanc:8042;" in config
