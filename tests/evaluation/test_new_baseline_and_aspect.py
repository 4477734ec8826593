"""A baseline map and an aspect written as CONTRIBUTING shows are everywhere, under their own headings."""

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import radgaze
from tests.evaluation.fakes import SIGMA, SIZE
from tests.reporting.pages import Page

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
import polars as pl
import radgaze
from radgaze.evaluation import EvaluationOptions, compare, evaluate
from radgaze.evaluation.comparison_options import CompareOptions
from radgaze.evaluation.audit.options import AuditOptions
from radgaze.evaluation.audit.benchmark import audit
from radgaze.cli.evaluate import show_results
from radgaze.reporting import intervals
from radgaze.reporting.sections import EvaluatedRun, agreement, localisation
from radgaze.reporting.audit.figures import overview as audit_overview
from radgaze.reporting.audit.markdown import write_audit_markdown
from radgaze.reporting.audit.page import write_audit_page
from radgaze.reporting.comparison_tables import comparison_markdown
from radgaze.reporting.comparison_page import _agreement
from radgaze.reporting.paper.page import _map_rows
from tests.evaluation.fakes import FakeRun, cases
from tests.reporting.fakes import FakeRun as PageRun
print(radgaze.__file__)
out = Path(sys.argv[1])
everyone = tuple(replace(case, boxed=k % 2 == 0) for k, case in enumerate(cases()))
runs = [FakeRun(out / name, everyone, name, decoder=False) for name in ("one", "two")]
[run.path.mkdir() for run in runs]
metrics = [evaluate(run, EvaluationOptions(device="cpu", resamples=20)) for run in runs]
print("EVALUATE"); show_results(metrics[0], runs[0])
test = metrics[0].test
print("COMPARE"); compared = compare(runs, CompareOptions(resamples=20)); print(comparison_markdown(compared))
print("PAGE OF THE COMPARISON", [row.name for row in _agreement(compared) if row.floor])
evaluated = EvaluatedRun(runs[0], metrics[0])
said = agreement.AgreementSection().content(evaluated)
print("REPORT", [row.name for row in said.rows if row.is_floor], said.verdicts)
boxes = localisation.LocalisationSection().content(evaluated)
print("BOXES", [row.name for row in boxes.rows if row.is_floor])
print("PAPER", [row.name for row in _map_rows({"baseline": test.agreement}, ["nss"]) if row.floor])
figure = intervals.agreement({"one": test.agreement})
print("FIGURE", [label.get_text() for label in figure.axes[0].get_yticklabels()])
options = AuditOptions(methods=("backprop",), cases=8, probed=2, resamples=20, device="cpu",
    steps=1, subsets=3, stages=1, draws=1)
found = audit(runs[0], out / "a", options)
overview = audit_overview(found.results)
print("PANELS", [axis.get_title(loc="left") for axis in overview.axes])
print("LEGEND", [text.get_text() for text in overview.legends[0].get_texts()])
write_audit_markdown(found.results, out / "a", "run")
write_audit_page(PageRun(out / "page"), out / "a", found.results)
"""

pytestmark = pytest.mark.slow


def example(of: str) -> str:
    """The code that CONTRIBUTING shows in the paragraph of that name."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split(f"**{of}**", 1)[1]
    code = re.search(r"(?:\n(?:    .*)?)+", text[text.index("\n\n    ") :])
    assert code
    return textwrap.dedent(code[0]).strip() + "\n"


