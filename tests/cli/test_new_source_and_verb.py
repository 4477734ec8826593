"""The source and the verb of CONTRIBUTING's examples, registered and used on the command line."""

from __future__ import annotations

import re
import sys
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from radgaze import cli
from radgaze.options import Options
from radgaze.sources import registry

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def module_of(title: str, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module with the code of the paragraph of that title."""
    paragraph = re.split(r"\n\*\*|\n## ", PAGE.split(f"\n**{title}**", 1)[1], maxsplit=1)[0]
    code = re.findall(r"\n\n((?: {4}.*\n|\n+(?= {4}))+)", paragraph + "\n")[0]
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(textwrap.dedent(code), "CONTRIBUTING.md", "exec"), vars(module))
    return module


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    module_of("A source", "radgaze.sources.folders", monkeypatch)
    monkeypatch.setitem(registry.SOURCES, "folders", "a folder for each class")
    module_of("A verb", "radgaze.cli.count", monkeypatch)
    monkeypatch.setitem(cli.VERBS, "count", "print the number of cases")
    for k in range(12):
        path = tmp_path / "images" / ("healthy", "ill")[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 30), 20 * k, np.uint8)).save(path)
    return tmp_path


def test_the_source_is_prepared_and_the_verb_counts_its_cases(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, images = str(folder / "store"), str(folder / "images")
    given = ["--images", images, "--out", out, "--size", "32", "--workers", "1"]
    assert cli.main(["prepare", "folders", *given]) == 0
    assert "12 cases" in capsys.readouterr().out
    counts = []
    for arguments in ([], ["--split", "train"], ["--split", "validate"], ["--split", "test"]):
        assert cli.main(["count", out, *arguments]) == 0
        counts.append(int(capsys.readouterr().out))
    assert counts == [12, 8, 2, 2]


def test_help_and_messages_show_the_options(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, shown in (
        (["prepare", "folders"], "--seed SEED seed of the split (default: 42)"),
        (["count"], "--split {train,validate,test} split to count; without it all of them"),
    ):
        with pytest.raises(SystemExit):
            cli.main([*command, "--help"])
        assert shown in " ".join(capsys.readouterr().out.split())
    assert cli.main(["prepare", "folders", "--images", str(folder / "none"), "--out", "store"]) == 2
    expected = f"radgaze prepare: --images {folder / 'none'} has no PNG image in a subfolder\n"
    assert capsys.readouterr().err == expected


def test_a_field_with_the_name_of_an_option_of_prepare_is_refused_by_its_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["radgaze.sources.folders"]

    @dataclass(frozen=True)
    class Taken(Options):
        """Options.

        Attributes:
            separator: Something else.
        """

        separator: str = ""

    monkeypatch.setattr(module, "SOURCE", replace(module.SOURCE, options=Taken))
    with pytest.raises(ValueError, match="Taken has separator, an option of prepare itself"):
        cli.build_parser(["prepare", "folders"])
