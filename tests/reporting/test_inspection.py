"""The page of a store."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from radgaze.cli import main
from radgaze.store.store import Store
from tests.store.cohorts import make_cohort
from tests.stores import prepare


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("page")
    return prepare(make_cohort(folder / "images", 12), folder / "store", size=64, workers=1)


def test_the_page_shows_every_class_and_tells_no_patient(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(store.path), "--out", str(tmp_path / "out"), "--each", "2"]) == 0
    page = (tmp_path / "out" / "inspect.html").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    for name in store.classes:
        assert f"<h3>{name}</h3>" in page
        assert name in said
    # Two cases a class, a radiograph and a picture of gaze (or its lack) each.
    assert len(set(re.findall(r"case-\d\d", page))) == 6
    assert str(tmp_path / "out" / "inspect.html") in said
    found = json.loads((tmp_path / "out" / "inspect.json").read_text())
    assert [row["split"] for row in found["counts"]] == ["train", "validate", "test", "all"]
    for hidden in ("Secretname", "s3cretnumber", "p1000", str(store.path.parent)):
        assert hidden not in page
        assert hidden not in json.dumps(found)


def test_the_same_store_gives_the_same_page(store: Store, tmp_path: Path) -> None:
    for name in "ab":
        assert main(["inspect", str(store.path), "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a" / "inspect.html").read_bytes() == (tmp_path / "b" / "inspect.html").read_bytes()


def test_what_is_no_store_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
