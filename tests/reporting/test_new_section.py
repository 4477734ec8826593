"""A section that does not apply says why or is left out."""

import re
import textwrap
from pathlib import Path

import pytest

from radgaze.reporting.run_page import report
from radgaze.reporting.sections import section
from tests.reporting.fakes import FakeRun, draw, evaluated

ROOT = Path(__file__).parents[2]


def example() -> str:
    """The code that CONTRIBUTING shows for a section."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("**A section of a run's page**", 1)[1]
    code = re.search(r"(?:\n(?:    .*)?)+", text[text.index("\n\n    ") :])
    assert code
    return textwrap.dedent(code[0])


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, section.Section]:
    others = {name: section._REGISTRY[name] for name in ("results", "limits")}  # without figures, in seconds
    monkeypatch.setattr(section, "_REGISTRY", others)
    exec(compile(example(), "confidence.py", "exec", dont_inherit=True), {"__name__": "confidence"})
    return section._REGISTRY


def page(run: FakeRun) -> str:
    return report(run, evaluated(run), draw=draw).read_text(encoding="utf-8")


def test_a_section_that_does_not_apply_says_why_or_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: dict[str, section.Section]
) -> None:
    run = FakeRun(tmp_path / "run", test_cases=40)
    monkeypatch.setattr(registry["confidence"], "unsupported", lambda _: "There is <none>.")
    html = page(run)
    assert re.search(r'<h2 id="confidence">[^<]*</h2>\n<p>There is &lt;none&gt;\.</p>', html)
    monkeypatch.setattr(registry["confidence"], "unsupported", lambda _: "")
    assert "confidence" not in page(run)
