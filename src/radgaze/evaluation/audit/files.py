"""Files of an audit: audit.json, audit.csv and cases.parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import polars as pl
from pydantic import TypeAdapter, ValidationError

from radgaze.display import html_facts, html_table, text_table
from radgaze.errors import UserError
from radgaze.evaluation.audit.aspects import ASPECTS
from radgaze.evaluation.audit.results import AuditResults, AuditSettings
from radgaze.evaluation.audit.verdicts import verdict_table
from radgaze.files import read_json, write_text
from radgaze.records import as_json, plain_fields, validated
from radgaze.tables import write_csv, write_parquet
from radgaze.words import count

RESULTS, TABLE, CASES = "audit.json", "audit.csv", "cases.parquet"
ADVICE = "audit the run again"


@dataclass(frozen=True)
class Audit:
    """Results of `audit`.

    Attributes:
        results: The content of audit.json.
        table: Table of method, aspect, metric, value, low, high, n, and the `Aspect.columns`; not rounded,
            null where undefined.
        cases: Table of case_id, method, aspect, metric and value.
    """

    results: AuditResults
    table: pl.DataFrame
    cases: pl.DataFrame

    def __repr__(self) -> str:
        """Show the verdicts at the prompt."""
        return f"{self._title()}\n\n{text_table(*verdict_table(self.results))}"

    def _repr_html_(self) -> str:
        """Show the verdicts in a notebook."""
        return html_facts(self._title(), {}) + html_table(*verdict_table(self.results))

    def _title(self) -> str:
        made = self.results
        return (
            f"Audit of the maps of {made.experiment}: {count(made.cases, f'{made.settings.split} case')} of "
            f"{count(made.patients, 'patient')}, {made.probed:,} of them probed; `table` has all figures"
        )

    def write(self, folder: Path) -> None:
        """Write audit.json, audit.csv and cases.parquet into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        write_parquet(self.cases, folder / CASES)
        write_csv(self.table, folder / TABLE)
        write_results(self.results, folder)


def write_results(results: AuditResults, folder: Path) -> None:
    """Write DIR/audit.json, atomically."""
    settings = _inlined(plain_fields(results.settings), "constants", "baseline_counts")
    methods = {
        name: _inlined(_inlined(plain_fields(method), "details"), *method.details)
        for name, method in results.methods.items()
    }
    content = {**plain_fields(results), "settings": settings, "methods": methods}
    write_text(as_json(_inlined(content, "thresholds")), folder / RESULTS)


def read_results(folder: Path) -> AuditResults:
    """Read DIR/audit.json, also a file that an earlier version wrote.

    Raises:
        UserError: The file is missing or damaged.
    """
    path = folder / RESULTS
    if not path.is_file():
        raise UserError(f"{folder} has no {RESULTS}; {ADVICE}")
    content = dict(read_json(path, lambda value: isinstance(value, Mapping), ADVICE))
    content["thresholds"] = _taken(content, [key for a in ASPECTS.values() for key in a.thresholds])
    settings, methods = content.get("settings"), content.get("methods")
    if isinstance(settings, Mapping):
        content["settings"] = _settings(settings)
    if isinstance(methods, Mapping):
        content["methods"] = {name: _with_details(method, path) for name, method in methods.items()}
    return validated(AuditResults, content, path, ADVICE)


def _inlined(content: Mapping[str, object], *names: str) -> dict[str, object]:
    """Replace fields that hold a mapping by its items, in place."""
    inlined: dict[str, object] = {}
    for name, value in content.items():
        inlined |= value if name in names and isinstance(value, Mapping) else {name: value}
    return inlined


def _taken(content: Mapping[str, object], names: list[str]) -> dict[str, object]:
    return {name: content[name] for name in names if name in content}


def _settings(settings: Mapping[str, object]) -> dict[str, object]:
    """Gather the constants of the aspects and the counts of the baseline maps from among the settings."""
    constants = _taken(settings, [key for aspect in ASPECTS.values() for key in aspect.settings])
    named = {*constants, *(each.name for each in fields(AuditSettings))}
    counts = {name: value for name, value in settings.items() if name not in named and isinstance(value, int)}
    return {**settings, "constants": constants, "baseline_counts": counts}


def _with_details(method: object, path: Path) -> object:
    """Gather the details of the aspects, which the file holds beside the figures, as their types."""
    if not isinstance(method, Mapping):
        return method
    details: dict[str, object] = {}
    for name, aspect in ASPECTS.items():
        if aspect.details is None:
            continue
        content = _taken(method, [each.name for each in fields(aspect.details)])
        if content:
            try:
                details[name] = TypeAdapter(aspect.details).validate_python(content)
            except ValidationError as error:
                raise UserError(f"{path} is damaged: {name}; {ADVICE}") from error
    return {**method, "details": details}
