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


def test_nginx_serves_what_the_demo_serves() -> None:
    config = (FOLDER / "nginx.conf").read_text()
    assert site.POLICY in config
    assert "proxy_pass http://orthanc:8042;" in config
