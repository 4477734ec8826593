import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl

import radgaze

# As CONTRIBUTING says: a function of maps, and its entry in METRICS, here between two others.
ENTRY = """    "toy": Agreement(
        title="toy distance",
        words="Mean distance of the densities.",
        function=lambda P, Q: np.abs(np.asarray(P) - np.asarray(Q)).mean((1, 2)),
        needs="gaze",
        higher_is_better=False,
        bounds=(0.0, np.inf),
    ),
    "sim": Agreement(
"""
SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
import radgaze
from radgaze.evaluation import EvaluationOptions, compare, evaluate
from radgaze.evaluation.comparison_options import CompareOptions
from radgaze.evaluation.audit.options import AuditOptions
from radgaze.evaluation.audit.benchmark import audit
from radgaze.reporting.audit.markdown import audit_markdown
from radgaze.cli.evaluate import _show
from radgaze.reporting import intervals
from radgaze.reporting.sections import EvaluatedRun, agreement
from radgaze.reporting.comparison_tables import comparison_markdown
from radgaze.reporting.comparison_page import _paired
from tests.evaluation.fakes import FakeRun, cases
print(radgaze.__file__)
out = Path(sys.argv[1])
runs = [FakeRun(out / name, cases(), name, decoder=False) for name in ("one", "two")]
[run.path.mkdir() for run in runs]
metrics = [evaluate(run, EvaluationOptions(device="cpu", resamples=20)) for run in runs]
print("EVALUATE"); _show(metrics[0])
print("COMPARE"); compared = compare(runs, CompareOptions(resamples=20)); print(comparison_markdown(compared))
print("PAIRED", [row.figure for row in _paired(compared)])
print("REPORT", agreement.AgreementSection().content(EvaluatedRun(runs[0], metrics[0])))
figure = intervals.agreement({"one": metrics[0].test.agreement})
print("FIGURE", [axis.get_title(loc='left') for axis in figure.axes])
options = AuditOptions(methods=("backprop",), cases=8, probed=2, resamples=20, device="cpu",
    steps=1, subsets=3, stages=1, draws=1)
found = audit(runs[0], out / "a", options)
print("AUDIT"); print(audit_markdown(found.results))
"""


def test_a_metric_added_as_contributing_says_is_in_every_table_under_its_own_heading(tmp_path: Path) -> None:
    source = Path(radgaze.__file__).parent
    copy = tmp_path / "src" / "radgaze"
    copy.parent.mkdir()
    copy.mkdir()
    for package in source.iterdir():  # all as it is, but for one file
        if package.name != "evaluation":
            (copy / package.name).symlink_to(package)
    shutil.copytree(source / "evaluation", copy / "evaluation", ignore=shutil.ignore_patterns("__pycache__"))
    metrics = copy / "evaluation" / "metrics" / "agreement.py"
    text = metrics.read_text(encoding="utf-8")
    metrics.write_text(text.replace('    "sim": Agreement(\n', ENTRY, 1), encoding="utf-8")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env={"PATH": "", "PYTHONPATH": f"{copy.parent}:{root}", "COLUMNS": "200", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(copy))
    parts = ("EVALUATE", "COMPARE", "PAIRED", "REPORT", "FIGURE", "AUDIT")
    said = {}
    for part, following in zip(parts, (*parts[1:], None), strict=True):
        said[part] = (
            done.stdout.split(part, 1)[1].split(following)[0] if following else done.stdout.split(part, 1)[1]
        )
        assert "toy distance" in said[part], part
    # Under its own heading: the mean of its own column.
    table = pl.read_parquet(tmp_path / "one" / "agreement.parquet").filter(map="heatmap")
    for part, rule, row, digits in (
        ("EVALUATE", "│", "│ heatmap ", 2),
        ("COMPARE", "|", "| one | heatmap |", 3),
    ):
        lines = said[part].splitlines()
        heading = next(line for line in lines if "toy distance ↓" in line and "NSS" in line)
        names = [cell.strip() for cell in heading.replace("┃", "|").split("|")]
        cells = [cell.strip() for cell in next(line for line in lines if line.startswith(row)).split(rule)]
        for name, column in (("toy distance ↓", "toy"), ("SIM", "sim"), ("shuffled AUC", "shuffled_auc")):
            value = f"{float(table[column].to_numpy().mean()):.{digits}f}".replace(
                "-", "−" if rule == "|" else "-"
            )
            assert cells[names.index(name)].startswith(value), (part, name)
