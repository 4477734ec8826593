"""A worker that is killed at any moment goes on, and each image ends with its objects once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.clinic.fake_pacs import CLASS_OF, FakePacs, radiograph, served

Killer = subprocess.Popen[str]


@pytest.fixture
def killer() -> Iterator[Killer]:
    command = [sys.executable, "-m", "tests.clinic.killed"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def run(killer: Killer, step: int, **arguments: object) -> str:
    """Run the worker until a step; -1 for to the end."""
    assert killer.stdin is not None
    assert killer.stdout is not None
    killer.stdin.write(f"{step} {json.dumps(arguments, default=str)}\n")
    killer.stdin.flush()
    return killer.stdout.readline().strip()


@pytest.mark.slow
def test_a_kill_at_any_step_beside_a_pacs_loses_and_repeats_nothing(killer: Killer, tmp_path: Path) -> None:
    for step in count():
        with served(FakePacs()) as pacs:
            for image in (radiograph("a"), radiograph("a", "lateral", ViewPosition="LL"), radiograph("b")):
                pacs.add(image)
            places = {"dicomweb": pacs.url, "journal": tmp_path / f"{step}.sqlite"}
            ended = run(killer, step, **places)
            assert run(killer, -1, **places) == "finished"
            studies = pacs.studies()
            counted = {name: pacs.results()[name] for name in pacs.results() if name[1] != "DX"}
            assert counted == {(study, name): 1 for study in studies for name in ("SR", "SEG", "OT")}
            assert set(pacs.stows.values()) == {1}  # not even sent twice
            assert sorted(path.name for path in tmp_path.glob(f"{step}.*")) == [
                f"{step}.sqlite",
                f"{step}.sqlite.lock",
            ]
        if ended == "finished":
            break
    assert step > 30


def test_a_kill_at_any_step_between_folders_loses_and_repeats_nothing(killer: Killer, tmp_path: Path) -> None:
    images = tmp_path / "in"
    images.mkdir()
    radiograph("a").save_as(images / "a.dcm", enforce_file_format=True)
    radiograph("b").save_as(images / "b.dcm", enforce_file_format=True)
    whole = None
    for step in count():
        places = {"folder": images, "out": tmp_path / f"out-{step}"}
        ended = run(killer, step, **places)
        assert run(killer, -1, **places) == "finished"
        results = {
            str(path.relative_to(places["out"])): path.read_bytes()
            for path in places["out"].rglob("*")
            if path.is_file() and "sqlite" not in path.name
        }
        assert len(results) == 2 * len(CLASS_OF)
        whole = whole or results
        assert results == whole
        assert len(list(places["out"].iterdir())) == 4  # two images, the journal and its lock
        if ended == "finished":
            break
    assert step > 20
