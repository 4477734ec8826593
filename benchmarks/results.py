"""The result of a benchmark and the machine it ran on, as JSON and as Markdown."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from radgaze import __version__

Cell = str | int | float


@dataclass(frozen=True)
class Result:
    """A benchmark's table.

    Attributes:
        title: What was measured, in a few words.
        about: How, in a few sentences.
        rows: Column to value; columns carry their unit, and every row has the same ones.
        parameters: What it was told.
        notes: What a reader must know of the numbers.
        runs: Figures of each run that the table is computed from; in the JSON alone.
    """

    title: str
    about: str
    rows: Sequence[dict[str, Cell]]
    parameters: dict[str, Cell] = field(default_factory=dict)
    notes: Sequence[str] = ()
    runs: Sequence[Mapping[str, Cell]] = ()


def write(name: str, result: Result, folder: Path) -> str:
    """Write NAME.json and NAME.md; return the latter's text."""
    found = {"benchmark": name, **asdict(result), "machine": machine()}
    if not result.runs:
        del found["runs"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(
        json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    text = markdown(result, machine())
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    return text


def machine() -> dict[str, Cell]:
    """Processor, software and date; nothing that tells whose machine it is."""
    return {
        "processor": _processor(),
        "cores": _cores(),
        "memory (GiB)": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "torch": version("torch"),
        "radgaze": __version__,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def markdown(result: Result, machine: dict[str, Cell]) -> str:
    """The table with what has to be known to read it."""
    columns = list(result.rows[0])
    numeric = [isinstance(result.rows[0][name], int | float) for name in columns]
    table = [
        _line(columns),
        _line("---:" if is_number else "---" for is_number in numeric),
        *(_line(_shown(row[name]) for name in columns) for row in result.rows),
    ]
    told = ", ".join(f"{key} {value}" for key, value in result.parameters.items())
    parts = [
        f"# {result.title}",
        result.about + (f" Parameters: {told}." if told else ""),
        "\n".join(table),
        *result.notes,
        ", ".join(f"{key} {value}" for key, value in machine.items()) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _shown(value: Cell) -> str:
    """A number with three significant digits, and no fewer before the point than it has."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
