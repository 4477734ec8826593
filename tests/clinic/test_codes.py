"""Coded terms: those of the standard are the standard's, and the page has the same table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydicom.sr import _concepts_dict

from radgaze.clinic.objects import codes
from radgaze.clinic.objects.codes import CLASSES, PRIVATE, Term, term_of

PAGE = Path(__file__).parents[2] / "docs" / "clinic.md"
OWN = [each for each in vars(codes).values() if isinstance(each, Term)]
NOT_IN_PYDICOM = (codes.CARDIOMEGALY, codes.PROCEDURE)
"""Terms of SNOMED CT that no context group of the standard's in pydicom has."""


@pytest.mark.parametrize("term", [each for each in OWN if each.scheme in ("SCT", "DCM", "UCUM")])
def test_terms_of_the_standard_have_its_meaning(term: Term) -> None:
    if term in NOT_IN_PYDICOM:
        pytest.skip("pydicom does not list it")
    concepts: Any = _concepts_dict.concepts
    meanings = [
        entry[term.value][0].lower() for entry in concepts[term.scheme].values() if term.value in entry
    ]
    assert term.meaning.lower() in meanings


def test_codes_are_short_enough_and_each_stands_for_one_thing() -> None:
    for term in OWN:
        assert len(term.value) <= 16
        assert len(term.meaning) <= 64
    assert len({(term.value, term.scheme) for term in OWN}) == len(OWN)


def test_the_page_has_every_term() -> None:
    rows = re.findall(r"^\| (.*?) \| `(.*?)` \| (.*?) \| (.*?) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    on_page = {Term(*row[1:]): row[0] for row in rows}
    assert set(OWN) <= set(on_page)
    for term in set(CLASSES.values()):
        names = [name for name, each in CLASSES.items() if each == term]
        assert on_page[term] == ", ".join(names)


def test_a_class_is_found_by_its_name_in_any_spelling() -> None:
    assert term_of("Pleural_Effusion") == term_of("pleural-effusion") == codes.EFFUSION
    assert term_of("NORMAL") == codes.NORMAL
    own = term_of("silicosis")
    assert own.scheme == PRIVATE
    assert own.meaning == "silicosis"
    assert own != term_of("Silicosis")  # their case distinguishes them