def added(package: Path, name: str, code: str, before: str) -> None:
    """One file, and its name in one line."""
    (package / f"{name}.py").write_text(code, encoding="utf-8")
    start = package / "__init__.py"
    text = start.read_text(encoding="utf-8")
    assert text.count(f"    {before},\n") == 1
    start.write_text(text.replace(f"    {before},\n", f"    {name},\n    {before},\n"), encoding="utf-8")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Folder, and what was printed, part by part."""
    out = tmp_path_factory.mktemp("new")
    source, copy = Path(radgaze.__file__).parent, out / "src" / "radgaze"
    copy.mkdir(parents=True)
    for part in source.iterdir():
        if part.name != "evaluation":
            (copy / part.name).symlink_to(part)
    shutil.copytree(source / "evaluation", copy / "evaluation", ignore=shutil.ignore_patterns("__pycache__"))
    added(copy / "evaluation" / "baselines", "middle", example("A baseline map"), "random")
    added(copy / "evaluation" / "audit" / "aspects", "spread", example("An aspect of the audit"), "cost")
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out)],
        env={"PATH": "", "PYTHONPATH": f"{copy.parent}:{ROOT}", "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(str(copy))
    parts = re.split(r"^(EVALUATE|COMPARE|PAGE OF THE COMPARISON|[A-Z]+)(?=$| )", ran.stdout, flags=re.M)
    return out, dict(zip(parts[1::2], parts[2::2], strict=True))


def test_a_new_baseline_map_is_scored_and_shown_by_evaluate_compare_and_report(
    done: tuple[Path, dict[str, str]],
) -> None:
    out, said = done
    scored = pl.read_parquet(out / "one" / "agreement.parquet")
    assert scored["map"].unique(maintain_order=True).to_list()[-2:] == ["lung_shape", "middle"]
    own = scored.filter(map="middle")
    assert own["nss"].null_count() == 0
    assert "middle" in said["EVALUATE"]
    row = next(line for line in said["COMPARE"].splitlines() if "| middle of the image (floor) |" in line)
    assert row.startswith("| – |")  # once for all runs
    assert (
        row.split("|")[3].strip().startswith(f"{float(own['nss'].to_numpy().mean()):.3f}".replace("-", "−"))
    )
    for part in ("PAGE OF THE COMPARISON", "REPORT", "BOXES", "PAPER", "FIGURE"):
        assert "'Middle of the image (floor)'" in said[part], part
    assert "both floors" not in said["REPORT"]  # there are three


def test_a_new_baseline_map_is_a_floor_of_every_aspect_that_has_floors(
    done: tuple[Path, dict[str, str]],
) -> None:
    out, said = done
    tables = (out / "a" / "audit.md").read_text(encoding="utf-8").split("\n## ")[2:]
    shown = {table.split(".")[0] for table in tables if "| middle of the image (floor) |" in table}
    assert shown == {"Agreement", "Localisation", "Faithfulness", "Spread"}
    assert "'middle of the image'" in said["LEGEND"]
    page = Page((out / "a" / "audit.html").read_text(encoding="utf-8")).text
    assert "and the middle of the image" in page or "the middle of the image and" in page  # blurred too
    assert "a middle of the image" in page
    cases = pl.read_parquet(out / "a" / "cases.parquet").filter(method="middle")
    assert set(cases["aspect"]) == {"agreement", "localisation", "faithfulness", "spread"}


def test_a_new_aspect_has_a_table_a_panel_a_verdict_and_its_own_values_under_its_heading(
    done: tuple[Path, dict[str, str]],
) -> None:
    out, said = done
    assert "'Spread: bright share'" in said["PANELS"]
    text = (out / "a" / "audit.md").read_text(encoding="utf-8")
    verdicts = next(part for part in text.split("\n## ") if part.startswith("Verdicts"))
    assert "| method | gaze | boxes | faithfulness | weights | spread |" in verdicts
    assert "bright share (spread)" in verdicts
    table = next(part for part in text.split("\n## ") if part.startswith("Spread. Does it point at a small"))
    assert "| Spread | bright share ↓ |" in table
    assert "- bright share: Share of the pixels that are above half of the highest." in table
    cases = pl.read_parquet(out / "a" / "cases.parquet").filter(aspect="spread")
    assert set(cases["method"]) == {"backprop", "mean_gaze", "lung_shape", "middle", "random"}
    csv = pl.read_csv(out / "a" / "audit.csv").filter(aspect="spread")
    for method, value in csv.select("method", "value").iter_rows():
        assert value == pytest.approx(cases.filter(method=method)["value"].mean())
    own = f"{csv.filter(method='backprop')['value'][0]:.2f}"
    assert f"| backprop | {own}" in table
    # A Gaussian of a quarter of the side, blurred by one of SIGMA pixels: half of its height bounds a disc.
    disc = 2 * np.pi * np.log(2) * (1 / 16 + (SIGMA / SIZE) ** 2)
    assert cases.filter(method="middle")["value"].to_list() == pytest.approx([disc] * 8, rel=0.05)
    page = (out / "a" / "audit.html").read_text(encoding="utf-8")
    of_aspect = re.search(r'<h2 id="spread">Does it point at a small place\?</h2>.*?</table>', page, re.S)
    assert of_aspect
    assert own in of_aspect[0]
    assert "points at a small place better than every floor" in Page(page).text
